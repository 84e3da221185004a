"""What was logged while the image was built."""

from __future__ import annotations

from collections.abc import Iterator

from provision.image.lint.tree import Tree
from provision.image.lint.words import Found, Told, check
from provision.verdict.model import Severity


@check(
    "logs",
    title="No log of the build is in the image",
    why="Logs tell of the machine that built it, differ with every build, and are taken for the"
    " node's own.",
    fix="empty or remove it in the seal stage",
    severity=Severity.MEDIUM,
)
def look(tree: Tree, _told: Told) -> Iterator[Found]:
    """Every file with something in it; those that must be there may be empty."""
    for entry in tree.below("/var/log", "/run/log"):
        if entry.kind == "file" and entry.size:
            yield Found(entry.path, f"holds {entry.size} bytes")
