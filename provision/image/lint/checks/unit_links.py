"""Units that are wanted and are not there."""

from __future__ import annotations

from collections.abc import Iterator

from provision.image.lint.tree import Entry, Tree
from provision.image.lint.words import Found, Told, check
from provision.verdict.model import Severity

FOLDERS = ("/etc/systemd/system", "/etc/systemd/user", "/usr/lib/systemd/system",
           "/usr/lib/systemd/user")  # fmt: skip


@check(
    "unit-links",
    title="Every unit that is enabled is there",
    why="A link that leads to nothing is a service that does not start, and nothing says so.",
    fix="`systemctl disable` the unit, or install what brings it",
    severity=Severity.MEDIUM,
)
def look(tree: Tree, _told: Told) -> Iterator[Found]:
    """Links in the folders of units, each followed inside the image."""
    for entry in tree.below(*FOLDERS):
        if entry.kind == "link" and not _leads(tree, entry):
            yield Found(entry.path, f"leads to {entry.target}, which is not there")


def _leads(tree: Tree, entry: Entry) -> bool:
    if entry.target.endswith("/dev/null") or tree.exists(entry.path):
        return True
    # systemd looks for the link's own name; an instance is found as its template.
    name = entry.path.rpartition("/")[2]
    head, at, tail = name.partition("@")
    template = f"{head}@.{tail.rpartition('.')[2]}" if at else name
    return any(tree.exists(f"{folder}/{one}") for folder in FOLDERS for one in (name, template)
               if f"{folder}/{one}" != entry.path)  # fmt: skip
