"""The base that golden images of a rehearsal are made from: a tree, and a repository beside it.

It is what a rehearsal node is made of, with what an image needs to start by itself, and without the
account that a rehearsal logs in with. It is built by whoever builds the image, in a user namespace;
what comes of one state of Debian's archive is the same bytes whenever and by whomever it is built,
so its RPMs are pinned by digest and not signed by a key that each rehearsal makes for itself.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from provision.core.events import EventSink
from provision.core.files import write_whole
from provision.image.sandbox import Sandbox
from provision.rehearsal import (
    base,
    debian,
    debs,
    elfiles,
    identity,
    repodata,
    repository,
    rpms,
)
from provision.rehearsal.cache import digest_of, made_once, source_of
from provision.rehearsal.recipe import Recipe, load_recipe
from provision.rehearsal.shell import run

SOURCE = Path(__file__).with_name("image_recipe.yml")
SCHEMA = "holdfast.image-base/1"


def image_base(release: str, epoch: int, events: EventSink) -> Path:
    """The folder of the base for images of `release`, built once and kept.

    It holds ``root/``, the tree; ``repo/``, RPMs and their index; and ``base.json``, which names
    every package of both.

    Args:
        release: the major release, "9" or "10".
        epoch: the newest time stamp in it, in Unix seconds.
        events: is told when it is built.

    Raises:
        HoldfastError: a tool is missing, the mirror cannot be reached, or a build step failed.
    """
    sources = [_recipe().digest_source, release.encode(), str(epoch).encode()]
    sources += [Path(__file__).read_bytes(), *elfiles.texts()]
    sources += source_of(base, debian, debs, identity, repodata, repository, rpms)

    def make(part: Path) -> None:
        scratch = part / "scratch"
        scratch.mkdir()
        sandbox = Sandbox((part,), epoch, scratch, network=True)
        sandbox.python("provision.rehearsal.image_base", part, release, str(epoch))
        sandbox.remove(scratch)

    return made_once(
        f"base-image{release}",
        digest_of(sources),
        make,
        events,
        says=f"building the base of images for release {release} from Debian",
        remove=Sandbox().remove,
    )


def _recipe() -> Recipe:
    """A rehearsal node's recipe with what images need beside it."""
    node, text = load_recipe(), SOURCE.read_bytes()
    added = yaml.safe_load(text)
    return replace(
        node,
        base=(*node.base, *added["base"]),
        el_names={**node.el_names, **added["el_names"]},
        digest_source=node.digest_source + text,
    )


def build(part: Path, release: str, epoch: int) -> None:
    """Fill `part`; runs inside a sandbox that has a network."""
    recipe = _recipe()
    tree, unpacked, fetched = part / "root", part / "unpacked", part / "debs"
    for folder in (unpacked, fetched):
        folder.mkdir()
    whole = [pattern for pattern in base._unpacked(recipe).values() if "*" not in pattern]
    wanted = [
        name for name, one in recipe.repository.items() if release in (one.releases or release)
    ]
    hooks = (*base._fetch(wanted, fetched), *base._fetch(whole, unpacked))
    debian.build_tree(tree, recipe.suite, recipe.base, variant="minbase", hooks=hooks,
                      log=part / "mmdebstrap.log")  # fmt: skip
    packages = base._held(recipe, tree)
    run(["rm", "-rf", tree / "var/lib/dpkg"])
    packages += base._unpack(recipe, unpacked, tree)
    elfiles.leave_out(tree, recipe)
    identity.present_as_el(tree, release, [package.name for package in packages])
    _without_login(tree)
    _clamp(tree, epoch)
    base._register(rpms.merged([*packages, *base._own(release)]), release, part)
    entries = _repository(recipe, release, part, epoch)
    held = run(["chroot", tree, "rpm", "-qa", "--qf", "%{NEVRA}\\n"]).split()
    body = {
        "schema": SCHEMA,
        "release": release,
        "epoch": epoch,
        "made_of": "Debian " + recipe.suite,
        "packages": sorted(held),
        "rpms": entries,
    }
    write_whole(part / "base.json", json.dumps(body, indent=1, ensure_ascii=False) + "\n")
    run(["rm", "-rf", unpacked, fetched, part / "buildroot"])


def _without_login(tree: Path) -> None:
    """A rehearsal logs in with an account that needs no password; an image has none."""
    run(["chroot", tree, "userdel", "--remove", identity.USER])
    elfiles.remove(tree / "etc/sudoers.d/rehearsal")


def _repository(recipe: Recipe, release: str, part: Path, epoch: int) -> list[dict[str, Any]]:
    """Make ``repo/`` of the Debian packages in ``debs/``; what a lock would say of each RPM."""
    tree, out = part / "buildroot", part / "repo"
    for folder in (tree, out):
        folder.mkdir()
    found = [debs.read(path) for path in sorted((part / "debs").glob("*.deb"))]
    packages = rpms.merged([repository._package(recipe, deb, tree) for deb in found])
    names = {package.name for package in packages}
    packages = [repository._within(package, names) for package in packages]
    repository._bridge(tree)
    elfiles.leave_out(tree, recipe)
    elfiles.lay_out(tree, [name for name in elfiles.packages() if name in names])
    elfiles.include_as_el(tree)
    _clamp(tree, epoch)
    built = rpms.build_rpms("repository", packages, tree, out, major=release, compress=True)
    run(["rm", "-rf", out / ".build"])
    run(["createrepo_c", "--quiet", "--checksum", "sha256", "--revision", str(epoch),
         "--set-timestamp-to-revision", out])  # fmt: skip
    wanted = {recipe.el_name(name): entry for name, entry in recipe.repository.items()}
    licences = {package.name: package.licence for package in packages}
    return list(_entries(built, release, wanted, licences))


def _entries(
    built: list[Path], release: str, wanted: dict[str, Any], licences: dict[str, str]
) -> Iterator[dict[str, Any]]:
    for path in built:
        row = repodata.entry(path, release, repodata.KEY_NAME)
        asked = wanted.get(row["name"])
        yield {
            **{key: row[key] for key in ("name", "epoch", "version", "release", "arch", "sha256",
                                         "size")},
            "roles": list(asked.roles) if asked else [],
            "licence": licences[row["name"]],
        }  # fmt: skip


def _clamp(tree: Path, epoch: int) -> None:
    """Bring every time stamp that is newer than `epoch` back to it, as RPMs record them."""
    run(["find", tree, "-newermt", f"@{epoch}", "-exec", "touch", "--no-dereference",
         f"--date=@{epoch}", "{}", "+"])  # fmt: skip


if __name__ == "__main__":
    os.umask(0o022)
    build(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
