"""The node base: a read-only tree that every rehearsal node starts from."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

from provision.core.events import EventSink
from provision.rehearsal import debian, debs, elfiles, identity, rpms
from provision.rehearsal.cache import digest_of, made_once, remove_tree, source_of
from provision.rehearsal.recipe import RELEASES, Recipe
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
    sources = [recipe.digest_source, release.encode(), *source_of(debian, debs, identity, rpms)]
    sources += [Path(__file__).read_bytes(), *elfiles.texts()]
    return made_once(
        f"base-compat{release}",
        digest_of(sources),
        lambda part: _build(recipe, release, part),
        events,
        says=f"building the node base for release {release} from Debian {recipe.suite}",
    )


def _build(recipe: Recipe, release: str, part: Path) -> None:
    tree = part / "root"
    unpacked = part / "unpacked"
    for folder in ("debs", "unpacked"):
        (part / folder).mkdir()
    whole = [pattern for pattern in _unpacked(recipe).values() if "*" not in pattern]
    debian.build_tree(
        tree,
        recipe.suite,
        recipe.base,
        variant="minbase",
        hooks=(*_fetch(recipe.repository, part / "debs"), *_fetch(whole, unpacked)),
        log=part / "mmdebstrap.log",
    )
    packages = _held(recipe, tree)
    shutil.rmtree(tree / "var/lib/dpkg")
    packages += _unpack(recipe, unpacked, tree)
    shutil.rmtree(unpacked)
    elfiles.leave_out(tree, recipe)
    identity.present_as_el(tree, release, [package.name for package in packages])
    _register(rpms.merged([*packages, *_own(release)]), release, part)


def _fetch(wanted: Iterable[str], target: Path) -> tuple[str, ...]:
    """Hooks of mmdebstrap that put packages and what they need beyond the tree into `target`."""
    return (
        f'mkdir -p "$1{_DEBS}/partial"',
        f'chroot "$1" apt-get install {_QUIETLY} -o Dir::Cache::archives={_DEBS} '
        + " ".join(wanted),
        f'mv "$1{_DEBS}"/*.deb {target.resolve()}/',
        f'rm -rf "$1{_DEBS}"',
    )


def _held(recipe: Recipe, tree: Path) -> list[rpms.Package]:
    """What dpkg installed in `tree`, as RPMs."""
    info = {path.name: path.read_text() for path in (tree / "var/lib/dpkg/info").glob("*.list")}
    packages = []
    for line in run(["chroot", tree, "dpkg-query", "-W", "-f", _FORMAT]).splitlines():
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
    # Where several make one, it is named and numbered by the one that has its name.
    return sorted(packages, key=lambda one: f"/usr/share/doc/{one.name}" not in one.paths)


def _unpacked(recipe: Recipe) -> dict[str, str]:
    """RPM name to the pattern of the Debian packages that are only unpacked, for this machine."""
    arch = run(["dpkg", "--print-architecture"]).strip()
    return {name: pattern.format(arch=arch) for name, pattern in recipe.unpacked.items()}


def _unpack(recipe: Recipe, folder: Path, tree: Path) -> list[rpms.Package]:
    """Unpack Debian packages into `tree`, and run nothing of them."""
    patterns = _unpacked(recipe)
    packages = []
    for deb in (debs.read(path) for path in sorted(folder.glob("*.deb"))):
        names = [rpm for rpm, pattern in patterns.items() if fnmatch(deb.name, pattern)]
        if names:
            packages.append(
                rpms.Package(
                    name=names[0],
                    source=deb.source,
                    debian_version=deb.version,
                    summary=deb.summary,
                    licence="GPL-2.0-only",
                    paths=debs.unpack(deb, tree),
                )
            )
    for modules in (tree / "usr/lib/modules").glob("*"):
        run(["chroot", tree, "depmod", modules.name])
    return packages


def _own(release: str) -> list[rpms.Package]:
    """The RPMs of a minimal EL system that no Debian package stands for."""
    about = "of a Holdfast rehearsal node; it is no release of Red Hat's"
    made = {"setup": ("Shell environment", elfiles.paths_of("setup")),
            "redhat-release": ("Release files", identity.RELEASE_FILES)}  # fmt: skip
    return [
        rpms.Package(
            name=name,
            source="",
            debian_version=f"{RELEASES[release]}-1",
            summary=f"{what} {about}",
            licence="Apache-2.0",
            paths=paths,
        )
        for name, (what, paths) in made.items()
    ]


def _register(packages: Sequence[rpms.Package], release: str, part: Path) -> None:
    """Enter what the base holds into its RPM database, each name with its real files."""
    tree = part / "root"
    packages = [replace(p, paths=p.paths + elfiles.paths_of(p.name)) for p in packages]
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
