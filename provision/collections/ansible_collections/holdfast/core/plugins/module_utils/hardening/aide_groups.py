# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""What AIDE compares: the groups of attributes that its configuration defines."""

from __future__ import annotations

import re

from ansible_collections.holdfast.core.plugins.module_utils.hardening import text as texts
from ansible_collections.holdfast.core.plugins.module_utils.hardening.aide_database import CONFIGS
from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    Field,
    Type,
    Want,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import NotHere

# A group that is not a sum of names (LOG = >) compares something else altogether.
_GROUP = re.compile(r"^(?P<name>[A-Z][A-Za-z_]*\s*=\s*)(?P<sum>[A-Za-z0-9+]+)\s*$")
SCHEMA = {"present": Field(list, required=True), "absent": Field(list)}


class AideGroups(Type):
    """`present`: attributes that every group has; `absent`: attributes that none has."""

    name = "aide_groups"
    schema = SCHEMA

    def read(self, want: Want) -> tuple[str, str]:
        """The configuration's path, and its text as it is to be.

        Raises:
            NotHere: AIDE is not installed.
        """
        path = next((p for p in CONFIGS if self.node.text(p) is not None), None)
        if path is None:
            raise NotHere("there is no aide")
        return path, with_attributes(
            self.node.text(path) or "", want["present"], want.get("absent", [])
        )

    def diff(self, want: Want, seen: tuple[str, str]) -> list[str]:
        """Each group that lacks something."""
        del want
        path, text = seen
        pairs = zip(texts.lines_of(self.node.text(path) or ""), texts.lines_of(text))
        return ["set {0} in {1}".format(new, path) for old, new in pairs if old != new]

    def write(self, want: Want, seen: tuple[str, str]) -> None:
        """Stage the file."""
        del want
        self.node.write(*seen)


def with_attributes(text: str, present: list[str], absent: list[str]) -> str:
    """A configuration whose groups have all of `present` and none of `absent`."""
    lines = texts.lines_of(text)
    for number, line in enumerate(lines):
        found = _GROUP.match(line)
        if found is None:
            continue
        old = [word for word in found.group("sum").split("+") if word]
        new = [word for word in old if word not in absent]
        new += [word for word in present if word not in new]
        if new != old:
            lines[number] = found.group("name") + "+".join(new)
    return texts.joined(lines)
