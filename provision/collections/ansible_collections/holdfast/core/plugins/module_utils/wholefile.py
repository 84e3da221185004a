# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Files on a node: what is there, and writing so that a reader sees the old file or the new."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
import tempfile
from typing import Any

_DIRECTORY = 0o755


class Seen:
    """What is at a path. `kind` is absent, file, directory, link or other."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.mode = ""
        self.owner = ""
        self.group = ""
        try:
            info = os.lstat(path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise
            self.kind = "absent"
            return
        self.kind = _kind(info.st_mode)
        self.mode = "{0:04o}".format(stat.S_IMODE(info.st_mode))
        self.owner = user_name(info.st_uid)
        self.group = group_name(info.st_gid)

    def text(self) -> str:
        """The file's text; empty when it is not a file. Bytes that are not UTF-8 are replaced."""
        if self.kind != "file":
            return ""
        with open(self.path, "rb") as stream:
            return stream.read().decode("utf-8", "replace")


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "link"
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "other"


def user_name(uid: int) -> str:
    """The user's name, or its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """The group's name, or its number where it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def owner_ids(owner: str, group: str) -> tuple[int, int]:
    """The numbers of a user and a group.

    Raises:
        KeyError: there is no such user or group.
    """
    uid = int(owner) if owner.isdigit() else pwd.getpwnam(owner).pw_uid
    gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    return uid, gid


def write(module: Any, path: str, data: bytes, *, mode: str, owner: str, group: str) -> None:
    """Write a whole file, with its rights and its SELinux context, or leave the old one.

    Raises:
        OSError: the directory is missing, read-only or full.
        KeyError: there is no such user or group.
    """
    uid, gid = owner_ids(owner, group)
    folder = os.path.dirname(path)
    handle, name = tempfile.mkstemp(
        prefix=".{0}.".format(os.path.basename(path)), suffix=".holdfast", dir=folder
    )
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            os.fchown(stream.fileno(), uid, gid)
            os.fchmod(stream.fileno(), int(mode, 8))
            stream.flush()
            os.fsync(stream.fileno())
        if module.selinux_enabled():
            module.set_context_if_different(name, module.selinux_default_context(path), False)
        os.rename(name, path)
    except BaseException:
        if os.path.exists(name):
            os.unlink(name)
        raise
    sync(folder)


def sync(folder: str) -> None:
    """Flush a directory's entries to disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_directories(module: Any, path: str) -> list[str]:
    """Create `path` and what is missing above it (0755); returns what was created, top first."""
    missing = []
    folder = path
    while folder and not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for folder in reversed(missing):
        os.mkdir(folder)
        os.chmod(folder, _DIRECTORY)
        if module.selinux_enabled():
            module.set_context_if_different(folder, module.selinux_default_context(folder), False)
    return list(reversed(missing))
