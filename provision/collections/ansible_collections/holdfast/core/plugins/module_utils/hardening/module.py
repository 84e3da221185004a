# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Kernel modules that cannot be loaded."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.holdfast.core.plugins.module_utils.hardening import text as texts
from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    Field,
    Type,
    Want,
    keep_ours,
)

OURS = "/etc/modprobe.d/60-holdfast.conf"
_INSTALL = re.compile(r"^\s*install\s+(\S+)\s+/bin/false\s*$")
SCHEMA = {"name": Field(str, required=True, pattern=r"^[A-Za-z0-9_-]+\Z")}


class Module(Type):
    """`name`; one that is loaded and not in use is unloaded."""

    name = "module"
    schema = SCHEMA
    ours = OURS

    def gather(self, wants: list[Want]) -> None:
        """Read our file and what is loaded, once."""
        del wants
        text = self.node.text(OURS) or ""
        found = (_INSTALL.match(line) for line in texts.lines_of(text))
        self.kept = {match.group(1) for match in found if match}
        rows = [line.split() for line in (self.node.text("/proc/modules") or "").splitlines()]
        self.loaded = {row[0]: row[2] for row in rows if len(row) > 2}

    def read(self, want: Want) -> dict[str, Any]:
        """Whether our file names it, and whether it is loaded and in use."""
        users = self.loaded.get(want["name"].replace("-", "_"))
        return {"kept": want["name"] in self.kept, "users": users}

    def diff(self, want: Want, seen: dict[str, Any]) -> list[str]:
        """Loaded and in use: only the next start helps, and nothing is done here."""
        name = want["name"]
        words = [] if seen["kept"] else ["keep module {0} from being loaded".format(name)]
        if seen["users"] == "0" and not self.node.offline:
            words.append("unload module {0}".format(name))
        elif seen["users"] is not None and (words or self.node.since_boot(OURS)):
            self.node.wait("{0}: module {1} is in use".format(want.control, name))
        return words

    def write(self, want: Want, seen: dict[str, Any]) -> None:
        """Stage that it goes; the file comes at the end."""
        if seen["users"] == "0":
            unload = [{"try": ["modprobe", "-r", "--", want["name"]]}]
            words = "unload module {0}".format(want["name"])
            self.node.act(words, unload, self.undo(want, seen))

    def undo(self, want: Want, seen: dict[str, Any]) -> list[dict[str, Any]]:
        """Load it again."""
        return [{"try": ["modprobe", "--", want["name"]]}] if seen["users"] is not None else []

    def finish(self, wants: list[Want]) -> list[tuple[str, str]]:
        """Write our file."""
        names = {want["name"] for want in wants}
        names |= {want["name"] for want in self.others} & self.kept
        told = names != self.kept
        lines = "".join("install {0} /bin/false\nblacklist {0}\n".format(n) for n in sorted(names))
        words = keep_ours(self.node, OURS, lines, 0o644, told=told)
        gone = sorted(self.kept - names)
        return words + [("", "let module {0} be loaded again".format(name)) for name in gone]
