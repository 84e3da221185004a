# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""A group that exists and has exactly these members."""

from __future__ import annotations

from typing import Any

from ansible_collections.holdfast.core.plugins.module_utils.hardening.account import (
    COPIES,
    field_of,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    Field,
    Type,
    Want,
)

NAME = r"^[A-Za-z_][A-Za-z0-9_.-]*\$?\Z"
SCHEMA = {"name": Field(str, required=True, pattern=NAME), "members": Field(list, pattern=NAME)}


class Group(Type):
    """`name` and `members`; a group that is made is one of the system's."""

    name = "group"
    schema = SCHEMA

    def read(self, want: Want) -> list[str] | None:
        """Its members; None where there is no such group."""
        for line in (self.node.text("/etc/group") or "").splitlines():
            row = line.split(":")
            if row[0] == want["name"] and len(row) > 3:
                return sorted(name for name in row[3].split(",") if name)
        return None

    def diff(self, want: Want, seen: list[str] | None) -> list[str]:
        """The group in words."""
        words = [] if seen is not None else ["make group {0}".format(want["name"])]
        members = sorted(want.get("members", []))
        if members != (seen or []):
            told = ", ".join(members) or "nobody"
            words.append("set members of group {0}: {1}".format(want["name"], told))
        return words

    def write(self, want: Want, seen: list[str] | None) -> None:
        """Stage it."""
        name, members = want["name"], sorted(want.get("members", []))
        do = [] if seen is not None else [{"run": ["groupadd", "-r", name]}]
        if members != (seen or []):
            do.append({"run": ["gpasswd", "-M", ",".join(members), name]})
        act = self.node.act("group {0}".format(name), do, self.undo(want, seen), files=True)
        act.touches = COPIES
        act.field = field_of(name, "/etc/group", 3, ",".join(seen or []), ",".join(members))
        if seen is None:
            # A group that was made is empty or ours; `was` is what no group has.
            act.field["was"] = None

    def undo(self, want: Want, seen: list[str] | None) -> list[dict[str, Any]]:
        """Its members as they were, or no such group."""
        if seen is None:
            return [{"run": ["groupdel", want["name"]]}]
        return [{"run": ["gpasswd", "-M", ",".join(seen), want["name"]]}]
