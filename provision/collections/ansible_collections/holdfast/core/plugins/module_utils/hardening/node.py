# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""The node as it is, and as it is to be: looked at once, changed in mind, then written at once.

Types read through `Node` and stage what they want in it. A type sees what another has staged, so
several resources of one file are one write.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

from ansible_collections.holdfast.core.plugins.module_utils.hardening.rescue import (
    SECONDS,
    Seen,
    Tree,
    Unsafe,
)

FILE_MODE = 0o644
FOLDER_MODE = 0o755
_MAGIC = re.compile(r"[*?\[]")
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}


class Refused(Exception):
    """Something cannot be done as asked, and nothing was changed. `hint` says what helps."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint


def command(argv: list[str], data: str | None = None, seconds: int = SECONDS) -> tuple[int, str]:
    """Run a command with a fixed locale, for so many seconds at most.

    Returns its exit status and what it printed. 127: it is not there; 126: it cannot be run, or
    did not end.
    """
    try:
        done = subprocess.run(
            argv,
            input=None if data is None else data.encode("utf-8", "surrogateescape"),
            stdin=subprocess.DEVNULL if data is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_ENVIRONMENT,
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError:
        return 127, "{0}: not found".format(argv[0])
    except (OSError, subprocess.TimeoutExpired) as error:
        return 126, str(error)
    return done.returncode, done.stdout.decode("utf-8", "replace")


class NotHere(Refused):
    """A resource means nothing on this node, because what it is about is not there."""


class Draft:
    """One place as it is to be. Nothing differs until something is set."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.kind = seen.kind
        self.data = seen.data
        self.mode, self.uid, self.gid = seen.mode, seen.uid, seen.gid

    @property
    def rewritten(self) -> bool:
        """Whether it gets other bytes, so that a whole new file takes its place."""
        return self.kind == "file" and (self.seen.kind != "file" or self.data != self.seen.data)

    @property
    def differs(self) -> bool:
        """Whether anything is to change."""
        if self.kind != self.seen.kind or self.rewritten:
            return True
        rights = (self.mode, self.uid, self.gid)
        return self.kind != "absent" and rights != (self.seen.mode, self.seen.uid, self.seen.gid)

    @property
    def text(self) -> str | None:
        """The staged text; None where there is no file."""
        if self.kind != "file" or self.data is None:
            return None
        return self.data.decode("utf-8", "surrogateescape")


class Act:
    """A change that is no file of ours: plain steps to do it, and plain steps back.

    `touches` are files that the steps write on their way and that come back byte for byte;
    `edited` are those of them that people edit too: what somebody made of one since stays.
    `field` is the one field of an account or group that the steps set, where they set just one:
    what somebody made of it since, such as a password, stays too.
    """

    def __init__(self, words: str, do: list[dict[str, Any]], undo: list[dict[str, Any]]) -> None:
        self.words = words
        self.do = do
        self.undo = undo
        self.touches: tuple[str, ...] = ()
        self.edited: tuple[str, ...] = ()
        self.field: dict[str, Any] | None = None
        self.last = False


class Node:
    """A node: what is there, and what is staged.

    Args:
        tree: its files.
        offline: nothing runs in it (an image is built); only files and links are changed.
        pending: packages that an earlier task would have installed; only in check mode.
        command: runs a command on it.
    """

    def __init__(
        self,
        tree: Tree,
        *,
        offline: bool = False,
        pending: frozenset[str] = frozenset(),
        command: Callable[..., tuple[int, str]] = command,
    ) -> None:
        self.tree = tree
        self.offline = offline
        self.pending = pending
        self.command = command
        self.drafts: dict[str, Draft] = {}
        self.acts: list[Act] = []
        self.reloads: list[str] = []
        self.waiting: list[str] = []
        self.notes: list[str] = []
        self.skipped: list[str] = []
        self.held: set[str] = set()
        self.shared: dict[str, Any] = {}
        """What several types look at together."""
        self.ends: list[Callable[[], None]] = []
        self.offline_steps: list[list[str]] = []
        self.depends: list[str] = []
        self.asked: set[str] = set()
        """The places that were looked at since somebody emptied this."""
        self.unstaged = False
        """Whether what is staged does not count just now; see `as_found`."""
        self._places: dict[tuple[str, bool], str] = {}
        self._packages: dict[str, bool] = {}
        self._ids: dict[str, dict[str, int]] = {}

    # What is there

    def draft(self, path: str, *, data: bool = False, follow: bool = True) -> Draft:
        """What stands at a path, with what is staged for it.

        Raises:
            Refused: it cannot be looked at safely.
        """
        known = self._places.get((path, follow))
        if known is None:
            seen = self._look(path, data, follow)
            known = self._places[(path, follow)] = seen.path
            self.drafts.setdefault(known, Draft(seen))
        self.asked.add(known)
        found = self.drafts[known]
        if data and found.kind == "file" and found.data is None:
            fresh = self._look(known, True, False)
            found.seen.data, found.seen.attributes = fresh.data, fresh.attributes
            found.data = fresh.data
        return Draft(found.seen) if self.unstaged else found

    @contextlib.contextmanager
    def as_found(self) -> Iterator[None]:
        """For so long, what is staged does not count. Nothing may be staged meanwhile."""
        self.unstaged = True
        try:
            yield
        finally:
            self.unstaged = False

    def staged(self, *, goes: bool) -> bool:
        """Whether anything is staged for the places that were asked for.

        What is to go counts with `goes` only: nothing else can be said of it.
        """
        drafts = [self.drafts[path] for path in self.asked]
        return any(draft.differs and (goes or draft.kind != "absent") for draft in drafts)

    def _look(self, path: str, data: bool, follow: bool) -> Seen:
        try:
            return self.tree.look(path, data=data, follow=follow)
        except Unsafe as error:
            raise Refused("{0}: {1}".format(path, error.strerror), "remove it") from error
        except OSError as error:
            raise Refused("{0} cannot be read: {1}".format(path, error.strerror)) from error

    def text(self, path: str) -> str | None:
        """The text of a file as it is to be; None where there is none."""
        return self.draft(path, data=True).text

    def exists(self, path: str) -> bool:
        """Whether something is, or is to be, at a path."""
        return self.draft(path).kind != "absent"

    def names(self, folder: str) -> list[str]:
        """The names in a folder, with those that are staged."""
        found = set(self.tree.names(folder))
        for path, draft in () if self.unstaged else self.drafts.items():
            if os.path.dirname(path) == folder:
                name = os.path.basename(path)
                (found.discard if draft.kind == "absent" else found.add)(name)
        return sorted(found)

    def files(self, folder: str, ending: str = "") -> list[str]:
        """The paths of a folder's visible entries whose name ends like this."""
        return [
            folder.rstrip("/") + "/" + name
            for name in self.names(folder)
            if name.endswith(ending) and not name.startswith(".")
        ]

    def glob(self, pattern: str) -> list[str]:
        """The paths that a pattern fits; no link is followed on the way."""
        found = [""]
        for step in pattern.strip("/").split("/"):
            if not _MAGIC.search(step):
                found = [path + "/" + step for path in found]
                continue
            found = [path + "/" + name for path in found for name in self._fitting(path, step)]
        drafts = ((path, self.found(path)) for path in found)
        return [path for path, draft in drafts if draft is not None and draft.kind != "absent"]

    def _fitting(self, folder: str, step: str) -> list[str]:
        if folder:
            draft = self.found(folder)
            if draft is None or draft.kind == "link":
                return []
        return [
            name
            for name in self.listed(folder or "/")
            if fnmatch.fnmatchcase(name, step) and name.startswith(".") <= step.startswith(".")
        ]

    def walk(self, folder: str) -> Iterator[str]:
        """Everything below a folder; links are named and not followed."""
        waiting = [folder.rstrip("/")]
        while waiting:
            above = waiting.pop()
            for name in self.listed(above):
                path = above + "/" + name
                draft = self.found(path)
                if draft is None:
                    continue
                yield path
                if draft.kind == "directory":
                    waiting.append(path)

    def found(self, path: str) -> Draft | None:
        """What stands at a path that nobody wrote out; None, named, where root cannot look.

        A user's own mount lets nobody in, and a server may do so with root: that stops no pass.
        """
        try:
            return self.draft(path, follow=False)
        except Refused as error:
            self.leave(path, str(error).rpartition(": ")[2])
            return None

    def listed(self, folder: str) -> list[str]:
        """The names in a folder; none, and it is named, where root cannot read it."""
        try:
            return self.tree.names(folder)
        except OSError as error:
            self.leave(folder, "it cannot be read: {0}".format(error.strerror))
            return []

    def installed(self, name: str) -> bool:
        """Whether a package is installed, or would be by now."""
        if name not in self._packages:
            self.ask_packages([name])
        if not self._packages[name] and name in self.pending:
            self.depends.append(name)
            return True
        return self._packages[name]

    def ask_packages(self, names: list[str]) -> None:
        """Ask the rpm database once for many packages."""
        wanted = sorted(set(names) - set(self._packages))
        if not wanted:
            return
        root = [] if self.tree.root == "/" else ["--root", self.tree.root]
        code, out = self.command(["rpm", *root, "-q", "--qf", "%{NAME}\n", "--", *wanted])
        if code == 127:
            raise Refused("the rpm database cannot be read: {0}".format(out), "check rpm")
        there = set(out.split("\n"))
        self._packages.update({name: name in there for name in wanted})

    def missing(self) -> list[str]:
        """Packages that an earlier task would have installed by now."""
        return sorted(name for name in self.pending if not self._packages.get(name))

    def has_unit(self, name: str) -> bool:
        """Whether there is a systemd unit of this name."""
        folders = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system")
        names = [name] + [n for n in (_template(name),) if n]
        return any(self.exists(folder + "/" + n) for folder in folders for n in names)

    def has_command(self, name: str) -> bool:
        """Whether a program of the system is there."""
        return any(self.exists(folder + "/" + name) for folder in ("/usr/sbin", "/usr/bin"))

    def since_boot(self, path: str) -> bool:
        """Whether a file was written after the node started: what it says is still to come."""
        try:
            with open(self.tree.root.rstrip("/") + "/proc/stat", encoding="ascii") as stream:
                kernel = next(int(line.split()[1]) for line in stream if line.startswith("btime "))
            with open(self.tree.root.rstrip("/") + "/proc/1/stat", encoding="ascii") as stream:
                ticks = int(stream.read().rpartition(")")[2].split()[19])
            written = os.lstat(self.tree.root.rstrip("/") + path).st_mtime
        except (OSError, ValueError, IndexError, StopIteration):
            return False
        return written > kernel + ticks / float(os.sysconf("SC_CLK_TCK"))

    def number(self, kind: str, name: str | int) -> int:
        """The number of a user (`kind` passwd) or group (`kind` group).

        Raises:
            Refused: there is none of this name.
        """
        if isinstance(name, int) or name.isdigit():
            return int(name)
        if kind not in self._ids:
            text = self.text("/etc/" + kind) or ""
            rows = [line.split(":") for line in text.splitlines() if line.count(":") >= 3]
            self._ids[kind] = {row[0]: int(row[2]) for row in rows if row[2].isdigit()}
        found = self._ids[kind].get(name)
        if found is None and name != "root":
            word = {"passwd": "user", "group": "group"}[kind]
            raise Refused("there is no {0} {1}".format(word, name), "check the name")
        return found or 0

    # What is to be

    def write(
        self,
        path: str,
        text: str,
        *,
        mode: int | None = None,
        owner: str | int | None = None,
        group: str | int | None = None,
        ours: bool = False,
    ) -> None:
        """Stage a file's text. `ours`: a link in its place is replaced, not followed.

        Raises:
            Refused: something else than a file is there.
        """
        draft = self.draft(path, data=True, follow=not ours)
        if draft.kind not in ("file", "absent") and not (ours and draft.kind == "link"):
            raise Refused("{0} is no file but a {1}".format(path, draft.kind), "move it away")
        fresh = draft.kind != "file"
        if fresh:
            draft.kind = "file"
            draft.mode, draft.uid, draft.gid = FILE_MODE, 0, 0
            if os.geteuid():
                draft.uid, draft.gid = os.geteuid(), os.getegid()
            self._parents(draft.seen.path)
        draft.data = text.encode("utf-8", "surrogateescape")
        if fresh or ours:
            self.rights(path, mode=mode, owner=owner, group=group, follow=not ours)

    def rights(
        self,
        path: str,
        *,
        mode: int | None = None,
        owner: str | int | None = None,
        group: str | int | None = None,
        follow: bool = True,
    ) -> None:
        """Stage the rights of what is there."""
        draft = self.draft(path, follow=follow)
        if mode is not None:
            draft.mode = mode
        if owner is not None:
            draft.uid = self.number("passwd", owner)
        if group is not None:
            draft.gid = self.number("group", group)

    def folder(self, path: str) -> None:
        """Stage a folder and those above it."""
        draft = self.draft(path)
        if draft.kind == "directory":
            return
        if draft.kind != "absent":
            raise Refused("{0} is no folder but a {1}".format(path, draft.kind), "move it away")
        self._parents(path)
        draft.kind = "directory"
        draft.mode, draft.uid, draft.gid = FOLDER_MODE, 0, 0
        if os.geteuid():
            draft.uid, draft.gid = os.geteuid(), os.getegid()

    def _parents(self, path: str) -> None:
        above = os.path.dirname(path)
        if above not in ("", "/"):
            self.folder(above)

    def remove(self, path: str) -> None:
        """Stage that nothing is there; of a link the link goes."""
        draft = self.draft(path, data=True, follow=False)
        draft.kind = "absent"

    def act(
        self,
        words: str,
        do: list[dict[str, Any]],
        undo: list[dict[str, Any]],
        files: bool = False,
    ) -> Act:
        """Stage a change that is no file of ours.

        With `files` a program changes files and nothing that runs, so that an image gets it too.
        """
        found = Act(words, do, undo)
        if do and (files or not self.offline):
            self.acts.append(found)
        return found

    def reload(self, name: str) -> None:
        """Ask for one reload at the end."""
        if name not in self.reloads and not self.offline:
            self.reloads.append(name)

    def hold(self, name: str) -> None:
        """Leave a reload out, because it cannot work before the next start."""
        self.held.add(name)

    def at_end(self, finish: Callable[[], None]) -> None:
        """Call this when all types have staged what they want."""
        self.ends.append(finish)

    def safe(self, draft: Draft) -> bool:
        """Whether the rights of a place can be set; what somebody prepared is named and left."""
        seen = draft.seen
        if seen.trusted or seen.kind != "file" or seen.links < 2:
            return True
        self.leave(seen.path, "a file with a second name where others can write")
        return False

    def leave(self, path: str, why: str) -> None:
        """Name a place that is left alone; nobody but root may stop a pass, or steer it."""
        told = "{0}: {1}".format(path, why)
        if told not in self.skipped:
            self.skipped.append(told)

    def wait(self, reason: str) -> None:
        """Say that something takes effect at the next start only."""
        if reason not in self.waiting and not self.offline:
            self.waiting.append(reason)

    def changed(self) -> list[Draft]:
        """What is to be written: folders from above, then files, then what goes from below."""
        order = {"directory": 0, "file": 1, "link": 1}
        found = [draft for draft in self.drafts.values() if draft.differs]
        there = [draft for draft in found if draft.kind != "absent"]
        gone = [draft for draft in found if draft.kind == "absent"]
        there.sort(key=lambda draft: (order.get(draft.kind, 3), draft.seen.path))
        return there + sorted(gone, key=lambda draft: draft.seen.path, reverse=True)


def sober(draft: Draft, mode: int, uid: int, gid: int) -> int:
    """The mode for a file that changes hands: it does not run with its new owner's rights.

    Who owned it wrote it; chown takes these bits away for that reason, too.
    """
    if draft.kind == "file" and (uid, gid) != (draft.uid, draft.gid):
        return mode & ~0o6000
    return mode


def _template(name: str) -> str | None:
    stem, at, rest = name.partition("@")
    ending = rest.rpartition(".")[2]
    return "{0}@.{1}".format(stem, ending) if at else None
