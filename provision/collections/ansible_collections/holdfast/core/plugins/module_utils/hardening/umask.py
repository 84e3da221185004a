# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""The umask of every login."""

from __future__ import annotations

import re

from ansible_collections.holdfast.core.plugins.module_utils.hardening import text as texts
from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    MODE,
    Field,
    Type,
    Want,
    agreed,
    octal,
)

SHELLS = ("/etc/bashrc", "/etc/profile")
DROP_INS = "/etc/profile.d"
LOGIN = "/etc/login.defs"
PROFILE = "/etc/profile"
# In a login shell's files a line that only sometimes sets the umask is not enough.
_ALWAYS = re.compile(r"^\s*umask\s+[0-7]{3,4}\b")
_UMASK = re.compile(r"^(?P<before>[^#\n]*\bumask\s+)(?P<value>[0-7]{3,4})\b(?P<after>.*)$")
SCHEMA = {"value": Field(str, required=True, pattern=MODE.pattern)}


class Umask(Type):
    """`value`; an umask that takes away more stays as it is."""

    name = "umask"
    schema = SCHEMA

    def gather(self, wants: list[Want]) -> None:
        """There is one umask."""
        agreed(wants, "type", "value")

    def read(self, want: Want) -> dict[str, str]:
        """The files that say something else, with the text that they are to have."""
        mask = octal(want["value"])
        word = "{0:03o}".format(mask)
        found = {}
        drop_ins = self.node.files(DROP_INS, ".sh")
        for path in [*SHELLS, *drop_ins]:
            text = self.node.text(path)
            if text is None:
                continue
            edited = stricter(text, mask)
            if path in SHELLS and not self._said(path, drop_ins):
                edited = texts.joined([*texts.lines_of(edited), "umask " + word])
            if edited != text:
                found[path] = edited
        login = self.node.text(LOGIN)
        if login is not None:
            said = texts.settings(login, "UMASK", "space")
            right = said and all(octal_of(line) | mask == octal_of(line) for line in said)
            if not right:
                found[LOGIN] = texts.with_setting(login, "UMASK", word, "space")
        return found

    def _said(self, path: str, drop_ins: list[str]) -> bool:
        """Whether a file sets the umask; /etc/profile may leave it to what it reads."""
        meant = [path, *drop_ins] if path == PROFILE else [path]
        pattern = _ALWAYS if path == PROFILE else _UMASK
        lines = [line for p in meant for line in texts.lines_of(self.node.text(p) or "")]
        return any(pattern.match(line) for line in lines)

    def diff(self, want: Want, seen: dict[str, str]) -> list[str]:
        """Each file."""
        value = "{0:03o}".format(octal(want["value"]))
        return ["set umask {0} in {1}".format(value, path) for path in sorted(seen)]

    def write(self, want: Want, seen: dict[str, str]) -> None:
        """Stage the files."""
        del want
        for path in sorted(seen):
            self.node.write(path, seen[path])


def octal_of(line: str) -> int:
    """The umask of a line of login.defs; 0 when it is none."""
    value = line.rsplit(maxsplit=1)[-1]
    return int(value, 8) if re.match(r"^[0-7]{1,4}\Z", value) else 0


def stricter(text: str, mask: int) -> str:
    """The text with each umask at least as strict as `mask`."""
    lines = texts.lines_of(text)
    for number, line in enumerate(lines):
        found = _UMASK.match(line)
        if found and octal(found.group("value")) | mask != octal(found.group("value")):
            value = "{0:03o}".format(octal(found.group("value")) | mask)
            lines[number] = found.group("before") + value + found.group("after")
    return texts.joined(lines)
