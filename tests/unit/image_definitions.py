"""What the tests of images share: a small definition, and a tree made of this machine's files."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from provision.image.definition import Definition
from provision.image.sandbox import Bind

MINIMAL: dict[str, Any] = {
    "name": "node",
    "title": "A node",
    "date": date(2026, 11, 23),
    "release": 10,
    "profile": "cis_l1_server",
    "roles": {"hardening": {}},
    "partitions": [{"mount": "/", "size_mib": 1024}],
    "formats": ["tar"],
}


def definition(**changes: Any) -> Definition:
    """A small definition that is right, with changes."""
    body = {**MINIMAL, **changes}
    body["date"] = body["date"].isoformat()
    return Definition.model_validate(body)


def borrowed_root(folder: Path) -> tuple[Path, list[Bind]]:
    """A root that has this machine's programs, read-only, and nothing else of it."""
    root = folder / "root"
    for name in ("etc", "proc", "sys", "dev", "run", "tmp", "var/tmp", "root", "usr"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    return root, [Bind(Path("/usr"), "/usr")]
