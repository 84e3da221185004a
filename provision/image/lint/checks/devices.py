"""Devices that lie in the tree."""

from __future__ import annotations

from collections.abc import Iterator

from provision.image.lint.tree import Tree
from provision.image.lint.words import Found, Told, check
from provision.verdict.model import Severity


@check(
    "devices",
    title="No device lies outside of /dev",
    why="A device of another name leads past the rights of the one in /dev.",
    fix="remove it",
    severity=Severity.HIGH,
)
def look(tree: Tree, _told: Told) -> Iterator[Found]:
    """The kernel fills /dev itself."""
    for entry in tree.entries.values():
        if entry.kind in ("char", "block") and not entry.path.startswith("/dev/"):
            yield Found(entry.path, f"is a {entry.kind} device")
