"""Programs that run with another's rights."""

from __future__ import annotations

from collections.abc import Iterator

from provision.image.lint.privileged import rows, worded
from provision.image.lint.tree import Tree
from provision.image.lint.words import Found, Told, Unseen, check
from provision.verdict.model import Severity


@check(
    "privileged-programs",
    title="The programs that run with another's rights are those that are known",
    why="One more set-user-id program or file capability is one more way to become root; one less"
    " is something that does not work.",
    fix="remove the right, or look at it and record it: `holdfast image lint IMAGE --record`",
    severity=Severity.HIGH,
)
def look(tree: Tree, told: Told) -> Iterator[Found]:
    """Mode, owner, group and capabilities against the list that was recorded."""
    if told.privileged is None:
        raise Unseen("no list of such programs was recorded for this image")
    known = {row.split("\t")[0]: row for row in told.privileged}
    here = {row.split("\t")[0]: row for row in rows(tree)}
    for path, row in here.items():
        if path not in known:
            yield Found(path, f"is new: {worded(row)}")
        elif known[path] != row:
            yield Found(path, f"is {worded(row)}, and was {worded(known[path])}")
    for path in known.keys() - here.keys():
        yield Found(path, f"has no such right any more: it was {worded(known[path])}")
