"""What building or trying out leaves behind."""

from __future__ import annotations

from collections.abc import Iterator

from provision.image.lint.tree import Tree
from provision.image.lint.words import Found, Told, check
from provision.verdict.model import Severity

PLACES = (
    "/.dockerenv",
    "/.autorelabel.old",
    "/root/anaconda-ks.cfg",
    "/root/original-ks.cfg",
    "/root/.ansible",
    "/root/.rpmdb",
    "/rpms",
)
HISTORIES = (
    ".bash_history",
    ".python_history",
    ".lesshst",
    ".viminfo",
    ".wget-hsts",
    ".sqlite_history",
)
TEMPORARY = tuple(f"/{name}" for name in ("tmp", "var/tmp"))
SUFFIXES = (".rpmnew", ".rpmsave", ".rpmorig")


@check(
    "build-leftovers",
    title="Nothing that building left behind is in the image",
    why="It tells of who built the image and how, and is on every machine that is made of it.",
    fix="remove it in the seal stage; of .rpmnew and .rpmsave keep the file that is meant",
    severity=Severity.LOW,
)
def look(tree: Tree, _told: Told) -> Iterator[Found]:
    """Temporary files, histories of shells, and the second versions that rpm leaves."""
    for entry in tree.below(*TEMPORARY):
        yield Found(entry.path, "is a temporary file")
    for entry in tree.entries.values():
        name = entry.path.rpartition("/")[2]
        if entry.path in PLACES or name in HISTORIES:
            yield Found(entry.path, "is of the build")
        elif entry.path.startswith("/etc/") and name.endswith(SUFFIXES):
            yield Found(entry.path, "is a second version of a file")
