"""Keys that let somebody log in."""

from __future__ import annotations

from collections.abc import Iterator

from provision.image.lint.tree import Tree
from provision.image.lint.words import Found, Told, check
from provision.verdict.model import Severity


@check(
    "login-keys",
    title="No key that lets somebody log in is in the image",
    why="Who holds its other half gets into every machine that is made of the image. Keys are"
    " handed over to each node at its first start.",
    fix="remove it, and let the node be given it",
    severity=Severity.CRITICAL,
)
def look(tree: Tree, _told: Told) -> Iterator[Found]:
    """The files in homes, and those of /etc/ssh."""
    patterns = ("/root/.ssh/authorized_keys*", "/home/*/.ssh/authorized_keys*",
                "/etc/ssh/authorized_keys*", "/etc/ssh/authorized_keys/*")  # fmt: skip
    for entry in (e for pattern in patterns for e in tree.fitting(pattern)):
        lines = (tree.text(entry.path) or "").splitlines() if entry.kind == "file" else []
        keys = [line for line in lines if line.strip() and not line.startswith("#")]
        if keys:
            yield Found(entry.path, f"lets {len(keys)} keys in")
