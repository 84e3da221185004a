"""Passwords, as hashes."""

from __future__ import annotations

from collections.abc import Iterator

from provision.image.lint.tree import Tree
from provision.image.lint.words import Found, Told, check
from provision.verdict.model import Severity

FILES = ("/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/passwd")


@check(
    "password-hashes",
    title="No account of the image has a password",
    why="A hash can be tried against words at leisure, and whoever finds the word gets into every"
    " machine that is made of the image.",
    fix="lock the account in the seal stage; the node is given its own",
    severity=Severity.CRITICAL,
)
def look(tree: Tree, _told: Told) -> Iterator[Found]:
    """A hash stays one behind the exclamation mark of a locked account."""
    for path in FILES:
        for row in tree.rows(path):
            field = row[1].lstrip("!") if len(row) > 1 else ""
            if field.startswith("$") or (len(field) == 13 and field.isalnum()):
                yield Found(path, f"has the hash of {row[0]}'s password")
