"""Signatures of kernel modules."""

from __future__ import annotations

from collections.abc import Iterator

from provision.image.lint.modules import modules
from provision.image.lint.tree import Tree
from provision.image.lint.words import Found, Told, check
from provision.verdict.model import Severity


@check(
    "signed-modules",
    title="Every kernel module is signed",
    why="A kernel that started under Secure Boot loads no other, so that a driver is missing when"
    " the machine starts and not before.",
    fix="install the signed module, or sign it with a key that the firmware trusts",
    severity=Severity.HIGH,
)
def look(tree: Tree, _told: Told) -> Iterator[Found]:
    """What modinfo says of each."""
    for one in modules(tree):
        if not one.signer and not one.signed:
            yield Found(one.path, "has no signature")
