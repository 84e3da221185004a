"""A root folder as checks see it: every path once, and reading that never leaves the root."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

MOST = 4 << 20
"""The most bytes that are read of one file."""
_LINKS = 40
_CAPABILITY = "security.capability"
_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "link",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True)
class Entry:
    """One path of the tree. `mode` holds the permission bits; `capability` is the raw attribute."""

    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    target: str = ""
    capability: str = ""


class Tree:
    """A root folder. Paths begin with a slash and are those that the image's system will see."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """Everything below the root by its path, sorted."""
        found = {entry.path: entry for entry in self._walk()}
        return dict(sorted(found.items()))

    def below(self, *folders: str) -> Iterator[Entry]:
        """What lies below any of `folders`."""
        starts = tuple(f"{folder.rstrip('/')}/" for folder in folders)
        return (entry for path, entry in self.entries.items() if path.startswith(starts))

    def fitting(self, pattern: str) -> list[Entry]:
        """What a pattern finds; a step of it stands for one name."""
        fits = re.compile(re.escape(pattern).replace(r"\*", "[^/]*")).fullmatch
        return [entry for path, entry in self.entries.items() if fits(path)]

    def resolve(self, path: str) -> str | None:
        """The path that `path` leads to inside the root; None where it leads to nothing."""
        done: list[str] = []
        steps = path.split("/")[::-1]
        links = 0
        while steps:
            step = steps.pop()
            if step in ("", "."):
                continue
            if step == "..":
                del done[-1:]
                continue
            here = "/".join(["", *done, step])
            try:
                info = os.lstat(f"{self.root}{here}")
            except (FileNotFoundError, NotADirectoryError):
                return None
            if not stat.S_ISLNK(info.st_mode):
                done.append(step)
                continue
            links += 1
            if links > _LINKS:
                return None
            target = str(Path(f"{self.root}{here}").readlink())
            if target.startswith("/"):
                done = []
            steps += target.split("/")[::-1]
        return "/" + "/".join(done)

    def exists(self, path: str) -> bool:
        """Whether `path` leads to something inside the root."""
        return self.resolve(path) is not None

    def read(self, path: str, most: int = MOST) -> bytes | None:
        """The first `most` bytes of a file; None where there is no such file.

        Raises:
            OSError: it is there and cannot be read.
        """
        real = self.resolve(path)
        if real is None or not Path(f"{self.root}{real}").is_file():
            return None
        with open(f"{self.root}{real}", "rb") as stream:
            return stream.read(most)

    def text(self, path: str) -> str | None:
        """The text of a file; None where there is no such file."""
        raw = self.read(path)
        return None if raw is None else raw.decode("utf-8", "replace")

    def rows(self, path: str) -> list[list[str]]:
        """The lines of a table whose columns a colon divides, such as /etc/passwd."""
        text = self.text(path) or ""
        return [line.split(":") for line in text.splitlines() if line and line[0] != "#"]

    def _walk(self) -> Iterator[Entry]:
        root = os.fsdecode(self.root)
        waiting = [root]
        while waiting:
            # A folder that cannot be read is an error, never an empty folder.
            with os.scandir(waiting.pop()) as names:
                for one in names:
                    entry = _entry(one.path[len(root) :], one)
                    yield entry
                    if entry.kind == "dir":
                        waiting.append(one.path)


def _entry(path: str, one: os.DirEntry[str]) -> Entry:
    info = one.stat(follow_symlinks=False)
    kind = _KINDS[stat.S_IFMT(info.st_mode)]
    target = str(Path(one.path).readlink()) if kind == "link" else ""
    capability = ""
    if kind == "file" and info.st_mode & 0o111:
        capability = _capability(one.path)
    mode = stat.S_IMODE(info.st_mode)
    return Entry(path, kind, mode, info.st_uid, info.st_gid, info.st_size, target, capability)


def _capability(path: str) -> str:
    """The file's capabilities: 1 where they are effective at once, and the bits in hexadecimal."""
    try:
        raw = os.getxattr(path, _CAPABILITY, follow_symlinks=False)
    except OSError:
        return ""
    # Flags, then permitted and inheritable bits; which namespace's root set them is left out.
    return f"{raw[0] & 1}{raw[4:20].hex()}" if len(raw) >= 20 else raw.hex()
