# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""One walk over the local file systems, which takes away what nothing needs."""

from __future__ import annotations

import fnmatch
import os
import re

from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    Field,
    Type,
    Want,
    shown,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.mount import mounts_of
from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import (
    Draft,
    Node,
    Refused,
)

LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "overlay", "vfat", "zfs"})
STORES = ("/var/lib/containers/*", "/proc/*", "/sys/*", "/run/*")
"""What containers hold is theirs; the others are the kernel's."""

_ENTRY = re.compile(r"^([df]) ([0-7]+) (/.*)\Z", re.DOTALL)

PATIENCE = 3600
"""Seconds: a host that holds data sets has a hundred million files, and each is looked at."""

MOST = 10000
"""Places in one pass: everybody can make as many as the disk holds, and each is journalled."""

SCHEMA = {
    "what": Field(str, required=True, choices=("sticky", "no_world_write")),
    "below": Field(list),
    "exclude": Field(list),
}


class Walk:
    """What a node's local file systems hold of interest: one run of find for all who ask."""

    def __init__(self, node: Node) -> None:
        self.found: list[tuple[str, str, int]] = []
        tops = local_mounts(node)
        if not tops:
            return
        root = node.tree.root.rstrip("/")
        tops = [root + top for top in tops] if root else tops
        left_out = [word for top in STORES for word in ("-path", root + top, "-prune", "-o")]
        wanted = ["(", "-type", "d", "-perm", "-0002", "!", "-perm", "-1000", ")"]
        wanted += ["-o", "(", "-type", "f", "(", "-perm", "-0002", "-o", "-perm", "/6000", ")", ")"]
        argv = ["find", *tops, "-ignore_readdir_race", "-xdev", *left_out]
        argv += ["(", *wanted, ")", "-printf", r"%y %m %p\0"]
        code, out = node.command(argv, seconds=PATIENCE)
        if code == 127:
            raise Refused("find is missing", "install findutils")
        if code == 126:
            raise Refused("find did not look at all files: {0}".format(out[-80:]))
        for entry in out.split("\0"):
            # What find complains of stands in between: it is about what came and went.
            fits = _ENTRY.match(entry)
            if fits and fits.group(3).startswith(root + "/"):
                path = fits.group(3)[len(root) :]
                self.found.append((fits.group(1), path, int(fits.group(2), 8)))

    @staticmethod
    def of(node: Node) -> Walk:
        """The node's one."""
        found = node.shared.get("walk")
        if not isinstance(found, Walk):
            found = node.shared["walk"] = Walk(node)
        return found

    def privileged(self) -> list[str]:
        """Programs that run with another's rights."""
        return sorted(path for kind, path, mode in self.found if kind == "f" and mode & 0o6000)


def local_mounts(node: Node, without: frozenset[str] = frozenset()) -> list[str]:
    """Where local file systems are mounted, but for those with an option of `without`."""
    found = {}
    for line in mounts_of(node).splitlines():
        row = line.split()
        if len(row) > 3 and (row[2] in LOCAL or row[1] == "/"):
            found[row[1]] = not (without & set(row[3].split(",")))
    return [path for path, wanted in sorted(found.items()) if wanted]


class Sweep(Type):
    """`what`, `below` and `exclude`."""

    name = "sweep"
    schema = SCHEMA

    def read(self, want: Want) -> list[Draft]:
        """What is to be changed, as it stands."""
        kind = {"sticky": "d", "no_world_write": "f"}[want["what"]]
        drafts = []
        for found, path, mode in Walk.of(self.node).found:
            if found != kind or not mode & 0o002 or not meant(want, path):
                continue
            try:
                draft = self.node.draft(path, follow=False)
            except Refused as error:
                self.node.leave(path, str(error).rpartition(": ")[2])
                continue
            if draft.kind == "absent" and "\ufffd" in path:
                self.node.leave(path, "a name that is no text")
            if draft.kind in ("file", "directory") and self.node.safe(draft):
                drafts.append(draft)
            if len(drafts) == MOST:
                self.node.leave(path, "the last of {0} places; more are left".format(MOST))
                break
        # What another control has closed by now is open to nobody.
        drafts = [draft for draft in drafts if draft.mode & 0o002]
        return [draft for draft in drafts if draft.mode != right(want, draft.mode)]

    def diff(self, want: Want, seen: list[Draft]) -> list[str]:
        """Each place."""
        return [
            "set mode {0} on {1}".format(shown(right(want, draft.mode)), draft.seen.path)
            for draft in seen
        ]

    def write(self, want: Want, seen: list[Draft]) -> None:
        """Stage them."""
        for draft in seen:
            draft.mode = right(want, draft.mode)


def right(want: Want, mode: int) -> int:
    """A mode as it is to be."""
    return mode | 0o1000 if want["what"] == "sticky" else mode & ~0o002


def meant(want: Want, path: str) -> bool:
    """Whether a place is below what is swept, and not left out."""
    below = [top.rstrip("/") + "/" for top in want.get("below", ["/"])]
    if not any((path + "/").startswith(top) for top in below):
        return False
    return not any(
        fnmatch.fnmatchcase(path, pattern) or os.path.dirname(path) == pattern
        for pattern in want.get("exclude", [])
    )
