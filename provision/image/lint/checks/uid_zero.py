"""Who is root."""

from __future__ import annotations

from collections.abc import Iterator

from provision.image.lint.tree import Tree
from provision.image.lint.words import Found, Told, Unseen, check
from provision.verdict.model import Severity


@check(
    "uid-zero",
    title="Only root has the number 0",
    why="A second account of that number is root by another name, and is easily overlooked.",
    fix="remove the account, or give it a number of its own",
    severity=Severity.CRITICAL,
)
def look(tree: Tree, _told: Told) -> Iterator[Found]:
    """The numbers of all accounts."""
    accounts = [row for row in tree.rows("/etc/passwd") if len(row) > 3]
    if not accounts:
        raise Unseen("there is no /etc/passwd, or it is empty")
    roots = [row[0] for row in accounts if row[2].strip("0") == "" and row[2]]
    for number, name in enumerate(roots):
        if name != "root" or number:
            yield Found("/etc/passwd", f"{name} has the number 0")
