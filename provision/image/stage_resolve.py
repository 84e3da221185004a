"""Stage resolve: which bytes the image is made of, named one by one and lying beside that list.

Where the base is a rehearsal's, they are those of its image base; where it is Enterprise Linux,
those that a stack lock pins and a folder holds. Every file is compared with its digest here, and
no later stage needs anything from outside.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from provision.core.exitcodes import ExitCode
from provision.core.names import suggest
from provision.core.problems import HoldfastError, Problem, fail
from provision.core.shapes import Model
from provision.image import sources
from provision.image.definition import Definition, canonical
from provision.image.fitting import resolution_of
from provision.image.sources import Source
from provision.image.work import Given, Work
from provision.supply.model import StackLock

VERSION = 1
NEEDS: tuple[str, ...] = ()
READS = ("name", "base", "release", "arch")
TOOLS = ("createrepo_c",)
SCANNER = ("openscap-scanner", "scap-security-guide")
"""What lets a node of the image be judged once it runs; the role hardening's own default."""


class Options(Model):
    """What the image is made of."""

    source: str
    """The digest of what names every byte: the stack lock, or the list of an image base."""
    packages: tuple[str, ...]
    """What is installed by name, beside the base."""
    model: str = ""
    """The model whose files come along; empty where no role brings one."""


def options(definition: Definition, given: Given) -> Options:
    """The digest of the source, and the packages.

    Raises:
        HoldfastError: no source was given, or a package is in none (exit code 2).
    """
    source = sources.of(definition, given)
    serving = definition.inference if "model_store" in definition.roles else None
    return Options(
        source=source.digest,
        packages=wanted(definition, source),
        model=serving.model if serving is not None else "",
    )


def wanted(definition: Definition, source: Source) -> tuple[str, ...]:
    """The packages that are installed by name: those of the definition, its roles and profile.

    Raises:
        HoldfastError: one is not to be had (exit code 2).
    """
    there = {rpm["name"] for rpm in source.rpms}
    missing = [name for name in definition.packages if name not in there | source.installed]
    if missing:
        raise HoldfastError(
            [Problem("unknown-package", f"there is no package {name!r} in {source.says}",
                     value=name, where=definition.name, hint=suggest(name, there))
             for name in missing],
            ExitCode.USAGE,
        )  # fmt: skip
    roles = set(definition.roles) - {"hardening"}
    found = {rpm["name"] for rpm in source.rpms if roles & set(rpm["roles"])}
    if "hardening" in definition.roles:
        found |= there & {*SCANNER, *_controls_want(definition)}
    if "gpu_driver" in definition.roles:
        found |= _gpu_unit(definition, source)
    return tuple(sorted({*definition.packages, *found}))


def _gpu_unit(definition: Definition, source: Source) -> set[str]:
    """The packages of the stack lock's GPU unit for this release and architecture.

    Raises:
        HoldfastError: it has none (exit code 2).
    """
    for unit in sources.locked(source, definition).gpu:
        if (unit.el, unit.arch) == (str(definition.release), definition.arch):
            kernels = [name for one in unit.kernels for name in (one.kernel, one.devel, one.module)]
            return {nevra.rsplit("-", 2)[0] for nevra in (*kernels, *unit.userspace) if nevra}
    raise fail("no-gpu-unit", f"{source.says} has no GPU unit for release {definition.release}",
               where=definition.name, exit_code=ExitCode.USAGE,
               hint="take the role gpu_driver out, or give a lock that has one")  # fmt: skip


def _controls_want(definition: Definition) -> set[str]:
    """The packages that controls of the profile want to be there."""
    return {
        resource.name
        for item in resolution_of(definition).applied
        for resource in item.resources
        if resource.type == "package" and resource.state == "present"
    }


def run(work: Work) -> None:
    """Compare every file with its digest, and lay them out as one repository.

    Raises:
        HoldfastError: a file is missing or another one than was pinned.
    """
    source = sources.of(work.definition, work.given)
    folder = work.out / "repo"
    folder.mkdir()
    wrong = []
    for rpm in source.rpms:
        path = source.path(rpm)
        problem = sources.differs(path, rpm["sha256"])
        if problem is not None:
            wrong.append(Problem("wrong-bytes", problem, where=os.fspath(path)))
        else:
            _bring(path, folder / path.name)
    if work.options.model:
        lock = sources.locked(source, work.definition)
        wrong += _files_of(lock, work.options.model, source, work.out / "files")
    if wrong:
        raise HoldfastError(wrong)
    work.sandbox.run(
        ["createrepo_c", "--quiet", "--checksum", "sha256", "--revision", str(work.epoch),
         "--set-timestamp-to-revision", "--no-database", folder]
    )  # fmt: skip
    body = {
        "schema": "holdfast.image-lock/1",
        "image": work.definition.name,
        "source": {"kind": work.definition.base, "says": source.says, "digest": source.digest},
        "wanted": list(work.options.packages),
        "base": sorted(source.installed_nevra),
        "rpms": _plain(source.rpms),
    }
    (work.out / "lock.json").write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")


def _files_of(lock: StackLock, name: str, source: Source, folder: Path) -> list[Problem]:
    """Lay out the files of a model; what is wrong with them."""
    wrong = []
    for model in (one for one in lock.models if one.name == name):
        for file in model.files:
            path = (source.files or Path()) / model.path / file.path
            problem = sources.differs(path, file.sha256)
            if problem is not None:
                wrong.append(Problem("wrong-bytes", problem, where=os.fspath(path)))
                continue
            target = folder / model.path / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            _bring(path, target)
    return wrong


def _plain(rpms: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return sorted((dict(rpm) for rpm in rpms), key=canonical)


def _bring(source: Path, target: Path) -> None:
    """A second name for a file that nobody changes; a copy where there can be none."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
