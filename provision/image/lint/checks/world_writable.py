"""What everybody may write."""

from __future__ import annotations

from collections.abc import Iterator

from provision.image.lint.tree import Tree
from provision.image.lint.words import Found, Told, check
from provision.verdict.model import Severity


@check(
    "world-writable",
    title="Nobody may write what is not theirs",
    why="A file that all may write is anybody's; in such a folder without the sticky bit, each may"
    " put another file in the place of one.",
    fix="`chmod o-w`, or `chmod +t` for a folder that all share",
    severity=Severity.HIGH,
)
def look(tree: Tree, _told: Told) -> Iterator[Found]:
    """Files, and folders without the sticky bit; devices are not of the image."""
    for entry in tree.entries.values():
        if not entry.mode & 0o002 or entry.path.startswith("/dev/"):
            continue
        if entry.kind == "file":
            yield Found(entry.path, f"has mode {entry.mode:04o}")
        elif entry.kind == "dir" and not entry.mode & 0o1000:
            yield Found(entry.path, f"has mode {entry.mode:04o}, without the sticky bit")
