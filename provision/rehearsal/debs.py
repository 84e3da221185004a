"""Debian packages as files: what they say of themselves, and their contents below a folder."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from provision.core.problems import fail
from provision.rehearsal.shell import run

_LEFT_OUT = ("./usr/share/man", "./usr/share/locale", "./etc/init.d", "./var/lib/chrony")


@dataclass(frozen=True)
class Deb:
    """A package's own description. `needs` are Debian names, the first of each alternative."""

    file: Path
    name: str
    version: str
    source: str
    summary: str
    needs: tuple[str, ...]


def read(deb: Path) -> Deb:
    """What a package says of itself."""
    wanted = ("Package", "Version", "Source", "Depends", "Description")
    lines = run(["dpkg-deb", "--field", deb, *wanted]).splitlines()
    fields = dict(line.split(": ", 1) for line in lines if ": " in line and line[0] != " ")
    depends = (part.split("|")[0] for part in fields.get("Depends", "").split(","))
    return Deb(
        file=deb,
        name=fields["Package"],
        version=fields["Version"],
        source=fields.get("Source", fields["Package"]).split(" ")[0],
        summary=fields["Description"],
        needs=tuple(one.split("(")[0].split(":")[0].strip() for one in depends if one.strip()),
    )


def unpack(deb: Deb, tree: Path, only: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Unpack a package into `tree` and return the absolute paths of what came.

    Args:
        deb: the package; its scripts do not run.
        tree: where to; what is there already stays.
        only: patterns of paths; nothing else comes.

    Raises:
        HoldfastError: it cannot be unpacked.
    """
    argv = ["tar", "-C", os.fspath(tree), "--extract", "--verbose", "--keep-directory-symlink"]
    argv += [f"--exclude={path}" for path in _LEFT_OUT]
    argv += ["--wildcards", *(f"./{pattern}" for pattern in only)] if only else []
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", os.fspath(deb.file)], stdout=subprocess.PIPE
    ) as reads:
        done = subprocess.run(argv, stdin=reads.stdout, capture_output=True, check=False)
        if reads.stdout is not None:
            reads.stdout.close()
    if done.returncode or reads.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise fail("tool-failed", f"tar could not unpack it: {said}", where=os.fspath(deb.file))
    names = done.stdout.decode().splitlines()
    return tuple(name[1:].rstrip("/") for name in names if len(name) > 2)
