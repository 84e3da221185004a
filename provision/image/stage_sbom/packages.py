"""Reads a tree's RPM database with rpm, from a copy: rpm writes into the folder it reads."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from provision.core.problems import fail
from provision.image.stage_sbom.contents import Package

Run = Callable[[Sequence[str]], str]
"""Runs a tool and returns what it printed."""

DATABASES = ("usr/lib/sysimage/rpm", "var/lib/rpm")
"""Where releases have the database, below the root."""
_TAGS = ("NAME", "EPOCHNUM", "VERSION", "RELEASE", "ARCH", "LICENSE", "SOURCERPM", "VENDOR",
         "SUMMARY")  # fmt: skip
_NONE = "(none)"


def copy_database(root: Path, into: Path) -> Path:
    """Copy the RPM database of the tree `root` to `into`; the folder for rpm's ``--dbpath``.

    Raises:
        HoldfastError: the tree has none.
    """
    for place in DATABASES:
        folder = root / place
        inside = all(not part.is_symlink() for part in (folder, *folder.parents) if part != root)
        if inside and (folder / "rpmdb.sqlite").is_file():
            into.mkdir()
            for name in ("rpmdb.sqlite", "rpmdb.sqlite-wal"):
                if (folder / name).is_file():
                    shutil.copyfile(folder / name, into / name)
            return into
    raise fail("no-rpmdb", "the tree has no RPM database, so nobody knows what it is made of",
               where=str(root), hint="build it with `holdfast image build`")  # fmt: skip


def packages_of(database: Path, run: Run) -> list[Package]:
    """Every package of a database, by name and version.

    Raises:
        HoldfastError: rpm failed, or what it said cannot be read.
    """
    query = ["rpm", "--dbpath", str(database.resolve()), "-qa", "--qf"]
    paths: dict[str, list[str]] = defaultdict(list)
    # Each line begins with the number of the entry in the database, which no two share.
    for line in run([*query, r"[%{=DBINSTANCE}\t%{FILENAMES}\n]"]).splitlines():
        number, tab, path = line.partition("\t")
        if not tab or not number.isdigit():
            raise _unreadable(line)
        paths[number].append(path)
    found = []
    about = r"\t".join(f"%{{{tag}}}" for tag in ("DBINSTANCE", *_TAGS))
    for line in run([*query, about + r"\n"]).splitlines():
        cells = line.split("\t")
        if len(cells) != len(_TAGS) + 1:
            raise _unreadable(line)
        number, name, epoch, version, release, *rest = cells
        arch, licence, source, vendor, summary = ("" if c == _NONE else c for c in rest)
        found.append(
            Package(name, int(epoch), version, release, arch, licence, source, vendor, summary,
                    tuple(sorted(paths[number])))
        )  # fmt: skip
    if not found:
        raise fail("no-packages", "the RPM database names no package", where=str(database))
    return sorted(found, key=lambda p: (p.name, p.epoch, p.version, p.release, p.arch))


def _unreadable(line: str) -> Exception:
    return fail("bad-rpmdb", f"what rpm says of a package cannot be read: {line[:80]!r}")
