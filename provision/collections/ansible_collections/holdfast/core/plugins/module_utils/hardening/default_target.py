# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""The target that systemd starts."""

from __future__ import annotations

from typing import Any

from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    Field,
    Type,
    Want,
    agreed,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import Refused

LINK = "/etc/systemd/system/default.target"
SHIPPED = "/usr/lib/systemd/system/default.target"
SCHEMA = {"name": Field(str, required=True, pattern=r"^[A-Za-z0-9:_.@-]+\.target\Z")}


class DefaultTarget(Type):
    """`name`; takes effect at the next start."""

    name = "default_target"
    schema = SCHEMA

    def gather(self, wants: list[Want]) -> None:
        """There is one."""
        agreed(wants, "type", "name")

    def read(self, want: Want) -> tuple[str, bool]:
        """The target, and whether it was chosen here and not only shipped."""
        del want
        own = self.node.draft(LINK, follow=False)
        found = own if own.kind == "link" else self.node.draft(SHIPPED, follow=False)
        return found.seen.target.rpartition("/")[2], own.kind == "link"

    def diff(self, want: Want, seen: tuple[str, bool]) -> list[str]:
        """The target in words.

        Raises:
            Refused: there is no such target.
        """
        if seen[0] == want["name"]:
            return []
        if not self.node.has_unit(want["name"]):
            raise Refused("there is no {0}".format(want["name"]), "check the name")
        return ["start {0} by default (was {1})".format(want["name"], seen[0] or "nothing")]

    def write(self, want: Want, seen: tuple[str, bool]) -> None:
        """Stage it."""
        argv = ["set-default", "--", want["name"]]
        if self.node.offline:
            self.node.offline_steps.append(["systemctl", "--root=" + self.node.tree.root, *argv])
        self.node.act("default target", [{"run": ["systemctl", *argv]}], self.undo(want, seen))

    def undo(self, want: Want, seen: tuple[str, bool]) -> list[dict[str, Any]]:
        """The target as it was chosen, or as it is shipped."""
        del want
        if not seen[1]:
            return [{"run": ["rm", "-f", "--", LINK]}]
        return [{"run": ["systemctl", "set-default", "--", seen[0]]}]
