"""Stand-ins for what a rehearsal runs on the host: commands on PATH that write down their words."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from types import SimpleNamespace

from provision.rehearsal import oci
from provision.rehearsal.node import Node
from provision.rehearsal.recipe import load_recipe


class Commands:
    """A folder of fake commands, first on PATH. Each call is a line of `said`."""

    def __init__(self, folder: Path, monkeypatch) -> None:
        self.folder = folder
        self.log = folder / "said.log"
        folder.mkdir()
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def add(self, name: str, script: str = "") -> None:
        path = self.folder / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >> {self.log}\n{script}\n')
        path.chmod(0o755)

    @property
    def said(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


def engine_archive(folder: Path, monkeypatch, body: bytes = b"server") -> oci.Image:
    """The engine's image, of a tree that holds a server and one library."""

    def tree(root: Path, *args, **kwargs) -> None:
        for name in ("usr/bin/llama-server", "usr/bin/curl", "usr/lib/libc.so"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(body)
            (root / name).chmod(0o755)

    def answer(argv, **kwargs) -> str:
        if "ldd" in argv:
            return "/usr/bin/curl:\n\tlibc.so => /lib/libc.so (0x1)\n\tlinux-vdso.so.1 (0x2)\n"
        return "8000"

    folder.mkdir(parents=True, exist_ok=True)
    with monkeypatch.context() as patch:
        patch.setattr(oci, "debian", SimpleNamespace(build_tree=tree))
        patch.setattr(oci, "run", answer)
        return oci.build_engine_image(load_recipe(), folder / "work", folder / "engine.tar")


def members(archive: Path | bytes) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    """Everything in a tar, by name."""
    raw = archive if isinstance(archive, bytes) else archive.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        found = {}
        for member in tar:
            stream = tar.extractfile(member) if member.isfile() else None
            found[member.name] = (member, stream.read() if stream else b"")
        return found


def node(folder: Path, index: int = 1, namespace: str = "hf-000000") -> Node:
    """A node with a host key, as if it had been laid out."""
    one = Node(f"n{index}", index, folder / "nodes" / f"n{index}", namespace)
    key = one.folder / "upper/etc/ssh/ssh_host_ed25519_key.pub"
    key.parent.mkdir(parents=True)
    # Not a point on the curve, but a key as far as an inventory is concerned.
    key.write_text(f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'ABCDEFGHIJ'[index] * 43} comment\n")
    return one
