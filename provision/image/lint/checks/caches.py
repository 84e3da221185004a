"""Caches, and the histories that package managers keep."""

from __future__ import annotations

from collections.abc import Iterator

from provision.image.lint.tree import Tree
from provision.image.lint.words import Found, Told, check
from provision.verdict.model import Severity

HISTORIES = (
    "/var/lib/dnf/history*",
    "/var/lib/yum/history*",
    "/usr/lib/sysimage/libdnf5/*.sqlite*",
)


@check(
    "caches",
    title="No cache of the build is in the image",
    why="Caches make it larger and differ with every build; a history names who built it.",
    fix="empty it in the seal stage",
    severity=Severity.LOW,
)
def look(tree: Tree, _told: Told) -> Iterator[Found]:
    """Files with something in them below the folders for caches, and dnf's histories."""
    for entry in tree.below("/var/cache", "/root/.cache"):
        if entry.kind == "file" and entry.size:
            yield Found(entry.path, f"holds {entry.size} bytes")
    for pattern in HISTORIES:
        for entry in tree.fitting(pattern):
            if entry.kind == "file":
                yield Found(entry.path, "is dnf's history")
