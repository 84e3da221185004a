"""Stage sbom: what the image is made of, as SPDX 2.3 and as CycloneDX 1.6.

Packages come from the tree's own RPM database, their files' digests from the list that stage seal
wrote; every file is read once more here, and has to be what that list says. What the stack lock
adds (the digests of packages, which of them are the driver, models, container images) is in only
where it is in the tree.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from provision import __version__
from provision.core.files import sha256_of
from provision.core.problems import HoldfastError, fail
from provision.core.shapes import Model
from provision.image.definition import Definition, canonical
from provision.image.filelist import Entry, read_files
from provision.image.manifest import CYCLONEDX, FILES, SPDX
from provision.image.stage_sbom import cyclonedx, digests, spdx
from provision.image.stage_sbom.contents import Contents, File
from provision.image.stage_sbom.packages import copy_database, packages_of
from provision.image.work import Given, Work
from provision.supply.lock import load_lock, lock_sha256
from provision.supply.model import StackLock

VERSION = 1
NEEDS = ("seal",)
READS = ("name", "title", "release", "arch")
TOOLS = ("rpm",)


class Options(Model):
    """`lock` is the sha256 of the stack lock, or nothing where the image has none."""

    lock: str = ""


def options(definition: Definition, given: Given) -> Options:
    """The stage's options."""
    del definition
    return Options(lock=lock_sha256(given.lock) if given.lock is not None else "")


def run(work: Work) -> None:
    """Write both documents.

    Raises:
        HoldfastError: the tree has no RPM database, or a file is not what stage seal saw.
    """
    seal = work.inputs["seal"]
    root = seal / "root"
    with tempfile.TemporaryDirectory(dir=work.out) as scratch:
        # Below `out`: rpm writes beside a database, and elsewhere the sandbox lets nobody write.
        database = copy_database(root, Path(scratch) / "rpm")
        packages = packages_of(database, work.sandbox.run)
    work.says(f"{len(packages)} packages")
    contents = Contents(
        name=work.definition.name,
        title=work.definition.title,
        release=work.definition.release,
        arch=work.definition.arch,
        epoch=work.epoch,
        distribution=_distribution(root),
        tree=sha256_of(seal / FILES),
        tool=f"holdfast-{__version__}",
        packages=packages,
        files=_files(work, root, read_files(seal / FILES)),
        lock=_lock(work),
    )
    forms: dict[str, ModuleType] = {SPDX: spdx, CYCLONEDX: cyclonedx}
    for name, form in forms.items():
        (work.out / name).write_text(canonical(form.document(contents)) + "\n", encoding="utf-8")


def _files(work: Work, root: Path, listed: dict[str, Entry]) -> dict[str, File]:
    """Every regular file with its digests.

    Raises:
        HoldfastError: a file is not what the list says.
    """
    regular = [path for path, entry in listed.items() if entry.type == "f"]
    script = Path(digests.__file__ or "")
    asked = "".join(json.dumps(path) + "\n" for path in regular)
    answer = work.sandbox.run([sys.executable, "-I", "-S", script, root], stdin=asked)
    found = {}
    for line in answer.splitlines():
        path, sha1, sha256 = json.loads(line)
        if listed[path].holds != sha256:
            hint = "something writes into the cache; remove that stage's folder"
            raise fail("not-as-sealed", f"{path} is not what stage seal saw", where=str(root),
                       hint=hint)  # fmt: skip
        found[path] = File(path, sha1, sha256)
    if len(found) != len(regular):
        raise fail("not-as-sealed", "files that stage seal saw are gone", where=str(root))
    return found


def _distribution(root: Path) -> str:
    """``ID`` of the tree's os-release."""
    for place in ("usr/lib/os-release", "etc/os-release"):
        path = root / place
        if path.is_file() and not path.is_symlink():
            text = path.read_text(encoding="utf-8", errors="replace")
            told = re.search(r"^ID=[\"']?([A-Za-z0-9._-]+)", text, re.MULTILINE)
            if told:
                return told[1]
    raise fail("no-os-release", "the tree does not say which distribution it is", where=str(root))


def _lock(work: Work) -> StackLock | None:
    if work.given.lock is None:
        return None
    lock, problems = load_lock(work.given.lock)
    if lock is None:
        raise HoldfastError(problems)
    return lock
