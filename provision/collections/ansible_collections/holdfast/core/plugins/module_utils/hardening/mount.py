# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Options of what is mounted: now, and at the next start."""

from __future__ import annotations

import os
from typing import Any

from ansible_collections.holdfast.core.plugins.module_utils.hardening import text as texts
from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    PATH,
    Field,
    Type,
    Want,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import Node

FSTAB = "/etc/fstab"
UNITS = ("/etc/systemd/system", "/usr/lib/systemd/system")
DROP_IN = "60-holdfast.conf"
OFFLINE = "root / ext4 defaults 0 0\ntmpfs /dev/shm tmpfs defaults 0 0\n"
"""What is mounted in every system, as the kernel would say it."""
SCHEMA = {"path": PATH, "options": Field(list, required=True)}


def mounts_of(node: Node) -> str:
    """What is mounted, as the kernel says it.

    Where an image is built, what is mounted is the builder's; a start mounts nothing but this and
    what the image's own files name. In a user namespace /proc belongs to nobody, so that the link
    /proc/self is not followed there.
    """
    if node.offline:
        return OFFLINE
    own = os.getpid() if node.tree.root == "/" else "self"
    return node.text("/proc/{0}/mounts".format(own)) or ""


class Mount(Type):
    """`path` and `options`. Where nothing of its own is mounted, there is nothing to do."""

    name = "mount"
    schema = SCHEMA

    def gather(self, wants: list[Want]) -> None:
        """Read once what is mounted."""
        del wants
        self.mounted: dict[str, list[str]] = {}
        for line in mounts_of(self.node).splitlines():
            row = line.split()
            if len(row) > 3:
                self.mounted[plain(row[1])] = row

    def read(self, want: Want) -> dict[str, Any]:
        """What lacks now, and what lacks in the place that says it for the next start."""
        path, options = want["path"], want["options"]
        row = self.mounted.get(path)
        kept = self._kept(path)
        if row is None and kept is None:
            return {"now": [], "next": [], "place": None}
        place, has = kept if kept is not None else (FSTAB, [])
        now = [] if row is None else lacking(options, row[3].split(","))
        return {"now": now, "next": lacking(options, has), "place": place, "has": has}

    def _kept(self, path: str) -> tuple[str, list[str]] | None:
        """Where a mount's options stand for the next start, and which."""
        for line in texts.lines_of(self.node.text(FSTAB) or ""):
            row = line.split()
            if texts.active(line) and len(row) > 3 and plain(row[1]) == path:
                return FSTAB, row[3].split(",")
        name = unit_name(path)
        for folder in UNITS:
            text = self.node.text(folder + "/" + name)
            if text is not None and path in self.mounted:
                own = self.node.text(self._drop_in(path))
                said = texts.settings(own or text, "Options", "bare_equals", "Mount")
                options = said[-1].partition("=")[2] if said else ""
                return self._drop_in(path), [o for o in options.strip().split(",") if o]
        return None

    def _drop_in(self, path: str) -> str:
        return "{0}/{1}.d/{2}".format(UNITS[0], unit_name(path), DROP_IN)

    def diff(self, want: Want, seen: dict[str, Any]) -> list[str]:
        """Now and next in words."""
        words = []
        if seen["next"]:
            words.append(
                "mount {0} with {1} by {2}".format(
                    want["path"], ",".join(seen["next"]), seen["place"]
                )
            )
        if seen["now"] and not self.node.offline:
            words.append("mount {0} again with {1}".format(want["path"], ",".join(seen["now"])))
        return words

    def write(self, want: Want, seen: dict[str, Any]) -> None:
        """Stage both."""
        path = want["path"]
        if seen["next"]:
            options = merged(seen["has"], want["options"])
            if seen["place"] == FSTAB:
                self.node.write(FSTAB, self._fstab(path, options))
            else:
                text = "[Mount]\nOptions={0}\n".format(",".join(options))
                self.node.write(seen["place"], text, mode=0o644, ours=True)
        if seen["now"]:
            do = [{"run": ["mount", "-o", "remount," + ",".join(seen["now"]), path]}]
            self.node.act("mount {0} again".format(path), do, self.undo(want, seen))

    def _fstab(self, path: str, options: list[str]) -> str:
        lines = texts.lines_of(self.node.text(FSTAB) or "")
        for number, line in enumerate(lines):
            row = line.split()
            if texts.active(line) and len(row) > 3 and plain(row[1]) == path:
                row[3] = ",".join(options)
                lines[number] = "\t".join(row)
                return texts.joined(lines)
        row = self.mounted[path]
        own = [o for o in merged(row[3].split(","), options) if o not in ("relatime", "seclabel")]
        return texts.joined([*lines, "\t".join([row[0], row[1], row[2], ",".join(own), "0", "0"])])

    def undo(self, want: Want, seen: dict[str, Any]) -> list[dict[str, Any]]:
        """Mount it without what was added."""
        options = [opposite(option) for option in seen["now"]]
        return [{"run": ["mount", "-o", "remount," + ",".join(options), want["path"]]}]


def lacking(wanted: list[str], has: list[str]) -> list[str]:
    """The options that are not there."""
    return [option for option in wanted if option not in has]


def merged(has: list[str], wanted: list[str]) -> list[str]:
    """Options with others added, which win over their opposites."""
    kept = [o for o in has if o not in wanted and opposite(o) not in wanted]
    return kept + list(wanted)


def opposite(option: str) -> str:
    """The option that takes another back."""
    return option[2:] if option.startswith("no") else "no" + option


def plain(path: str) -> str:
    """A path of fstab without its octal escapes."""
    for code, sign in (("\\040", " "), ("\\011", "\t"), ("\\134", "\\")):
        path = path.replace(code, sign)
    return path.rstrip("/") or "/"


def unit_name(path: str) -> str:
    """The mount unit of a path."""
    name = os.path.normpath(path).strip("/").replace("-", "\\x2d").replace("/", "-")
    return (name or "-") + ".mount"
