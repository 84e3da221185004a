"""Disks, mounts, and how full they are. A mount that hangs is known by its name."""

from __future__ import annotations

import functools
import os
from typing import Any

from provision.health.probes.ask import Ask, Failed

BLOCK = "/sys/block"
RECORDED = "@space"
"""In a tree that is looked at instead of the running system: the space of each mount."""
_REMOTE = ("nfs", "cifs", "ceph", "lustre", "fuse", "gpfs", "beegfs")
_NO_DISKS = ("loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd")


def look(ask: Ask) -> None:
    """Say disks and mounts first: asking a mount for its space may hang."""
    ask.see("storage.disks", lambda: {
        name: _disk(ask, name) for name in ask.names(BLOCK) if not name.startswith(_NO_DISKS)
    })  # fmt: skip
    mounts: dict[str, Any] = ask.see("storage.mounts", lambda: _mounts(ask)) or {}
    wanted = {m["path"] for m in ask.declared.get("filesystems", ())}
    local = {path for path, m in mounts.items() if m["source"].startswith("/dev/")}
    # What is on the network comes last: it is what may hang.
    remote = {path for path, m in mounts.items() if m["type"].startswith(_REMOTE)}
    for path in sorted((wanted | local) & set(mounts), key=lambda p: (p in remote, p)):
        ask.see(f"storage.space|{path}", functools.partial(_space, ask, path))


def _disk(ask: Ask, name: str) -> dict[str, Any]:
    at = f"{BLOCK}/{name}"
    state = ask.maybe(f"{at}/device/state") or ask.maybe(f"{at}/device/device/state")
    return {
        "gib": int(ask.maybe(f"{at}/size", "0")) >> 21,
        "model": ask.maybe(f"{at}/device/model"),
        "state": state,
        "read_only": ask.maybe(f"{at}/ro") == "1",
    }


def _mounts(ask: Ask) -> dict[str, Any]:
    """Every mount by its path; the last one on a path is the one that is seen there."""
    found = {}
    for line in ask.text(
        "/proc/self/mounts" if str(ask.root) == "/" else "/proc/mounts"
    ).splitlines():
        source, path, kind, options = line.split()[:4]
        path = path.replace("\\040", " ")
        found[path] = {"source": source, "type": kind, "options": options.split(",")}
    if not found:
        raise Failed("missing", "there is no mount")
    return found


def _space(ask: Ask, path: str) -> dict[str, float]:
    if str(ask.root) == "/":
        seen = os.statvfs(path)
        blocks, free, files, unused = seen.f_blocks, seen.f_bavail, seen.f_files, seen.f_favail
    else:
        recorded = ask.text(f"/{RECORDED}{path.rstrip('/')}/space")
        blocks, free, files, unused = (int(word) for word in recorded.split())
    return {
        "used": 100 * (1 - free / blocks) if blocks else 0.0,
        "inodes": 100 * (1 - unused / files) if files else 0.0,
    }
