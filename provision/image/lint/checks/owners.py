"""Whose the files are."""

from __future__ import annotations

from collections.abc import Iterator

from provision.image.lint.tree import Tree
from provision.image.lint.words import Found, Told, Unseen, check
from provision.verdict.model import Severity

NOBODY = 65534


@check(
    "owners",
    title="Every file belongs to an account and a group of the image",
    why="A number that nobody has goes to the account that gets it next; nobody's is what a number"
    " becomes that the build could not keep.",
    fix="give it an owner, or make its account before the file",
    severity=Severity.MEDIUM,
)
def look(tree: Tree, _told: Told) -> Iterator[Found]:
    """Against the image's own accounts and groups."""
    users = {row[2] for row in tree.rows("/etc/passwd") if len(row) > 3}
    groups = {row[2] for row in tree.rows("/etc/group") if len(row) > 2}
    if not users or not groups:
        raise Unseen("there is no /etc/passwd or no /etc/group, or it is empty")
    for entry in tree.entries.values():
        if str(entry.uid) not in users or entry.uid == NOBODY:
            yield Found(entry.path, f"belongs to user {entry.uid}")
        elif str(entry.gid) not in groups or entry.gid == NOBODY:
            yield Found(entry.path, f"belongs to group {entry.gid}")
