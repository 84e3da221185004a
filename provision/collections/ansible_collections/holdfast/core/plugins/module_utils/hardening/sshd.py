# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Options of the SSH server: one file of ours that is read first, and nothing that contradicts."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.holdfast.core.plugins.module_utils.hardening import text as texts
from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    LINE,
    Field,
    Type,
    Want,
    agreed,
    keep_ours,
)

MAIN = "/etc/ssh/sshd_config"
FOLDER = "/etc/ssh/sshd_config.d"
OURS = FOLDER + "/00-holdfast.conf"
INCLUDE = "Include /etc/ssh/sshd_config.d/*.conf"
_INCLUDES = re.compile(r"^\s*include\s+(.*\s)?(/etc/ssh/)?sshd_config\.d/\*\.conf", re.IGNORECASE)
_MATCH = re.compile(r"^\s*match\b", re.IGNORECASE)

SCHEMA = {
    "option": Field(str, required=True, pattern=r"^[A-Za-z0-9]+\Z"),
    "value": LINE,
    "main": Field(str),
}


class Sshd(Type):
    """`option` and `value`, as sshd_config writes them.

    `main` is a value for sshd_config itself, which some rules look at only. What is read first
    holds, so that it has no effect beside ours.
    """

    name = "sshd"
    ours = OURS
    phase = "access"
    schema = SCHEMA

    def gather(self, wants: list[Want]) -> None:
        """Read all files of the server once."""
        agreed(wants, "option", "value")
        self.kept = parse(self.node.text(OURS) or "")
        self.elsewhere = [MAIN, *(p for p in self.node.files(FOLDER, ".conf") if p != OURS)]

    def read(self, want: Want) -> dict[str, Any]:
        """What our file says, and which others say something else."""
        option, said = want["option"], want.get("main")
        main = self.node.text(MAIN) or ""
        return {
            "main": said is None or (option.lower(), plain(said)) in in_force(main),
            "kept": self.kept.get(option.lower()),
            "conflicts": [
                path
                for path in self.elsewhere
                if contradicting(self.node.text(path) or "", option, _said_in(want, path))
            ],
        }

    def diff(self, want: Want, seen: dict[str, Any]) -> list[str]:
        """Our line, and each line elsewhere that contradicts."""
        line = "{0} {1}".format(want["option"], want["value"])
        words = [] if seen["kept"] == want["value"] else ["set {0} in {1}".format(line, OURS)]
        if not seen["main"]:
            line = "{0} {1}".format(want["option"], want["main"])
            words.append("set {0} in {1}".format(line, MAIN))
        return words + [
            "put another {0} out of force in {1}".format(want["option"], path)
            for path in seen["conflicts"]
        ]

    def write(self, want: Want, seen: dict[str, Any]) -> None:
        """Stage the other files."""
        for path in seen["conflicts"]:
            lines = texts.lines_of(self.node.text(path) or "")
            value = _said_in(want, path)
            for number in contradicting(texts.joined(lines), want["option"], value):
                lines[number] = texts.commented(lines[number])
            self.node.write(path, texts.joined(lines))
        if not seen["main"]:
            text = self.node.text(MAIN) or ""
            line = "{0} {1}".format(want["option"], want["main"])
            self.node.write(MAIN, before_match(text, line))

    def finish(self, wants: list[Want]) -> list[tuple[str, str]]:
        """Write our file, and make sure that it is read first."""
        values = {want["option"]: want["value"] for want in wants}
        theirs = {want["option"] for want in self.others} - set(values)
        kept = {name: self.kept.get(name.lower()) for name in theirs}
        values.update({name: value for name, value in kept.items() if value is not None})
        words = []
        if values and not self._read_first():
            words.append(("", "read {0} before {1}".format(FOLDER, MAIN)))
            text = self.node.text(MAIN) or ""
            self.node.write(MAIN, INCLUDE + "\n" + texts.without_line(text, INCLUDE))
        gone = sorted(set(self.kept) - {option.lower() for option in values})
        lines = ["{0} {1}\n".format(option, values[option]) for option in sorted(values)]
        told = {option.lower(): value for option, value in values.items()} != self.kept
        words += keep_ours(self.node, OURS, "".join(lines), 0o600, told=told)
        return words + [("", "no longer set {0} in {1}".format(o, OURS)) for o in gone]

    def _read_first(self) -> bool:
        """Whether the folder is included before the first option of the main file."""
        for line in texts.lines_of(self.node.text(MAIN) or ""):
            if _INCLUDES.match(line):
                return True
            if texts.active(line):
                return False
        return False


def parse(text: str) -> dict[str, str]:
    """Options of a file up to its first Match, by their names in lower case."""
    found: dict[str, str] = {}
    for _, option, value in options(text):
        found.setdefault(option.lower(), value)
    return found


def options(text: str) -> list[tuple[int, str, str]]:
    """Line number, option and value of what a file sets for everybody."""
    found = []
    for number, line in enumerate(texts.lines_of(text)):
        if not texts.active(line):
            continue
        words = re.split(r"\s*=\s*|\s+", line.strip(), maxsplit=1)
        if words[0].lower() == "match":
            break
        found.append((number, words[0], words[1].strip() if len(words) > 1 else ""))
    return found


def in_force(text: str) -> set[tuple[str, str]]:
    """Options and values that a file sets for everybody, for comparing."""
    return {(option.lower(), plain(value)) for _, option, value in options(text)}


def before_match(text: str, line: str) -> str:
    """The text with a line at the end of what holds for everybody."""
    lines = texts.lines_of(text)
    place = next((n for n, old in enumerate(lines) if _MATCH.match(old)), len(lines))
    return texts.joined([*lines[:place], line, *lines[place:]])


def contradicting(text: str, option: str, value: str) -> list[int]:
    """The lines that set an option to something else."""
    return [
        number
        for number, name, said in options(text)
        if name.lower() == option.lower() and plain(said) != plain(value)
    ]


def _said_in(want: Want, path: str) -> str:
    """The value that a file may say; the main file's own is read after ours and has no effect."""
    value: str = want.get("main", want["value"]) if path == MAIN else want["value"]
    return value


def plain(value: str) -> str:
    """A value without quotes and surplus blanks."""
    return " ".join(value.replace('"', " ").split())
