"""What `modinfo` says of the kernel modules in a tree."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from provision.image.lint.tree import Tree
from provision.image.lint.words import NotHere, Unseen

SUFFIXES = (".ko", ".ko.xz", ".ko.gz", ".ko.zst")
_AT_ONCE = 400
_PATIENCE_S = 300


@dataclass(frozen=True)
class Module:
    """A kernel module; `signed` also holds where the signer cannot be told."""

    path: str
    name: str = ""
    version: str = ""
    vermagic: str = ""
    signer: str = ""
    signed: bool = False


def kernels(tree: Tree) -> list[str]:
    """The kernels that have modules, by their folders' names; one of links alone is none."""
    found = {
        entry.path.split("/")[4]
        for entry in tree.below("/usr/lib/modules")
        if entry.kind == "file" and ("/kernel/" in entry.path or entry.path.endswith("/vmlinuz"))
    }
    return sorted(found)


@lru_cache(maxsize=4)
def modules(tree: Tree) -> tuple[Module, ...]:
    """Every module of the tree.

    Raises:
        NotHere: there is none.
        Unseen: `modinfo` is missing, or did not know one of them.
    """
    paths = [
        entry.path
        for entry in tree.below("/usr/lib/modules")
        if entry.kind == "file" and entry.path.endswith(SUFFIXES)
    ]
    if not paths:
        raise NotHere("no kernel module")
    found: list[Module] = []
    for start in range(0, len(paths), _AT_ONCE):
        found += _asked(tree, paths[start : start + _AT_ONCE])
    # Every module says for which kernel it is; of a broken one modinfo prints the name alone.
    missing = sorted({*paths} - {one.path for one in found if one.vermagic})
    if missing:
        raise Unseen(f"modinfo says nothing of {missing[0]} and {len(missing) - 1} more")
    return tuple(found)


def _asked(tree: Tree, paths: list[str]) -> Iterator[Module]:
    argv = ["modinfo", *(f"{tree.root}{path}" for path in paths)]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_PATIENCE_S
        )
    except FileNotFoundError as error:
        raise Unseen("modinfo is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise Unseen(f"modinfo did not end within {_PATIENCE_S} s") from error
    root = str(tree.root)
    fields: dict[str, str] = {}
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        key, colon, value = line.partition(":")
        if key == "filename" and fields:
            yield _module(fields, root)
            fields = {}
        # The first of a key that stands several times is the module's own.
        if colon and key.strip() == key:
            fields.setdefault(key, value.strip())
    if fields:
        yield _module(fields, root)


def _module(fields: dict[str, str], root: str) -> Module:
    return Module(
        path=fields.get("filename", "").removeprefix(root),
        name=fields.get("name", ""),
        version=fields.get("version", ""),
        vermagic=fields.get("vermagic", ""),
        signer=fields.get("signer", ""),
        signed=bool(fields.get("sig_id") or fields.get("sig_key")),
    )
