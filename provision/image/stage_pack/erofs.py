"""Writes a tree as a read-only file system.

It is run as a program inside the sandbox: ``python -m provision.image.stage_pack.erofs`` with the
options as JSON on standard input.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Erofs:
    """What the program is told.

    Args:
        root: the tree.
        target: the file to write.
        uuid: the file system's.
        epoch: the time that everything says, in Unix seconds.
        contexts: the tree's file_contexts, or nothing where it has no policy.
        replaced: text of files that differ from the tree's, by path without leading slash.
        scratch: an empty folder.
    """

    root: str
    target: str
    uuid: str
    epoch: int
    contexts: str
    replaced: dict[str, str]
    scratch: str


def write(told: Erofs) -> None:
    """Write the file system.

    Raises:
        SystemExit: a tool failed; the text says which.
    """
    for number, (path, text) in enumerate(sorted(told.replaced.items())):
        file = Path(told.scratch) / str(number)
        file.write_text(text, encoding="utf-8")
        file.chmod(0o644)
        os.utime(file, (told.epoch, told.epoch))
        # Seen in this program's own mounts alone.
        _run(["mount", "--bind", str(file), f"{told.root}/{path}"])
    labels = [f"--file-contexts={told.contexts}", "--mount-point=/"] if told.contexts else []
    _run(["mkfs.erofs", "-zlz4hc", "-C65536", f"-T{told.epoch}", "-U", told.uuid, *labels,
          told.target, told.root])  # fmt: skip


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise SystemExit(f"{argv[0]} failed: {(done.stderr or done.stdout).strip()}")


if __name__ == "__main__":
    write(Erofs(**json.load(sys.stdin)))
