"""The rehearsal's network: a namespace of its own with one bridge and no way out.

Everything that talks, nodes, the origin and Holdfast itself, runs inside it. A rehearsal can
therefore neither reach a network nor be reached from one, and two can use the same addresses.
"""

from __future__ import annotations

import os
from pathlib import Path

from provision.rehearsal.shell import run

CONTROLLER = "192.0.2.1"
"""The controller's address on the bridge (192.0.2.0/24 is reserved for documentation)."""
ORIGIN_PORT = 8000
_BRIDGE = "rack0"


def node_address(index: int) -> str:
    """The address of node number `index`, counted from 1 (at most 200)."""
    return f"192.0.2.{10 + index}"


def create(name: str) -> None:
    """Create the namespace `name` with its bridge.

    Raises:
        HoldfastError: no privilege, or the name is taken.
    """
    run(["ip", "netns", "add", name])
    for words in (
        ("link", "set", "lo", "up"),
        ("link", "add", _BRIDGE, "type", "bridge"),
        ("address", "add", f"{CONTROLLER}/24", "dev", _BRIDGE),
        ("link", "set", _BRIDGE, "up"),
    ):
        run(["ip", "-netns", name, *words])


def delete(name: str) -> None:
    """Delete the namespace `name`; one that is not there is fine."""
    if path(name).exists():
        run(["ip", "netns", "delete", name])


def path(name: str) -> Path:
    """The file that stands for the namespace."""
    return Path("/run/netns") / name


def inside(name: str) -> list[str]:
    """The words that put a command into the namespace.

    Only the network changes: mounts stay the host's, which the nodes' control groups need.
    """
    return ["nsenter", f"--net={os.fspath(path(name))}", "--"]


def bridge() -> str:
    """The bridge's name inside the namespace."""
    return _BRIDGE
