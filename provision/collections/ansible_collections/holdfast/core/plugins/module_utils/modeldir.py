# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""A model's directory against the files that the stack lock names."""

from __future__ import annotations

import os
import stat
from typing import Any

from ansible_collections.holdfast.core.plugins.module_utils.fetch import sha256

LEFTOVER = ".holdfast"


class Look:
    """What a model's directory holds, compared with what it should hold."""

    def __init__(self) -> None:
        self.fetch: list[dict[str, Any]] = []
        self.reasons: dict[str, str] = {}
        self.extra: list[str] = []
        self.leftovers: list[str] = []
        self.rights: list[str] = []


def safe(path: str) -> bool:
    """Whether a path of the stack lock stays inside the model's directory."""
    parts = path.split("/")
    return bool(path) and not path.startswith("/") and not {"", ".", ".."} & set(parts)


def manifest(directory: str, files: list[dict[str, Any]]) -> str:
    """The text that ``sha256sum --check`` reads."""
    lines = sorted(
        "{0}  {1}".format(f["sha256"], os.path.join(directory, f["path"])) for f in files
    )
    return "".join(line + "\n" for line in lines)


def look(directory: str, files: list[dict[str, Any]]) -> Look:
    """Compare the directory with the files, by digest."""
    found = Look()
    wanted = {entry["path"]: entry for entry in files}
    present = walk(directory)
    folders = {os.path.dirname(path) for path in wanted}
    for path, kind in sorted(present.items()):
        if kind == "directory" and any(f == path or f.startswith(path + "/") for f in folders):
            if not _right(os.path.join(directory, path), 0o755):
                found.rights.append(path)
        elif path not in wanted:
            (found.leftovers if path.endswith(LEFTOVER) else found.extra).append(path)
    for path, entry in sorted(wanted.items()):
        reason = differs(os.path.join(directory, path), entry, present.get(path))
        if reason:
            found.reasons[path] = reason
            found.fetch.append(entry)
        elif not _right(os.path.join(directory, path), 0o444):
            found.rights.append(path)
    if os.path.isdir(directory) and not _right(directory, 0o755):
        found.rights.append(".")
    return found


def walk(directory: str) -> dict[str, str]:
    """Everything below `directory` by relative path; links are not followed."""
    found: dict[str, str] = {}
    for folder, names, files in os.walk(directory):
        for name in names + files:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            kind = "other"
            if stat.S_ISREG(mode):
                kind = "file"
            elif stat.S_ISDIR(mode):
                kind = "directory"
            found[os.path.relpath(path, directory)] = kind
    return found


def differs(path: str, entry: dict[str, Any], kind: str | None) -> str:
    """Why a file is not the one that the stack lock names; empty when it is."""
    if kind is None:
        return "is missing"
    if kind != "file":
        return "is not a regular file"
    size = os.stat(path).st_size
    if entry.get("size") and size != int(entry["size"]):
        return "has {0} bytes instead of {1}".format(size, entry["size"])
    digest = sha256(path)
    if digest != entry["sha256"]:
        return "has sha256 {0} instead of {1}".format(digest, entry["sha256"])
    return ""


def _right(path: str, mode: int) -> bool:
    info = os.lstat(path)
    return (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (mode, 0, 0)
