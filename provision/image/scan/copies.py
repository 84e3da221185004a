"""Copies of what programs cannot read of a tree without writing beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from provision.image.lint.packages import PLACES
from provision.image.lint.tree import Tree
from provision.image.sandbox import Bind, Sandbox

_SSH = "/etc/ssh"


@contextmanager
def copied(root: Path, sandbox: Sandbox, *, host_key: bool = False) -> Iterator[list[Bind]]:
    """What has to be seen in the tree's stead, for the time of a look.

    SQLite cannot read rpm's database where it may not make its index beside it, and says nothing
    of any package then. With `host_key` there is one too: without any, sshd tells nothing of its
    configuration.

    Raises:
        HoldfastError: it could not be copied.
    """
    tree = Tree(root)
    place = Path(tempfile.mkdtemp(prefix="holdfast-tree-"))
    inside = replace(sandbox, writable=(*sandbox.writable, place))
    try:
        binds: list[Bind] = []
        for number, folder in enumerate((*PLACES, _SSH) if host_key else PLACES):
            real = tree.resolve(folder)
            if real is None or any(bind.target == real for bind in binds):
                continue
            copy = place / str(number)
            inside.copy(Path(f"{root}{real}"), copy)
            if folder == _SSH:
                key = copy / "ssh_host_ed25519_key"
                inside.run(["rm", "-f", key, f"{key}.pub"])
                inside.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
            binds.append(Bind(copy, real, write=True))
        yield binds
    finally:
        inside.remove(place)
