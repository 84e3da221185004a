# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""What holds for each existing account that it concerns."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any, Optional

from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    TEXT,
    Field,
    Type,
    Want,
    octal,
    shown,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import (
    Draft,
    Node,
    sober,
)

FIRST_PERSON = 1000
NOBODY = 65534
KEPT_SHELLS = frozenset({"sync", "shutdown", "halt"})
"""Accounts whose shell is the one thing that they do."""

NOLOGIN = "/usr/sbin/nologin"
NO_SHELLS = ("nologin", "false", "sync", "shutdown", "halt")
AGES = {
    # what: field of /etc/shadow, option of chage, whether less is stricter
    "min_days": (3, "-m", False),
    "password_max_days": (4, "-M", True),
    "password_warn_days": (5, "-W", False),
    "inactive_days": (6, "-I", True),
}
RIGHTS = (
    "home_mode",
    "home_owner",
    "home_group",
    "dotfile_mode",
    "dotfile_owner",
    "dotfile_group",
)
WHAT = (*AGES, "lock_empty", "lock_system", "nologin_system", "root_group", *RIGHTS)
COPIES = ("/etc/passwd-", "/etc/shadow-", "/etc/group-", "/etc/gshadow-")
"""What the programs that change accounts leave beside them."""

SHARED = ("/boot", "/dev", "/etc", "/proc", "/run", "/sys", "/usr")
"""What lies in these is nobody's home, whatever /etc/passwd says."""

STATE = ("cache", "empty", "lib", "log", "run", "spool", "tmp")
"""Folders of /var that are the system's."""

MOST = 10000
"""Places below one home in one pass: everybody can make as many as the disk holds."""

SCHEMA = {"what": Field(str, required=True, choices=WHAT), "value": TEXT}


class User:
    """An account: its line of /etc/passwd, and that of /etc/shadow where there is one."""

    def __init__(self, row: list[str], shadow: list[str]) -> None:
        self.name = row[0]
        self.uid, self.gid = int(row[2]), int(row[3])
        self.home, self.shell = row[5], row[6]
        self.shadow = shadow + [""] * (9 - len(shadow))

    @property
    def hash(self) -> str:
        """What is stored of its password."""
        return self.shadow[1]

    @property
    def password(self) -> bool:
        """Whether it has a password that can be used."""
        return bool(self.hash) and not self.hash.startswith(("!", "*"))

    @property
    def system(self) -> bool:
        """Whether it belongs to the system and not to a person."""
        return 0 < self.uid < FIRST_PERSON or self.uid == NOBODY

    @property
    def person(self) -> bool:
        """Whether somebody logs in with it."""
        known = FIRST_PERSON <= self.uid != NOBODY
        return known and not self.shell.endswith(NO_SHELLS)


def users_of(node: Node) -> list[User]:
    """All accounts of the node's own files."""
    shadow = {}
    for line in (node.text("/etc/shadow") or "").splitlines():
        row = line.split(":")
        shadow[row[0]] = row
    rows = (line.split(":") for line in (node.text("/etc/passwd") or "").splitlines())
    return [
        User(row, shadow.get(row[0], []))
        for row in rows
        if len(row) == 7 and row[2].isdigit() and row[3].isdigit()
    ]


PASSWD, SHADOW = "/etc/passwd", "/etc/shadow"
Change = tuple[User, str, list[str], list[list[str]], Optional[tuple[str, int, str, str]]]
"""Whose, what in words, the command, those that take it back, and the field that it sets.

Of that: its file, its number, what it says before and what after.
"""


class Account(Type):
    """`what` and `value`."""

    name = "account"
    schema = SCHEMA

    def gather(self, wants: list[Want]) -> None:
        """Read the accounts once."""
        del wants
        self.users = users_of(self.node)
        self.homes = Counter(os.path.normpath(user.home) for user in self.users if user.person)

    def read(self, want: Want) -> list[Change] | list[tuple[Draft, int, int, int]]:
        """What is to be changed."""
        what = want["what"]
        if what in RIGHTS:
            return list(self._rights(want))
        if what in AGES:
            return [c for user in self.users if user.password for c in age(user, want)]
        return [c for user in self.users for c in COMMANDS[what](user)]

    def diff(self, want: Want, seen: list[Any]) -> list[str]:
        """Each account, or each place in a home."""
        if want["what"] not in RIGHTS:
            return [words for _, words, _, _, _ in seen]
        return [
            "set {0} {1}:{2} on {3}".format(shown(mode), uid, gid, draft.seen.path)
            for draft, mode, uid, gid in seen
        ]

    def write(self, want: Want, seen: list[Any]) -> None:
        """Stage commands or rights."""
        if want["what"] in RIGHTS:
            for draft, mode, uid, gid in seen:
                draft.mode, draft.uid, draft.gid = mode, uid, gid
            return
        for user, words, do, back, field in seen:
            undone = [{"run": argv} for argv in back]
            act = self.node.act(words, [{"run": do}], undone, files=True)
            act.touches = COPIES
            if field is not None:
                act.field = field_of(user.name, *field)

    def undo(self, want: Want, seen: list[Any]) -> list[dict[str, Any]]:
        """The commands back."""
        if want["what"] in RIGHTS:
            return []
        return [{"run": argv} for _, _, _, back, _ in seen for argv in back]

    def _rights(self, want: Want) -> Any:
        """Homes, or what begins with a dot in them, with the rights that they are to have.

        Homes are their owners': no link is followed, and a file with a second name is left.
        """
        part, _, right = want["what"].partition("_")
        for user in self.users:
            if not self._at_home(user, right):
                continue
            paths = [user.home] if part == "home" else self._dotfiles(user)
            for path in paths:
                draft = self.node.found(path)
                if draft is None or not self._settable(user, draft, want["what"]):
                    continue
                mode = draft.mode & octal(want["value"]) if right == "mode" else draft.mode
                uid = user.uid if right == "owner" else draft.uid
                gid = user.gid if right == "group" else draft.gid
                mode = sober(draft, mode, uid, gid)
                if (mode, uid, gid) != (draft.mode, draft.uid, draft.gid):
                    yield draft, mode, uid, gid

    def _dotfiles(self, user: User) -> list[str]:
        """What begins with a dot in a home, and no more than a pass can take."""
        names = [n for n in self.node.listed(user.home) if n.startswith(".")]
        if len(names) > MOST:
            self.node.leave(user.home, "more than {0} dot files; the rest is left".format(MOST))
        return [user.home + "/" + name for name in names[:MOST]]

    def _at_home(self, user: User, right: str) -> bool:
        """Whether somebody has a home, and nobody else has the same."""
        if not user.person or not user.home.startswith("/") or user.home == "/":
            return False
        home = self.node.found(user.home)
        if home is None or home.kind != "directory":
            return False
        if shared(user.home) or home.mode & 0o1002 == 0o1002:
            self.node.leave(user.home, "the home of {0}, and the system's".format(user.name))
            return False
        if right != "mode" and self.homes[os.path.normpath(user.home)] > 1:
            self.node.leave(user.home, "the home of several; whose it is to be is not known")
            return False
        return True

    def _settable(self, user: User, draft: Draft, what: str) -> bool:
        """Whether a place's rights may be set; what somebody may have put there is left."""
        if what.startswith("dotfile") and draft.kind != "file":
            return False
        if what == "dotfile_owner" and not readable(draft, user):
            why = "not of {0}, who may not even read it".format(user.name)
            self.node.leave(draft.seen.path, why)
            return False
        return self.node.safe(draft)


def readable(draft: Draft, user: User) -> bool:
    """Whether a file is somebody's, or may be read: a new owner learns nothing by it.

    A file may be moved from one folder to another by whoever may write both, but for reading.
    """
    if draft.uid == user.uid:
        return True
    return bool(draft.mode & (0o040 if draft.gid == user.gid else 0o004))


def shared(home: str) -> bool:
    """Whether a home is a folder of the system."""
    path = os.path.normpath(home)
    steps = path.strip("/").split("/")
    if len(steps) == 1 or (steps[0] == "var" and len(steps) == 2 and steps[1] in STATE):
        return True
    return any(path.startswith(top + "/") for top in SHARED)


def field_of(name: str, path: str, number: int, was: str, after: str) -> dict[str, Any]:
    """A field of an account or group, as the undo journal has it."""
    return {"path": path, "name": name, "number": number, "was": was, "is": after}


def age(user: User, want: Want) -> list[Change]:
    """The aging of a password, where it is not as strict as wanted."""
    field, option, less = AGES[want["what"]]
    had, wanted = user.shadow[field].strip(), int(want["value"])
    number = int(had) if had.lstrip("-").isdigit() else -1
    strict = 0 <= number <= wanted if less else number >= wanted
    if strict:
        return []
    words = "set {0} of {1} to {2}".format(want["what"].replace("_", " "), user.name, wanted)
    back = [["chage", option, str(number), user.name]]
    set_ = (SHADOW, field, had, str(wanted))
    return [(user, words, ["chage", option, str(wanted), user.name], back, set_)]


def lock_empty(user: User) -> list[Change]:
    """An account without a password gets none that fits."""
    if not user.shadow[0] or user.hash:
        return []
    words = "lock {0}, which has no password".format(user.name)
    # The day of its last change is set with it, and is not what `passwd -d` brings back.
    day = user.shadow[2].strip()
    back = [["passwd", "-d", user.name], ["chage", "-d", day or "-1", user.name]]
    do = ["usermod", "-p", "!", user.name]
    return [(user, words, do, back, (SHADOW, 1, "", "!"))]


def lock_system(user: User) -> list[Change]:
    """Nobody logs in with an account of the system."""
    if not user.system or not user.password:
        return []
    words = "lock {0}".format(user.name)
    # Unlocking changes nothing of one that somebody gave another password since.
    return [(user, words, ["usermod", "-L", user.name], [["usermod", "-U", user.name]], None)]


def nologin_system(user: User) -> list[Change]:
    """An account of the system has no shell."""
    if not user.system or user.name in KEPT_SHELLS or user.shell.endswith(NO_SHELLS):
        return []
    words = "take the shell from {0}".format(user.name)
    do, back = (["usermod", "-s", shell, user.name] for shell in (NOLOGIN, user.shell))
    return [(user, words, do, [back], (PASSWD, 6, user.shell, NOLOGIN))]


def root_group(user: User) -> list[Change]:
    """Root's group is root's."""
    if user.name != "root" or user.gid == 0:
        return []
    words = "make root's group 0"
    do, back = (["usermod", "-g", gid, "root"] for gid in ("0", str(user.gid)))
    return [(user, words, do, [back], (PASSWD, 3, str(user.gid), "0"))]


COMMANDS = {
    "lock_empty": lock_empty,
    "lock_system": lock_system,
    "nologin_system": nologin_system,
    "root_group": root_group,
}
