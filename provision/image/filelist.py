"""``files.tsv``: every path of an image's tree, one line each, as stage seal wrote it.

The columns, separated by tabs: path (a JSON string), type (f d l c b p s), mode (octal, without the
type), uid, gid, size in bytes, what it holds (sha256 of a file, target of a link as a JSON string,
``major:minor`` of a device, ``-`` otherwise), extended attributes (``name=hex`` with commas between
them, or ``-``). Lines stand in the order of the paths' bytes. SELinux labels are not in it; they
are in ``labels.tsv``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from provision.core.problems import Position, Problem, fail

CAPABILITY = "security.capability"
TYPES = {"f": "file", "d": "folder", "l": "link", "c": "character device", "b": "block device",
         "p": "pipe", "s": "socket"}  # fmt: skip
"""What a type is, in words."""
_COLUMNS = 8


class Entry(NamedTuple):
    """One path: `holds` is a file's sha256, a link's target, a device's numbers, or ``-``.

    A tuple and no more: trees have tens of thousands, and a diff compares whole ones.
    """

    path: str
    type: str
    mode: int
    uid: int
    gid: int
    size: int
    holds: str
    xattrs: str

    @property
    def capability(self) -> str:
        """The file capability in hex, or nothing."""
        for one in self.xattrs.split(","):
            name, _, value = one.partition("=")
            if name == CAPABILITY:
                return value
        return ""

    @property
    def permissions(self) -> str:
        """The mode as ``chmod`` takes it."""
        return f"{self.mode:04o}"


def read_files(path: Path) -> dict[str, Entry]:
    """Every entry of a ``files.tsv`` by its path, in the file's order.

    Raises:
        HoldfastError: the file cannot be read, or a line of it is not what is described above.
    """
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise fail("unreadable-files", f"the list of files cannot be read: {error}",
                   where=str(path)) from error  # fmt: skip
    return parse_files(text, str(path))


def parse_files(text: str, name: str) -> dict[str, Entry]:
    """Every entry of the text of a ``files.tsv`` called `name`; see `read_files`."""
    found: dict[str, Entry] = {}
    add = found.__setitem__
    lines = text.split("\n")
    if lines.pop():
        raise _bad(name, len(lines) + 1, "the file is cut short: its last line has no end")
    loads = json.loads
    for number, line in enumerate(lines, start=1):
        cells = line.split("\t")
        try:
            raw, kind, mode, uid, gid, size, holds, xattrs = cells
            plain = raw[1:-1]
            at = plain if "\\" not in plain and raw[0] == raw[-1] == '"' else loads(raw)
            if kind not in TYPES:
                raise ValueError(f"{kind[:10]!r} is no type")
            if kind == "l":
                holds = loads(holds)
            add(at, Entry(at, kind, int(mode, 8), int(uid), int(gid), int(size), holds, xattrs))
        except (ValueError, IndexError) as error:
            raise _bad(name, number, f"this is no line of a list of files: {error}") from error
    if len(found) != len(lines):
        raise _bad(name, 1, "a path is in it twice")
    return found


def _bad(name: str, line: int, message: str) -> Exception:
    error = fail("bad-files", message)
    error.problems[:] = [Problem("bad-files", message, Position(name, line, 1))]
    return error


def written(entries: Iterable[Entry]) -> Iterator[str]:
    """The lines of a ``files.tsv`` with their ends, in the order in which they must stand."""
    for one in sorted(entries, key=lambda entry: entry.path.encode("utf-8", "surrogateescape")):
        holds = json.dumps(one.holds) if one.type == "l" else one.holds
        cells = (json.dumps(one.path), one.type, one.permissions, str(one.uid), str(one.gid),
                 str(one.size), holds, one.xattrs)  # fmt: skip
        yield "\t".join(cells) + "\n"
