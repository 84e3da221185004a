"""Files of no package."""

from __future__ import annotations

from collections.abc import Iterator

from provision.image.lint.packages import owned
from provision.image.lint.tree import Tree
from provision.image.lint.words import Found, Told, check
from provision.verdict.model import Severity

MADE = ("/usr/local/", "/usr/src/", "/usr/lib/sysimage/", "/usr/lib/.build-id/")
"""Where a site's own files, or what packages make themselves, lie."""


@check(
    "unowned-files",
    title="Files below /usr that no package owns",
    why="Updates do not touch them, and the list of what is installed does not name them.",
    fix="let a package bring them",
    severity=Severity.INFO,
    notes=True,
)
def look(tree: Tree, _told: Told) -> Iterator[Found]:
    """Files and links; packages' caches of Python are theirs."""
    known = owned(tree)
    for entry in tree.below("/usr"):
        if entry.kind not in ("file", "link") or entry.path.startswith(MADE):
            continue
        if entry.path not in known and "/__pycache__/" not in entry.path:
            yield Found(entry.path, "belongs to no package")
