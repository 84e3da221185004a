"""What random numbers and sealed credentials begin from."""

from __future__ import annotations

from collections.abc import Iterator

from provision.image.lint.tree import Tree
from provision.image.lint.words import Found, Told, check
from provision.verdict.model import Severity

SEEDS = (
    "/var/lib/systemd/random-seed",
    "/var/lib/random-seed",
    "/var/lib/systemd/credential.secret",
    "/boot/loader/random-seed",
    "/boot/efi/loader/random-seed",
)


@check(
    "random-seed",
    title="No random seed is in the image",
    why="Machines that begin with one seed may make the same keys.",
    fix="remove it; the first start makes one",
    severity=Severity.HIGH,
)
def look(tree: Tree, _told: Told) -> Iterator[Found]:
    """The files that systemd and the boot loaders keep."""
    for path in SEEDS:
        if path in tree.entries:
            yield Found(path, "is there")
