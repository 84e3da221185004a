"""The SSH server's own keys."""

from __future__ import annotations

from collections.abc import Iterator

from provision.image.lint.tree import Tree
from provision.image.lint.words import Found, Told, check
from provision.verdict.model import Severity


@check(
    "ssh-host-keys",
    title="No host key of the SSH server is in the image",
    why="Who has the image has the key, and can pass for every machine that was made of it.",
    fix="remove /etc/ssh/ssh_host_*; sshd-keygen makes new ones at the first start",
    severity=Severity.CRITICAL,
)
def look(tree: Tree, _told: Told) -> Iterator[Found]:
    """By name; a key of another name is found as a secret."""
    for entry in tree.fitting("/etc/ssh/ssh_host_*"):
        yield Found(entry.path, "is a host key")
