"""Accounts that anybody may be."""

from __future__ import annotations

from collections.abc import Iterator

from provision.image.lint.tree import Tree
from provision.image.lint.words import Found, Told, Unseen, check
from provision.verdict.model import Severity


@check(
    "empty-passwords",
    title="No account is open without a password",
    why="Who comes to the login is in.",
    fix="lock the account: `passwd -l NAME`",
    severity=Severity.CRITICAL,
)
def look(tree: Tree, _told: Told) -> Iterator[Found]:
    """The second column of both tables: empty lets in, x looks into the other."""
    accounts = tree.rows("/etc/passwd")
    if not accounts:
        raise Unseen("there is no /etc/passwd, or it is empty")
    shadow = {row[0]: row[1] for row in tree.rows("/etc/shadow") if len(row) > 1}
    for row in accounts:
        field = row[1] if len(row) > 1 else ""
        if not field:
            yield Found("/etc/passwd", f"{row[0]} has no password")
        elif field == "x" and shadow.get(row[0], "*") == "":
            yield Found("/etc/shadow", f"{row[0]} has no password")
