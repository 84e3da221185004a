# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""A module's lines in PAM's stack, and their arguments."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.holdfast.core.plugins.module_utils.hardening import text as texts
from ansible_collections.holdfast.core.plugins.module_utils.hardening.authselect import Selection
from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    NAME,
    NEEDED,
    STATE,
    TEXT,
    Field,
    Type,
    Want,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import NotHere

FOLDER = "/etc/pam.d"
MANAGED = "/etc/authselect/"
_LINE = re.compile(
    r"^(?P<facility>-?(?:auth|account|password|session))\s+"
    r"(?P<control>\[[^\]]*\]|\S+)\s+(?P<module>\S+)(?P<rest>.*?)(?P<only>\s*\{[^}]*\})?\s*$"
)
SCHEMA = {
    "service": Field(list, required=True, pattern=NAME),
    "facility": Field(str, required=True, choices=("auth", "account", "password", "session")),
    "module": NEEDED,
    "control": TEXT,
    "args": Field(dict),
    "after": TEXT,
    "before": TEXT,
    "state": STATE,
}


class Pam(Type):
    """`service`, `facility`, `module`, and what of it is wanted: `control`, `args`, `state`."""

    name = "pam"
    schema = SCHEMA

    def read(self, want: Want) -> dict[str, str]:
        """The text of each service's file; of authselect's profile where it writes the file.

        Raises:
            NotHere: none of the services is there.
        """
        found = {}
        for service in want["service"]:
            path = FOLDER + "/" + service
            real = self.node.draft(path)
            if real.kind == "absent":
                continue
            if real.seen.path.startswith(MANAGED):
                path = Selection.of(self.node).selected() + "/" + service
            text = self.node.text(path)
            if text is not None:
                found[service] = text
        if not found:
            raise NotHere("there is no {0} in {1}".format(" or ".join(want["service"]), FOLDER))
        return found

    def diff(self, want: Want, seen: dict[str, str]) -> list[str]:
        """The line in words, for each service."""
        verb = "remove" if want.get("state") == "absent" else "set"
        return [
            "{0} {1} of {2} in {3}".format(verb, want["module"], want["facility"], service)
            for service, text in seen.items()
            if edited(text, want) != text or self._spoilt(service, want)
        ]

    def _spoilt(self, service: str, want: Want) -> bool:
        """Whether somebody edited the file that authselect wrote, and against this."""
        real = self.node.draft(FOLDER + "/" + service)
        if not real.seen.path.startswith(MANAGED) or not Selection.of(self.node).stale:
            return False
        text = self.node.text(real.seen.path) or ""
        return edited(text, want) != text

    def write(self, want: Want, seen: dict[str, str]) -> None:
        """Stage the files."""
        for service, text in seen.items():
            if edited(text, want) == text:
                continue
            path = FOLDER + "/" + service
            if self.node.draft(path).seen.path.startswith(MANAGED):
                path = Selection.of(self.node).editable() + "/" + service
            self.node.write(path, edited(text, want))


def edited(text: str, want: Want) -> str:
    """A PAM file's text as it is to be."""
    lines = texts.lines_of(text)
    mine = [n for n, line in enumerate(lines) if _fits(line, want["facility"], want["module"])]
    if want.get("state") == "absent":
        return texts.joined([line for n, line in enumerate(lines) if n not in mine])
    args = want.get("args", {})
    if not mine:
        # Where only arguments are taken away or changed, there is nothing to do.
        if want.get("control") is None:
            return text
        lines.insert(_place(lines, want), _fresh(want))
        return texts.joined(lines)
    for number in mine:
        found = _LINE.match(lines[number])
        assert found is not None
        control = want.get("control") if len(mine) == 1 else None
        old, rest = found.group("control"), found.group("rest").split()
        new = control or old
        words = arguments(rest, args)
        if (new, words) != (old, rest):
            lines[number] = "{0:<11} {1:<45} {2}{3}".format(
                found.group("facility"),
                new,
                " ".join([found.group("module"), *words]),
                found.group("only") or "",
            )
    return texts.joined(lines)


def arguments(words: list[str], args: dict[str, Any]) -> list[str]:
    """A line's arguments as they are to be."""
    present = args.get("present") or {}
    gone = set(args.get("absent") or ())
    found = []
    said = set()
    for word in words:
        name = word.partition("=")[0]
        if name in gone or name in said:
            continue
        if name in present:
            said.add(name)
            found.append(_argument(name, present[name]))
        else:
            found.append(word)
    return found + [_argument(n, v) for n, v in present.items() if n not in said]


def _argument(name: str, value: Any) -> str:
    return name if value is None else "{0}={1}".format(name, value)


def _fits(line: str, facility: str, module: str) -> bool:
    found = _LINE.match(line)
    if found is None or found.group("facility").lstrip("-") != facility:
        return False
    return found.group("module").rpartition("/")[2] == module


def _fresh(want: Want) -> str:
    words = [want["module"], *arguments([], want.get("args", {}))]
    return "{0:<11} {1:<45} {2}".format(want["facility"], want["control"], " ".join(words))


def _place(lines: list[str], want: Want) -> int:
    """Where a new line belongs: beside the module that it is to stand by, else at the end."""
    facility = want["facility"]
    of = [n for n, line in enumerate(lines) if _of(line, facility)]
    anchor = want.get("before") or want.get("after")
    by = [n for n in of if anchor and _fits(lines[n], facility, anchor)]
    if by:
        return by[0] if want.get("before") else by[-1] + 1
    return of[-1] + 1 if of else len(lines)


def _of(line: str, facility: str) -> bool:
    found = _LINE.match(line)
    return found is not None and found.group("facility").lstrip("-") == facility
