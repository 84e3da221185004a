"""The list of what is installed."""

from __future__ import annotations

from collections.abc import Iterator

from provision.image.lint.packages import installed
from provision.image.lint.tree import Tree
from provision.image.lint.words import Found, Told, check
from provision.verdict.model import Severity


@check(
    "rpm-database",
    title="The rpm database can be read and knows rpm",
    why="Without it nothing proves what the image is made of, and no package can be mended.",
    fix="do not remove it; rebuild it with `rpm --rebuilddb` where it broke",
    severity=Severity.HIGH,
)
def look(tree: Tree, _told: Told) -> Iterator[Found]:
    """By the host's rpm, on a copy: reading writes lock files."""
    if "rpm" not in installed(tree):
        yield Found("/var/lib/rpm", "does not know the package rpm")
