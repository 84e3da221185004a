"""How many kernels there are."""

from __future__ import annotations

from collections.abc import Iterator

from provision.image.lint.modules import kernels
from provision.image.lint.tree import Tree
from provision.image.lint.words import Found, NotHere, Told, check
from provision.verdict.model import Severity


@check(
    "one-kernel",
    title="One kernel is in the image",
    why="With several, which one starts depends on sorting, and the modules of a driver fit one.",
    fix="remove all but the one that the stack lock names",
    severity=Severity.HIGH,
)
def look(tree: Tree, _told: Told) -> Iterator[Found]:
    """Folders of modules, and images below /boot."""
    folders = kernels(tree)
    images = [e.path for e in tree.fitting("/boot/vmlinuz-*") if "rescue" not in e.path]
    if not folders and not images:
        raise NotHere("no folder of modules and no kernel below /boot")
    if len(folders) > 1:
        for name in folders:
            yield Found(f"/usr/lib/modules/{name}", "is one of several kernels")
    for path in images:
        if path.removeprefix("/boot/vmlinuz-") not in folders:
            yield Found(path, "is a kernel without modules")
