"""The node base: a read-only tree that every rehearsal node starts from."""

from __future__ import annotations

import shutil
from pathlib import Path

from provision.core.events import EventSink
from provision.rehearsal import debian, identity, rpms
from provision.rehearsal.cache import digest_of, made_once, remove_tree, source_of
from provision.rehearsal.recipe import Recipe
from provision.rehearsal.shell import run

_DEBS = "/holdfast-debs"
_QUIETLY = "--download-only --no-install-recommends --yes"
_FORMAT = "${Package}\\t${Version}\\t${source:Package}\\t${binary:Summary}\\n"


def node_base(recipe: Recipe, release: str, events: EventSink) -> Path:
    """The folder of the base for `release`: ``root/`` is the tree, ``debs/`` what its repository
    is made of. Built once and kept.

    Raises:
        HoldfastError: a tool is missing, the mirror cannot be reached, or a build step failed.
    """
    sources = [recipe.digest_source, release.encode(), *source_of(debian, identity, rpms)]
    sources.append(Path(__file__).read_bytes())
    return made_once(
        f"base-compat{release}",
        digest_of(sources),
        lambda part: _build(recipe, release, part),
        events,
        says=f"building the node base for release {release} from Debian {recipe.suite}",
    )


def _build(recipe: Recipe, release: str, part: Path) -> None:
    tree = part / "root"
    debs = part / "debs"
    debs.mkdir()
    wanted = " ".join(recipe.repository)
    debian.build_tree(
        tree,
        recipe.suite,
        recipe.base,
        variant="minbase",
        hooks=(
            f'mkdir -p "$1{_DEBS}/partial"',
            f'chroot "$1" apt-get install {_QUIETLY} -o Dir::Cache::archives={_DEBS} {wanted}',
            f'mv "$1{_DEBS}"/*.deb {debs.resolve()}/',
            f'rm -rf "$1{_DEBS}"',
        ),
        log=part / "mmdebstrap.log",
    )
    held = run(["chroot", tree, "dpkg-query", "-W", "-f", _FORMAT])
    info = {path.name: path.read_text() for path in (tree / "var/lib/dpkg/info").glob("*.list")}
    identity.present_as_el(tree, release)
    _register(recipe, release, part, held, info)
    shutil.rmtree(tree / "var/lib/dpkg")


def _register(recipe: Recipe, release: str, part: Path, held: str, info: dict[str, str]) -> None:
    """Enter what the base holds into its RPM database, each name with its real files."""
    tree = part / "root"
    packages = []
    for line in held.splitlines():
        name, version, source, summary = line.split("\t")
        if name in recipe.removed:
            continue
        listing = info.get(f"{name}.list") or info.get(f"{name}:amd64.list") or _native(info, name)
        packages.append(
            rpms.Package(
                name=recipe.el_name(name),
                source=source,
                debian_version=version,
                summary=summary or name,
                licence=licence_of(tree / f"usr/share/doc/{name}/copyright"),
                paths=tuple(path for path in listing.splitlines() if path != "/."),
                provides=recipe.provides.get(name, ()),
            )
        )
    copy = part / "buildroot"
    # Hard links: rpmbuild only reads them; what it does to the copy's folders is thrown away.
    run(["cp", "--archive", "--link", tree, copy])
    out = part / "rpms"
    out.mkdir()
    built = rpms.build_rpms("base", packages, copy, out, major=release, compress=False)
    inside = tree / "rpms"
    inside.mkdir()
    for rpm in built:
        rpm.rename(inside / rpm.name)
    enter = "exec rpm --install --justdb --nodeps --noscripts /rpms/*.rpm"
    run(["chroot", tree, "sh", "-c", enter])
    shutil.rmtree(inside)
    remove_tree(copy)
    remove_tree(out)


def _native(info: dict[str, str], name: str) -> str:
    for key, text in info.items():
        if key.startswith(f"{name}:") and key.endswith(".list"):
            return text
    return ""


def licence_of(copyright_file: Path) -> str:
    """The licence names in a machine-readable Debian copyright file, joined by " and "."""
    if not copyright_file.is_file():
        return "unknown"
    names: list[str] = []
    for line in copyright_file.read_text(encoding="utf-8", errors="replace").splitlines():
        word = line.partition(":")[2].strip() if line.startswith("License:") else ""
        if word and word not in names:
            names.append(word)
    return " and ".join(names[:6]) or "see the package's copyright file"
