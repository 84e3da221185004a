"""What somebody scheduled by hand."""

from __future__ import annotations

from collections.abc import Iterator

from provision.image.lint.tree import Tree
from provision.image.lint.words import Found, Told, check
from provision.verdict.model import Severity

SPOOLS = ("/var/spool/cron", "/var/spool/at", "/var/spool/anacron")


@check(
    "scheduled",
    title="Nothing that somebody scheduled by hand is in the image",
    why="It runs on every machine, and nobody finds it in a package or a role.",
    fix="remove it; what shall run belongs into a timer of a package or a role",
    severity=Severity.MEDIUM,
)
def look(tree: Tree, _told: Told) -> Iterator[Found]:
    """The spools of cron, at and anacron; their own marks are empty."""
    for entry in tree.below(*SPOOLS):
        if entry.kind == "file" and entry.size and not entry.path.endswith("/.SEQ"):
            yield Found(entry.path, "is scheduled")
