"""RPMs out of Debian packages: for the node's repository, and for what its base already holds.

One rpmbuild run makes all packages of a list as subpackages of one spec, out of one build root.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from provision.core.problems import fail
from provision.rehearsal.shell import run

_SPEC = """\
Name: holdfast-rehearsal-{batch}
Version: 1
Release: 1
Summary: Carries the packages of a Holdfast rehearsal node
License: various
%define debug_package %{{nil}}
%define __os_install_post %{{nil}}
%define _build_id_links none
%define _unpackaged_files_terminate_build 0
%define _missing_doc_files_terminate_build 0
%define _binary_payload {payload}
%define _source_filedigest_algorithm 8
%define _binary_filedigest_algorithm 8
%define _use_internal_dependency_generator 0
%define clamp_mtime_to_source_date_epoch 0
%define use_source_date_epoch_as_buildtime 1
%define _buildhost rehearsal
AutoReqProv: no

%description
{batch}
"""

_PACKAGE = """
%package -n {name}
Epoch: {epoch}
Version: {version}
Release: {release}
Summary: {summary}
License: {licence}
AutoReqProv: no
{requires}
{provides}
%description -n {name}
{summary}
{origin}
{post}
%files -n {name} -f {files}
"""


@dataclass(frozen=True)
class Package:
    """A Debian package on its way to an RPM. `paths` are absolute, inside the build root.

    `source` is the Debian source; empty for a package that is made here.
    """

    name: str
    source: str
    debian_version: str
    summary: str
    licence: str
    paths: tuple[str, ...]
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    post: str = ""

    @property
    def origin(self) -> str:
        """Where its files come from, as a sentence."""
        if not self.source:
            return "Made for a Holdfast rehearsal node."
        made = f"Debian's {self.source} {self.debian_version}"
        return f"Rebuilt from {made} for a Holdfast rehearsal node."

    @property
    def epoch(self) -> int:
        """Debian's epoch, 0 when there is none."""
        head, colon, _ = self.debian_version.partition(":")
        return int(head) if colon else 0

    @property
    def version(self) -> str:
        """The upstream version with characters that RPM allows."""
        return re.sub(r"[^A-Za-z0-9.+~^_]", ".", self._upstream()[0])

    def release(self, major: str) -> str:
        """The Debian revision with a suffix that says what made the RPM."""
        revision = re.sub(r"[^A-Za-z0-9.+~^_]", ".", self._upstream()[1] or "0")
        return f"{revision}.hfr{major}"

    def _upstream(self) -> tuple[str, str]:
        rest = self.debian_version.split(":", 1)[-1]
        upstream, _, revision = rest.rpartition("-")
        return (upstream, revision) if upstream else (rest, "")


def merged(packages: Iterable[Package]) -> list[Package]:
    """The packages by name; several of one name become the first, with the files of all."""
    found: dict[str, Package] = {}
    for package in packages:
        first = found.setdefault(package.name, package)
        if first is not package:
            found[package.name] = replace(
                first,
                paths=first.paths + package.paths,
                requires=first.requires + package.requires,
                provides=first.provides + package.provides,
                post="\n".join(filter(None, (first.post, package.post))),
            )
    return list(found.values())


def build_rpms(
    batch: str,
    packages: Sequence[Package],
    buildroot: Path,
    out: Path,
    *,
    major: str,
    compress: bool,
) -> list[Path]:
    """Build one RPM for each package out of `buildroot` and put them into `out`.

    Raises:
        HoldfastError: rpmbuild failed, or made another number of RPMs than asked for.
    """
    work = out / ".build"
    (work / "lists").mkdir(parents=True)
    parts = [_SPEC.format(batch=batch, payload="w3.zstdio" if compress else "w0.ufdio")]
    for package in packages:
        listing = work / "lists" / package.name
        lines = list(_file_lines(buildroot, package.paths))
        if all(" %dir " in line for line in lines):
            raise fail(
                "empty-package",
                f"{package.name} would have no file, and stand for nothing on a node",
                hint="leave it out, or give it the files that it stands for",
            )
        listing.write_text("".join(lines), encoding="utf-8")
        parts.append(
            _PACKAGE.format(
                name=package.name,
                epoch=package.epoch,
                version=package.version,
                release=package.release(major),
                summary=package.summary,
                licence=package.licence,
                requires="\n".join(f"Requires: {name}" for name in package.requires),
                provides="\n".join(f"Provides: {name}" for name in package.provides),
                origin=package.origin,
                post=f"%post -n {package.name}\n{package.post}\n" if package.post else "",
                files=listing,
            )
        )
    spec = work / f"{batch}.spec"
    spec.write_text("".join(parts), encoding="utf-8")
    run(
        ["rpmbuild", "-bb", "--noclean", "--quiet", "--buildroot", buildroot.resolve(),
         "--define", f"_topdir {work.resolve()}", "--define", f"_rpmdir {work.resolve()}/rpms",
         "--define", "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm", spec],
        env={"SOURCE_DATE_EPOCH": "1763856000"},
        log=work / "rpmbuild.log",
    )  # fmt: skip
    built = sorted((work / "rpms").glob("*.rpm"))
    if len(built) != len(packages):
        raise fail(
            "rpmbuild",
            f"rpmbuild made {len(built)} packages of {len(packages)}",
            where=str(work / "rpmbuild.log"),
        )
    moved = []
    for rpm in built:
        target = out / rpm.name
        rpm.rename(target)
        moved.append(target)
    return moved


def _file_lines(buildroot: Path, paths: Iterable[str]) -> Iterable[str]:
    """RPM file-list lines for the paths that exist, with owner and mode as they are."""
    seen: set[str] = set()
    users = _names(buildroot / "etc/passwd")
    groups = _names(buildroot / "etc/group")
    for path in sorted(set(paths)):
        real = _through_links(buildroot, path)
        full = buildroot / real.lstrip("/")
        if real in seen or not os.path.lexists(full) or re.search(r"[\s\"*?\[{]", real):
            continue
        seen.add(real)
        info = full.lstat()
        mode = "-" if stat.S_ISLNK(info.st_mode) else f"{stat.S_IMODE(info.st_mode):04o}"
        kind = ""
        if stat.S_ISDIR(info.st_mode):
            kind = "%dir "
        elif real.startswith("/etc/") and stat.S_ISREG(info.st_mode):
            kind = "%config(noreplace) "
        owner = users.get(info.st_uid, "root")
        group = groups.get(info.st_gid, "root")
        yield f"%attr({mode}, {owner}, {group}) {kind}{real}\n"


def _names(table: Path) -> dict[int, str]:
    """Numeric id to name, from a passwd or group file; empty when there is none."""
    if not table.exists():
        return {}
    rows = (line.split(":") for line in table.read_text(encoding="utf-8").splitlines() if line)
    return {int(row[2]): row[0] for row in rows}


def _through_links(buildroot: Path, path: str) -> str:
    """`path` with symbolic links in its parent folders resolved inside the build root."""
    current = ""
    parts = path.strip("/").split("/")
    for index, part in enumerate(parts):
        current = f"{current}/{part}"
        full = buildroot / current.lstrip("/")
        if index < len(parts) - 1 and full.is_symlink():
            current = os.path.normpath(Path(current).parent / full.readlink())
    return current or "/"
