"""Whether kernel, module and driver belong together."""

from __future__ import annotations

import re
from collections.abc import Iterator

from provision.image.lint.modules import kernels, modules
from provision.image.lint.tree import Tree
from provision.image.lint.words import Found, Told, check
from provision.verdict.model import Severity

_LIBRARY = re.compile(r"/lib(cuda|nvidia-ml)\.so\.(?P<version>\d+\.\d+[\d.]*)\Z")


@check(
    "driver-match",
    title="Kernel, modules and driver belong together",
    why="A module of another kernel is not loaded, and a library of another driver version finds no"
    " GPU. Both are seen only once the machine runs.",
    fix="lock kernel, module and driver as one unit, and install that",
    severity=Severity.HIGH,
)
def look(tree: Tree, _told: Told) -> Iterator[Found]:
    """Each module's kernel, links of weak updates, and NVIDIA's module and libraries."""
    for entry in tree.below("/usr/lib/modules"):
        if entry.kind == "link" and "/weak-updates/" in entry.path and not tree.exists(entry.path):
            yield Found(entry.path, f"leads to {entry.target}, which is not there")
    names = kernels(tree)
    for one in modules(tree):
        own = one.path.split("/")[4]
        said = one.vermagic.partition(" ")[0]
        if own in names and said != own:
            yield Found(one.path, f"is for the kernel {said}, not {own}")
    yield from _nvidia(tree)


def _nvidia(tree: Tree) -> Iterator[Found]:
    of_modules = {
        one.path: one.version for one in modules(tree) if one.name == "nvidia" and one.version
    }
    libraries = {
        path: found["version"] for path in tree.entries if (found := _LIBRARY.search(path))
    }
    versions = {*of_modules.values(), *libraries.values()}
    if len(versions) > 1:
        for path, version in (of_modules | libraries).items():
            yield Found(path, f"is of driver {version}")
