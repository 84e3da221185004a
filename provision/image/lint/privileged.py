"""The programs of an image that run with another's rights, as rows that can be recorded.

A row: path, mode in octal, owner, group and capabilities, between tabs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from provision.core.exitcodes import ExitCode
from provision.core.files import write_whole
from provision.core.problems import HoldfastError, Position, Problem
from provision.image.capabilities import MOST, name_of, sets
from provision.image.lint.tree import Entry, Tree

_HEAD = (
    "# The programs that may run with another's rights: path, mode, owner, group, capabilities.\n"
    "# Written by `holdfast image lint IMAGE --record`; look at what changed before it is kept.\n"
)


def rows(tree: Tree) -> list[str]:
    """A row for each such program, by path."""
    users = {row[2]: row[0] for row in tree.rows("/etc/passwd") if len(row) > 3}
    groups = {row[2]: row[0] for row in tree.rows("/etc/group") if len(row) > 2}

    def row(entry: Entry) -> str:
        owner = users.get(str(entry.uid), str(entry.uid))
        group = groups.get(str(entry.gid), str(entry.gid))
        told = (entry.path, f"{entry.mode:04o}", owner, group, capabilities(entry.capability))
        return "\t".join(told)

    return [
        row(entry)
        for entry in tree.entries.values()
        if entry.kind == "file" and (entry.mode & 0o6000 or entry.capability)
    ]


def capabilities(raw: str) -> str:
    """Capabilities by name, such as ``net_raw+ep``; what cannot be read stays as it is."""
    if not raw:
        return "-"
    if len(raw) != 33:
        return raw
    permitted, inheritable = sets(bytes.fromhex(raw[1:]))
    told = []
    for letter, bits in (("p", permitted), ("i", inheritable)):
        names = [name_of(bit) for bit in range(MOST) if bits >> bit & 1]
        effective = "e" if raw[0] == "1" and letter == "p" else ""
        told += [f"{','.join(names)}+{effective}{letter}"] if names else []
    return " ".join(told) or raw


def worded(row: str) -> str:
    """A row without its path, for people."""
    _, mode, owner, group, capability = row.split("\t")
    return f"{mode} {owner}:{group}" + (f" {capability}" if capability != "-" else "")


def file_name(image: str, release: str, base: str) -> str:
    """What the list of an image is called, in the folder `privileged` beside its definition."""
    return f"{image}-{release}-{base}.tsv"


def read(path: Path) -> tuple[str, ...] | None:
    """The rows of a recorded list; None where there is none.

    Raises:
        HoldfastError: it is no such list (exit code 2).
    """
    if not path.is_file():
        return None
    found, problems = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        if line.count("\t") != 4 or not line.startswith("/"):
            message = "a row has a path, mode, owner, group and capabilities, with tabs between"
            problems.append(Problem("bad-row", message, Position(str(path), number, 1), line))
        found.append(line)
    if problems:
        raise HoldfastError(problems, ExitCode.USAGE)
    return tuple(found)


def write(path: Path, found: Sequence[str]) -> None:
    """Keep rows as a list.

    Raises:
        OSError: the folder cannot be made or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, _HEAD + "".join(f"{row}\n" for row in found))
