# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""One whole line of a file."""

from __future__ import annotations

import re

from ansible_collections.holdfast.core.plugins.module_utils.hardening import text as texts
from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    MODE,
    PATH,
    STATE,
    TEXT,
    UNIT,
    Type,
    Want,
    tell,
    with_mode,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import Refused

SCHEMA = {
    "path": PATH,
    "line": TEXT,
    "match": TEXT,
    "state": STATE,
    "owner": TEXT,
    "group": TEXT,
    "mode": MODE,
    "reload": UNIT,
}


class Line(Type):
    """`path`, `line`, and in `match` a pattern of the lines that it replaces."""

    name = "line"
    schema = SCHEMA

    def gather(self, wants: list[Want]) -> None:
        """Refuse patterns that are none."""
        for want in wants:
            try:
                re.compile(want.get("match", ""))
            except re.error as error:
                raise Refused("{0}: match: {1}".format(want.control, error)) from error
            if want.get("line") is None and (
                want.get("state") != "absent" or want.get("match") is None
            ):
                raise Refused("{0}: line: there is no line".format(want.control))

    def read(self, want: Want) -> str | None:
        """The file's text."""
        return self.node.text(want["path"])

    def edited(self, want: Want, text: str) -> str:
        """The text as it is to be."""
        if want.get("state") == "absent":
            return texts.without_line(text, want.get("line"), want.get("match"))
        return texts.with_line(text, want["line"], want.get("match"))

    def diff(self, want: Want, seen: str | None) -> list[str]:
        """The line in words."""
        absent = want.get("state") == "absent"
        if (seen is None and absent) or (seen is not None and self.edited(want, seen) == seen):
            return []
        told = want.get("line", want.get("match"))
        verb = "take {0} out of {1}" if absent else "write {0} into {1}"
        return [verb.format(told, want["path"])]

    def write(self, want: Want, seen: str | None) -> None:
        """Stage the text."""
        self.node.write(want["path"], self.edited(want, seen or ""), **with_mode(want))
        tell(self.node, want)
