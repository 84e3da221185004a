# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""One key in a configuration file of somebody else."""

from __future__ import annotations

from ansible_collections.holdfast.core.plugins.module_utils.hardening import text as texts
from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    LINE,
    MODE,
    PATH,
    STATE,
    TEXT,
    UNIT,
    Field,
    Type,
    Want,
    tell,
    with_mode,
)

SCHEMA = {
    "path": PATH,
    "key": LINE,
    "value": Field((str, int)),
    "section": TEXT,
    "style": Field(str, choices=texts.STYLES),
    "state": STATE,
    "owner": TEXT,
    "group": TEXT,
    "mode": MODE,
    "reload": UNIT,
}


class Setting(Type):
    """`path`, `key`, `value`, and how the file writes it: `style`, `section`."""

    name = "setting"
    schema = SCHEMA

    def read(self, want: Want) -> str | None:
        """The file's text."""
        return self.node.text(want["path"])

    def edited(self, want: Want, text: str) -> str:
        """The text as it is to be."""
        section = want.get("section")
        style = want.get("style", "ini" if section else "equals")
        value = None if want.get("value") is None else str(want["value"])
        if want.get("state") == "absent":
            return texts.without_setting(text, want["key"], value, style, section)
        return texts.with_setting(text, want["key"], value or "", style, section)

    def diff(self, want: Want, seen: str | None) -> list[str]:
        """The setting in words."""
        absent = want.get("state") == "absent"
        if seen is None and absent:
            return []
        if seen is not None and self.edited(want, seen) == seen:
            return []
        where = "{0}{1}".format(
            want["path"], " [{0}]".format(want["section"]) if want.get("section") else ""
        )
        if absent:
            return ["put {0} out of force in {1}".format(want["key"], where)]
        value = want.get("value")
        told = want["key"] if value is None else "{0} to {1}".format(want["key"], value)
        return ["set {0} in {1}".format(told, where)]

    def write(self, want: Want, seen: str | None) -> None:
        """Stage the text."""
        self.node.write(want["path"], self.edited(want, seen or ""), **with_mode(want))
        tell(self.node, want)
