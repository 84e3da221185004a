# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Files handled so that nobody can lead root astray, and the way back from an undo journal.

This file imports nothing but the standard library: it is also laid down on a node as a script,
which restores what a journal says without anything else of Holdfast.

A folder is trusted when root alone can change what stands in it, and so are all folders above.
A symbolic link is followed in trusted folders only. In the others nothing is followed, and a file
that has a second name (a hard link) is refused: somebody may have put it there.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

MARKER = "armed.json"
"""In the journals' home: an undo is waiting for its deadline."""

FIRING = "firing.json"
"""The marker's name once the undo has begun; one rename decides between undo and success."""

ACCESS_LIST = "system.posix_acl_access"
LINKS = 40
LARGE = 1 << 20
"""The most bytes that are read of a file that somebody other than root can put there."""

SUFFIX = ".holdfast"
SECONDS = 120
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Unsafe(OSError):
    """Somebody other than root could decide what would be read or written here."""


class Seen:
    """What is at a path. `kind` is absent, file, directory, link or other.

    `path` is the place itself, after links were followed; `data` a file's bytes when they were
    asked for; `trusted` whether root alone can change what stands there.
    """

    def __init__(self, path: str, trusted: bool) -> None:
        self.path = path
        self.trusted = trusted
        self.kind = "absent"
        self.mode = 0
        self.uid = 0
        self.gid = 0
        self.links = 0
        self.place = (0, 0)
        self.size = 0
        self.target = ""
        self.data: bytes | None = None
        self.attributes: dict[str, bytes] = {}

    def take(self, info: os.stat_result) -> None:
        """Take over what the kernel says of it."""
        kinds = ((stat.S_ISREG, "file"), (stat.S_ISDIR, "directory"), (stat.S_ISLNK, "link"))
        self.kind = next((name for test, name in kinds if test(info.st_mode)), "other")
        self.mode = stat.S_IMODE(info.st_mode)
        self.uid, self.gid, self.links = info.st_uid, info.st_gid, info.st_nlink
        self.place, self.size = (info.st_dev, info.st_ino), info.st_size

    def record(self) -> dict[str, Any]:
        """What an undo needs to know of it, without its bytes."""
        found: dict[str, Any] = {"kind": self.kind}
        if self.kind in ("file", "directory"):
            found.update(mode=self.mode, uid=self.uid, gid=self.gid)
        if self.kind == "link":
            found["target"] = self.target
        if self.data is not None:
            found["sha256"] = hashlib.sha256(self.data).hexdigest()
        if self.attributes:
            found["attributes"] = {
                name: base64.b64encode(value).decode("ascii")
                for name, value in sorted(self.attributes.items())
            }
        return found


class Tree:
    """The files below `root`; every path is absolute and starts there."""

    def __init__(self, root: str = "/") -> None:
        self.root = root.rstrip("/") or "/"
        self.owners = {0, os.geteuid()}

    @contextlib.contextmanager
    def parent(self, path: str, follow: bool = True) -> Iterator[tuple[int, str, bool, str]]:
        """The folder that holds `path`: descriptor, name in it, whether trusted, real path.

        Raises:
            FileNotFoundError: a folder on the way is missing.
            Unsafe: a link stands in a folder that others can write to.
        """
        way = _Way(self, path)
        try:
            name = way.walk(follow)
            yield way.folders[-1], name, way.trust[-1], "/" + "/".join([*way.names, name])
        finally:
            for folder in way.folders:
                os.close(folder)

    def trusted(self, folder: int) -> bool:
        """Whether root alone can change what stands in a folder."""
        info = os.fstat(folder)
        others = info.st_mode & (stat.S_IWOTH | (stat.S_IWGRP if info.st_gid else 0))
        # Where there is an access list, the group's bits are the most that anybody in it has.
        listed = info.st_mode & stat.S_IWGRP and ACCESS_LIST in attributes(folder)
        return info.st_uid in self.owners and not others and not listed

    def look(self, path: str, *, data: bool = False, follow: bool = True) -> Seen:
        """What is at `path`; where a folder on the way is missing, nothing is.

        Raises:
            OSError: it cannot be looked at, or not safely.
        """
        try:
            with self.parent(path, follow) as (folder, name, trusted, real):
                seen = Seen(real, trusted)
                try:
                    info = os.stat(name, dir_fd=folder, follow_symlinks=False)
                except FileNotFoundError:
                    return seen
                seen.take(info)
                if seen.kind == "link":
                    seen.target = os.readlink(name, dir_fd=folder)
                elif seen.kind == "file" and data:
                    self._read(folder, name, seen)
                return seen
        except (FileNotFoundError, NotADirectoryError):
            return Seen(os.path.normpath(path), trusted=True)

    def _read(self, folder: int, name: str, seen: Seen) -> None:
        handle = os.open(name, _READ, dir_fd=folder)
        with os.fdopen(handle, "rb") as stream:
            seen.take(os.fstat(handle))
            if seen.kind != "file":
                raise Unsafe(errno.ESTALE, "it is not what it was a moment ago", seen.path)
            require_single(seen)
            seen.data = stream.read(-1 if seen.trusted else LARGE + 1)
            if not seen.trusted and len(seen.data) > LARGE:
                raise Unsafe(errno.EFBIG, "a large file where others can write", seen.path)
            seen.attributes = attributes(handle)

    def public(self, path: str) -> bool:
        """Whether everybody can come to what stands at a path, by its folders' modes."""
        above = os.path.dirname(os.path.normpath(path))
        while above not in ("/", ""):
            with contextlib.suppress(FileNotFoundError):
                if not os.stat(self.root.rstrip("/") + above).st_mode & stat.S_IXOTH:
                    return False
            above = os.path.dirname(above)
        return True

    def names(self, path: str) -> list[str]:
        """The names in a folder that is not a link; none where there is no such folder."""
        try:
            with self.parent(path) as (folder, name, _, _):
                handle = os.open(name, _FOLDER, dir_fd=folder)
                try:
                    return sorted(os.listdir(handle))
                finally:
                    os.close(handle)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return []
            raise

    def replace(
        self, path: str, data: bytes, rights: tuple[int, int, int], extra: dict[str, bytes]
    ) -> None:
        """Make `path` a file with these bytes, this mode, owner and group, and these attributes.

        A reader sees the old file or the new one.

        Raises:
            OSError: the folder is missing, read-only or full.
        """
        with self.parent(path, follow=False) as (folder, name, _, _):
            fresh = temporary(name)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(fresh, dir_fd=folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = os.open(fresh, flags, 0o600, dir_fd=folder)
            try:
                with os.fdopen(handle, "wb") as stream:
                    stream.write(data)
                    stream.flush()
                    set_rights(handle, *rights)
                    for key, value in extra.items():
                        set_attribute(handle, key, value)
                    os.fsync(handle)
                os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(fresh, dir_fd=folder)
                raise
            os.fsync(folder)

    def rights(
        self, seen: Seen, mode: int, uid: int, gid: int, extra: dict[str, bytes] | None = None
    ) -> None:
        """Set rights, and `extra` attributes, on the very file or folder that was seen.

        Raises:
            Unsafe: it is another one by now, or has a second name where others can write.
        """
        with self.parent(seen.path, follow=False) as (folder, name, _, _):
            handle = os.open(name, _READ, dir_fd=folder)
            try:
                now = Seen(seen.path, seen.trusted)
                now.take(os.fstat(handle))
                if now.kind not in ("file", "directory") or now.place != seen.place:
                    raise Unsafe(errno.ESTALE, "it is not what it was a moment ago", seen.path)
                require_single(now)
                set_rights(handle, mode, uid, gid)
                for key, value in (extra or {}).items():
                    set_attribute(handle, key, value)
            finally:
                os.close(handle)

    def attributes(self, seen: Seen) -> dict[str, bytes]:
        """The extended attributes of the file that was seen; none where they cannot be read."""
        with self.parent(seen.path, follow=False) as (folder, name, _, _):
            handle = os.open(name, _READ, dir_fd=folder)
            try:
                info = os.fstat(handle)
                same = (info.st_dev, info.st_ino) == seen.place
                return attributes(handle) if same else {}
            finally:
                os.close(handle)

    def remove(self, path: str) -> None:
        """Remove a file, a link or an empty folder; what is not there is no error."""
        try:
            with self.parent(path, follow=False) as (folder, name, _, _):
                info = os.stat(name, dir_fd=folder, follow_symlinks=False)
                gone = os.rmdir if stat.S_ISDIR(info.st_mode) else os.unlink
                gone(name, dir_fd=folder)
        except FileNotFoundError:
            return

    def folder(self, path: str, mode: int, uid: int, gid: int) -> None:
        """Make a folder."""
        with self.parent(path, follow=False) as (folder, name, _, _):
            os.mkdir(name, 0o700, dir_fd=folder)
            handle = os.open(name, _FOLDER, dir_fd=folder)
            try:
                set_rights(handle, mode, uid, gid)
            finally:
                os.close(handle)

    def link(self, path: str, target: str) -> None:
        """Make `path` a symbolic link."""
        with self.parent(path, follow=False) as (folder, name, _, _):
            fresh = temporary(name)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(fresh, dir_fd=folder)
            os.symlink(target, fresh, dir_fd=folder)
            os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)


class _Way:
    """The way to a path, folder by folder, each held open so that nobody can exchange it."""

    def __init__(self, tree: Tree, path: str) -> None:
        self.tree = tree
        self.path = path
        self.steps = _split(path)
        self.names: list[str] = []
        self.folders = [os.open(tree.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
        self.trust = [tree.trusted(self.folders[0])]
        self.followed = 0

    def walk(self, follow: bool) -> str:
        """Go to the folder that holds the path; the name in it."""
        while self.steps:
            step = self.steps.pop(0)
            if step == "..":
                self.up(1)
                continue
            target = readlink(self.folders[-1], step) if self.steps or follow else None
            if target is not None and (self.trust[-1] or self.steps):
                self.follow(target)
            elif self.steps:
                self.down(step)
            else:
                return step
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self.path)

    def up(self, count: int) -> None:
        """Leave folders, but not the tree."""
        for _ in range(min(count, len(self.names))):
            os.close(self.folders.pop())
            self.trust.pop()
            self.names.pop()

    def down(self, name: str) -> None:
        """Enter a folder; below one that others can write to nothing is trusted."""
        self.folders.append(os.open(name, _FOLDER, dir_fd=self.folders[-1]))
        self.names.append(name)
        self.trust.append(self.trust[-1] and self.tree.trusted(self.folders[-1]))

    def follow(self, target: str) -> None:
        """Go on where a link points to."""
        self.followed += 1
        if not self.trust[-1]:
            raise Unsafe(errno.ELOOP, "a link where others can write", self.path)
        if self.followed > LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self.path)
        if target.startswith("/"):
            self.up(len(self.names))
        self.steps = _split(target) + self.steps


def _split(path: str) -> list[str]:
    return [step for step in path.split("/") if step not in ("", ".")]


def readlink(folder: int, name: str) -> str | None:
    """Where a link points to; None when it is none."""
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):
            return None
        raise


def temporary(name: str) -> str:
    """The name of a file while it is written; no reader of a ``*.conf`` folder takes it."""
    return "." + name + SUFFIX


def require_single(seen: Seen) -> None:
    """Refuse a file with a second name in a folder that others can write to."""
    if seen.kind == "file" and seen.links > 1 and not seen.trusted:
        raise Unsafe(errno.EMLINK, "a file with a second name where others can write", seen.path)


def set_rights(handle: int, mode: int, uid: int, gid: int) -> None:
    """Set owner and mode of what is open; the owner first, because that takes bits away."""
    info = os.fstat(handle)
    if (info.st_uid, info.st_gid) != (uid, gid):
        os.fchown(handle, uid, gid)
    if stat.S_IMODE(os.fstat(handle).st_mode) != mode:
        os.fchmod(handle, mode)


def attributes(handle: int) -> dict[str, bytes]:
    """The extended attributes of what is open: SELinux context, access lists, capabilities."""
    try:
        return {name: os.getxattr(handle, name) for name in os.listxattr(handle)}
    except OSError:
        return {}


def set_attribute(handle: int, name: str, value: bytes) -> None:
    """Set one extended attribute where the file system keeps such."""
    try:
        os.setxattr(handle, name, value)
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.EINVAL):
            raise


class Command(Exception):
    """A command did not do what it was asked to."""


def run(argv: list[str], seconds: int = SECONDS) -> str:
    """Run one command, for so many seconds at most; returns what it printed.

    Raises:
        Command: it failed, does not end, or does not exist.
    """
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_ENVIRONMENT,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Command("{0}: {1}".format(" ".join(argv), error)) from error
    said = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode:
        raise Command("{0}: {1}".format(" ".join(argv), said[-400:] or done.returncode))
    return said


def perform(tree: Tree, step: dict[str, Any], command: Any = run) -> None:
    """Carry out one plain step: `run` a command, or `put` a text into a file of the kernel.

    `keep` puts it there only where the file exists and says something else. What a command of
    `try` comes to does not matter. `seconds` is how long a command of `run` may take that reads
    much; others are stuck long before.

    Raises:
        Command: it did not work.
    """
    if "try" in step:
        with contextlib.suppress(Command):
            command(list(step["try"]))
        return
    if "run" in step:
        limit = {"seconds": step["seconds"]} if "seconds" in step else {}
        command(list(step["run"]), **limit)
        return
    path, text = step["keep"] if "keep" in step else step["put"]
    if not path.startswith(("/proc/sys/", "/sys/")) or ".." in path.split("/"):
        raise Command("{0} is no setting of the kernel".format(path))
    if "keep" in step and setting(tree, path) in (None, text):
        return
    try:
        with open(tree.root.rstrip("/") + path, "w", encoding="ascii") as stream:
            stream.write(text + "\n")
    except OSError as error:
        raise Command("{0}: {1}".format(path, error.strerror)) from error


def setting(tree: Tree, path: str) -> str | None:
    """What the kernel says of a setting; None where it has no such."""
    try:
        with open(tree.root.rstrip("/") + path, encoding="ascii") as stream:
            return " ".join(stream.read().split())
    except OSError:
        return None


class Undone:
    """What an undo did, what it left because somebody changed it since, and what went wrong.

    With `check` nothing is done; `thought` and `fields` then say what places and accounts would be
    like by now, so that several journals in a row come to what they would really come to. `places`
    and `acts` are what would come back, in order: a journal's folder with a place's entry, and an
    act.
    """

    def __init__(self, check: bool = False, force: bool = False) -> None:
        self.check = check
        self.force = force
        self.thought: dict[str, dict[str, Any]] = {}
        self.fields: dict[tuple[str, str, int], Any] = {}
        self.places: list[tuple[str, dict[str, Any]]] = []
        self.acts: list[dict[str, Any]] = []
        self.done: list[str] = []
        self.left: list[str] = []
        self.wrong: list[str] = []

    def record(self) -> dict[str, list[str]]:
        """It as plain data."""
        return {"done": self.done, "left": self.left, "wrong": self.wrong}


def read_journal(folder: str) -> dict[str, Any]:
    """The journal of one pass.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged.
    """
    with open(os.path.join(folder, "journal.json"), encoding="utf-8") as stream:
        body = json.load(stream)
    if not isinstance(body, dict) or body.get("schema") != "holdfast.hardening/1":
        raise ValueError("{0}: not a journal of this version".format(folder))
    return body


def same(now: dict[str, Any], record: dict[str, Any]) -> bool:
    """Whether a place is as a journal describes it."""
    keys = {"link": ("kind", "target"), "absent": ("kind",)}
    for key in keys.get(record["kind"], ("kind", "mode", "uid", "gid")):
        if now.get(key) != record.get(key):
            return False
    return record.get("sha256") in (None, now.get("sha256"))


def put_back(tree: Tree, folder: str, entry: dict[str, Any], report: Undone) -> None:
    """Bring one place back to what it was before the journal's pass."""
    path, before, after = entry["path"], entry["before"], entry["after"]
    now = tree.look(path, data="backup" in entry or "sha256" in (after or ()), follow=False)
    known = report.thought.get(path) or now.record()
    if same(known, before):
        return
    if after is not None and not same(known, after) and not report.force:
        report.left.append("{0}: somebody changed it since".format(path))
        return
    if after is not None:
        verb = "remove" if before["kind"] == "absent" else "put back"
        report.done.append("{0} {1}".format(verb, path))
    if report.check:
        report.thought[path] = {**known, **before}
        report.places.append((folder, entry))
        return
    kind = before["kind"]
    if kind == "other":
        raise Command("a pipe, socket or device stood there, and is not made again")
    if kind == "absent":
        tree.remove(path)
    elif kind == "link":
        tree.link(path, before["target"])
    elif "backup" in entry:
        data = backup(folder, entry)
        rights = (before["mode"], before["uid"], before["gid"])
        tree.replace(path, data, rights, kept_attributes(before))
    elif kind == "directory" and now.kind == "absent":
        tree.folder(path, before["mode"], before["uid"], before["gid"])
    else:
        put_rights_back(tree, now, before)


def put_rights_back(tree: Tree, now: Seen, before: dict[str, Any]) -> None:
    """Bring back owner, mode and attributes of what is there.

    Where others can write they may have put other bytes there meanwhile, which must not run with
    the rights of whom they do not belong to.
    """
    mode, uid, gid = before["mode"], before["uid"], before["gid"]
    extra = kept_attributes(before)
    if not now.trusted:
        extra = {}
        if now.kind == "file" and (now.uid, now.gid) != (uid, gid):
            mode &= ~0o6000
    tree.rights(now, mode, uid, gid, extra)


def kept_attributes(before: dict[str, Any]) -> dict[str, bytes]:
    """The extended attributes that a place had."""
    kept = before.get("attributes", {})
    return {name: base64.b64decode(value) for name, value in kept.items()}


def backup(folder: str, entry: dict[str, Any]) -> bytes:
    """The bytes that a file had.

    Raises:
        Command: the copy is damaged.
    """
    with open(os.path.join(folder, entry["backup"]), "rb") as stream:
        data = stream.read()
    if hashlib.sha256(data).hexdigest() != entry["before"]["sha256"]:
        raise Command("{0}: its copy in {1} is damaged".format(entry["path"], folder))
    return data


def undo(
    folder: str,
    tree: Tree,
    report: Undone,
    *,
    offline: bool = False,
    reload: bool = True,
    command: Any = run,
    only: frozenset[str] | None = None,
) -> Undone:
    """Put back what one pass changed: its files, then its settings, then what must be reloaded.

    Doing it twice does no harm. What somebody changed since stays as it is, unless the report
    says otherwise. With `only` the rest is back already, and these files are all there is to do.

    Raises:
        OSError, ValueError: the journal cannot be read.
    """
    body = read_journal(folder)
    before = len(report.done)
    edited = _edited(folder, body)
    files = [e for e in reversed(body["files"]) if only is None or e["path"] in only]
    files += [e for e in edited if only is not None and e["path"] in only]
    acts = [a for a in body["acts"] if only is None or a["words"] in only]
    kept = [] if offline or only is not None else _edited_since(tree, edited, report)
    _put_all_back(tree, folder, files, report)
    if offline:
        return report
    if acts:
        _take_back(tree, acts, report, command)
    if only is None or acts:
        stays = {e["path"] for e in edited} if only is not None else {seen.path for seen in kept}
        touched = [e for e in body.get("touched", []) if e["path"] not in stays]
        _put_all_back(tree, folder, _however(touched), report)
        _keep(tree, kept, report)
    if only is not None and len(report.done) == before:
        return report
    for again in body["reloads"] if reload else ():
        report.done.append(again["words"])
        _steps(tree, again["steps"], report, command)
    if only is None and reload:
        _put_all_back(tree, folder, _however(body.get("written", [])), report)
    return report


def _edited(folder: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Files that a command wrote and that people edit too, with how the command left them."""
    try:
        with open(os.path.join(folder, "edited.json"), encoding="utf-8") as stream:
            found = json.load(stream)["files"]
    except (OSError, ValueError, KeyError):
        return []
    entries = [e for e in body.get("touched", []) if e["path"] in found]
    return [{**entry, "after": found[entry["path"]]} for entry in entries]


def _edited_since(tree: Tree, entries: list[dict[str, Any]], report: Undone) -> list[Seen]:
    """Those of them that somebody edited since, as they stand; a command's undo writes them."""
    found = []
    for entry in entries:
        try:
            seen = tree.look(entry["path"], data=True, follow=False)
        except OSError as error:
            report.wrong.append("{0}: {1}".format(entry["path"], error))
            continue
        known = report.thought.get(entry["path"]) or seen.record()
        if seen.kind != "file" or report.force:
            continue
        if not same(known, entry["before"]) and not same(known, entry["after"]):
            report.left.append("{0}: somebody changed it since".format(entry["path"]))
            found.append(seen)
    return found


def _keep(tree: Tree, kept: list[Seen], report: Undone) -> None:
    """Leave files as somebody edited them, whatever a command made of them meanwhile."""
    for seen in kept if not report.check else ():
        try:
            rights = (seen.mode, seen.uid, seen.gid)
            tree.replace(seen.path, seen.data or b"", rights, seen.attributes)
        except OSError as error:
            report.wrong.append("{0}: {1}".format(seen.path, error))


def _however(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a command wrote on its way is nobody's word: it comes back however it looks now.

    It is not told either: the command's own undo may have brought it back already.
    """
    return [{**entry, "after": None} for entry in entries]


def _put_all_back(tree: Tree, folder: str, files: list[dict[str, Any]], report: Undone) -> None:
    for entry in files:
        try:
            put_back(tree, folder, entry, report)
        except (OSError, Command) as error:
            if getattr(error, "errno", None) == errno.ENOTEMPTY:
                report.left.append("{0}: something else is in it now".format(entry["path"]))
                continue
            report.wrong.append("{0}: {1}".format(entry["path"], error))


def _take_back(tree: Tree, acts: list[dict[str, Any]], report: Undone, command: Any) -> None:
    """Take back what is no file; one step that cannot be must not keep the others from it."""
    for act in reversed(acts):
        if act.get("field") and not _ours(tree, act, report):
            continue
        if act["undo"]:
            report.done.append("undo: {0}".format(act["words"]))
            report.acts.append(act)
        for step in act["undo"]:
            _steps(tree, [step], report, command)


def _ours(tree: Tree, act: dict[str, Any], report: Undone) -> bool:
    """Whether an account or group still has what was set; taking that back takes nothing else.

    A password that somebody gave it since must not vanish, nor a member.
    """
    field = act["field"]
    key = (field["path"], field["name"], field["number"])
    now = report.fields.get(key)
    if now is None:
        try:
            now = field_of(tree, *key)
        except OSError as error:
            report.wrong.append("{0}: {1}".format(field["path"], error))
            return False
    if now in (None, field["was"]):
        return False
    if now != field["is"] and not report.force:
        report.left.append("{0}: somebody changed it since".format(act["words"]))
        return False
    report.fields[key] = field["was"]
    return True


def field_of(tree: Tree, path: str, name: str, number: int) -> str | None:
    """A field of the line of an account or group; None where there is none of this name.

    Raises:
        OSError: the file cannot be read.
    """
    data = tree.look(path, data=True).data or b""
    for line in data.decode("utf-8", "replace").splitlines():
        row = line.split(":")
        if row[0] == name and number < len(row):
            return row[number]
    return None


def _steps(tree: Tree, steps: list[dict[str, Any]], report: Undone, command: Any) -> None:
    if report.check:
        return
    try:
        for step in steps:
            perform(tree, step, command)
    except Command as error:
        report.wrong.append(str(error))


def write_mark(folder: str, name: str, body: dict[str, Any]) -> None:
    """Write a small JSON file beside a journal, whole or not at all."""
    path = os.path.join(folder, name)
    fresh = path + ".new"
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(body, stream, indent=1, sort_keys=True)
        stream.write("\n")
        stream.flush()
        os.fsync(handle)
    os.rename(fresh, path)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def alone(home: str) -> Iterator[None]:
    """Wait until nobody else changes or undoes anything of a journals' home; the kernel ends this.

    A pass that takes longer than its deadline would else write on while its undo runs.
    """
    handle = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def claim(home: str) -> dict[str, Any] | None:
    """Take the marker of an armed undo, so that nobody can cancel it any more; None: cancelled.

    An undo that was killed on its way is taken up again.
    """
    firing = os.path.join(home, FIRING)
    with contextlib.suppress(FileNotFoundError):
        os.rename(os.path.join(home, MARKER), firing)
    try:
        with open(firing, encoding="utf-8") as stream:
            body = json.load(stream)
    except FileNotFoundError:
        return None
    return body if isinstance(body, dict) else {}


def fire(home: str, tree: Tree, command: Any = run, reload: bool = True) -> Undone | None:
    """Carry out the undo that is armed in `home`; None when it was cancelled.

    `reload` is false while the node starts, when what would be reloaded does not run yet.
    """
    if not os.path.isdir(home):
        return None
    with alone(home):
        return _fire(home, tree, command, reload)


def without_waiting(command: Any) -> Any:
    """The same for a node that starts: a unit may wait for the SSH server, and that for us."""

    def does(argv: list[str], **limit: int) -> Any:
        jobs = ["--no-block"] if argv[0] == "systemctl" else []
        return command([argv[0], *jobs, *argv[1:]], **limit)

    return does


def revive(command: Any) -> None:
    """Start the SSH server again where the change has ended it; a reload would leave it so."""
    with contextlib.suppress(Command):
        command(["systemctl", "is-failed", "--quiet", "--", "sshd.service"])
        command(["systemctl", "restart", "--", "sshd.service"])


def _fire(home: str, tree: Tree, command: Any, reload: bool) -> Undone | None:
    armed = claim(home)
    if armed is None:
        return None
    folder = os.path.join(home, *str(armed["folder"]).split("/")[-2:])
    does = command if reload else without_waiting(command)
    report = undo(folder, tree, Undone(force=True), reload=reload, command=does)
    if reload:
        revive(command)
    mark = {"at": int(time.time()), "by": "the node itself, at its deadline"}
    write_mark(folder, "undone.json", {**mark, **report.record()})
    for path in armed.get("clear", ()):
        with contextlib.suppress(OSError):
            tree.remove(path)
    os.unlink(os.path.join(home, FIRING))
    return report


def main(argv: list[str]) -> int:
    """Carry out the armed undo of a journals' home; the timer calls this, and a unit at boot."""
    report = fire(argv[1], Tree(), reload="boot" not in argv[2:])
    if report is None:
        sys.stderr.write("nothing is armed\n")
        return 0
    for line in [*report.done, *report.left, *report.wrong]:
        sys.stderr.write(line + "\n")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
