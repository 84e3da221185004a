# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Audit rules for each program that runs with another's rights."""

from __future__ import annotations

import re

from ansible_collections.holdfast.core.plugins.module_utils.hardening.audit_rule import path_of
from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    Field,
    Type,
    Want,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import Refused
from ansible_collections.holdfast.core.plugins.module_utils.hardening.sweep import (
    Walk,
    local_mounts,
)

RULE = "-a always,exit -F path={0} -F perm=x -F auid>=1000 -F auid!=unset -k {1}"
_PLAIN = re.compile(r"^/[!-~]+\Z")
"""A path that is one word of a rule: a blank or a line's end in it would be another rule."""

SCHEMA = {"key": Field(str, required=True, pattern=r"^[A-Za-z0-9_.-]+\Z")}


class AuditPrivileged(Type):
    """`key`; a program that a rule of ours names already is left out."""

    name = "audit_privileged"
    schema = SCHEMA

    def read(self, want: Want) -> tuple[str | None, str]:
        """The file's text, and the text that it is to have."""
        running = local_mounts(self.node, frozenset({"nosuid", "noexec"}))
        named = self._named(want["key"])
        lines = [
            RULE.format(path, want["key"])
            for path in Walk.of(self.node).privileged()
            if mount_of(path, local_mounts(self.node)) in running and path not in named
            if self._ours(path)
        ]
        return self.node.text(path_of(want["key"])), "".join(line + "\n" for line in lines)

    def _ours(self, path: str) -> bool:
        """Whether root alone could have put it there; else users would write root's rules."""
        if not _PLAIN.match(path):
            self.node.leave(ascii(path)[1:-1], "a privileged program with such a name")
            return False
        try:
            trusted = self.node.draft(path, follow=False).seen.trusted
        except Refused:
            trusted = False
        if not trusted:
            self.node.leave(path, "a privileged program where others can write")
        return trusted

    def _named(self, key: str) -> set[str]:
        """Programs that our other files name."""
        folder = path_of("x").rpartition("/")[0]
        texts = [
            self.node.text(path) or ""
            for path in self.node.files(folder, ".rules")
            if "/60-holdfast-" in path and path != path_of(key)
        ]
        words = (word for text in texts for word in text.split())
        return {word[len("path=") :] for word in words if word.startswith("path=")}

    def diff(self, want: Want, seen: tuple[str | None, str]) -> list[str]:
        """The file in words."""
        return [] if seen[0] == seen[1] else ["write {0}".format(path_of(want["key"]))]

    def write(self, want: Want, seen: tuple[str | None, str]) -> None:
        """Stage the file."""
        self.node.write(path_of(want["key"]), seen[1], mode=0o600, ours=True)


def mount_of(path: str, mounts: list[str]) -> str:
    """The mount that a path lies on."""
    return max((m for m in mounts if (path + "/").startswith(m.rstrip("/") + "/")), key=len)
