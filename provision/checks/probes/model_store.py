"""The model store: who owns it, what lies in it, and the sha256 of every file."""

from __future__ import annotations

import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from provision.checks.probes.common import Absent, gather

_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}


def _entry(path: Path, name: str) -> dict[str, Any]:
    try:
        found = path.lstat()
    except FileNotFoundError as error:
        raise Absent(f"{path} is not there") from error
    return {
        "path": name,
        "kind": _KINDS.get(stat.S_IFMT(found.st_mode), "other"),
        "mode": stat.S_IMODE(found.st_mode),
        "uid": found.st_uid,
        "gid": found.st_gid,
        "size": found.st_size,
    }


def _tree(root: Path) -> list[dict[str, Any]]:
    if not root.is_dir():
        raise Absent(f"{root} is not there")
    below = sorted(root.rglob("*"))
    return [_entry(root, "."), *(_entry(path, str(path.relative_to(root))) for path in below)]


def _digest(path: Path) -> str:
    made = hashlib.sha256()
    with path.open("rb") as stream:
        for piece in iter(lambda: stream.read(4 << 20), b""):
            made.update(piece)
    return made.hexdigest()


def _digests(root: Path) -> dict[str, str]:
    names = [str(e["path"]) for e in _tree(root) if e["kind"] == "file"]
    # hashlib lets go of the interpreter lock, so several shards are read at once.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return dict(pool.map(lambda name: (name, _digest(root / name)), names))


def look(ask: dict[str, Any]) -> dict[str, Any]:
    """Look at the folder of the model that this node serves."""
    root = Path(ask["directory"])
    return gather(
        {
            "parent": lambda: _entry(root.parent, str(root.parent)),
            "tree": lambda: _tree(root),
            "digests": lambda: _digests(root),
        }
    )
