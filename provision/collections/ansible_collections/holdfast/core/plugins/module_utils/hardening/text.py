# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Edits of configuration text. Pure: text in, text out; what is not meant stays as it is.

Every edit applied to its own result gives that result again.
"""

from __future__ import annotations

import re

COMMENT = ("#", ";")


def lines_of(text: str) -> list[str]:
    """The lines without their ends."""
    return text.split("\n")[:-1] if text.endswith("\n") else text.split("\n") if text else []


def joined(lines: list[str]) -> str:
    """Lines as the text of a file, which ends with a line's end."""
    return "".join(line + "\n" for line in lines)


def active(line: str) -> bool:
    """Whether a line is neither empty nor a comment."""
    bare = line.strip()
    return bool(bare) and not bare.startswith(COMMENT)


def with_line(text: str, line: str, match: str | None = None) -> str:
    """The text with `line` in it once, in place of the lines that `match` (a regex) fits."""
    lines = lines_of(text)
    fits = re.compile(match) if match else None
    found = [
        number
        for number, old in enumerate(lines)
        if old == line or (fits is not None and active(old) and fits.search(old))
    ]
    if not found:
        return joined([*lines, line])
    # The first place counts, so that what follows it still follows it.
    kept = [old for number, old in enumerate(lines) if number not in found[1:]]
    kept[found[0]] = line
    return joined(kept)


def without_line(text: str, line: str | None, match: str | None = None) -> str:
    """The text without `line` and without the lines that `match` fits; comments stay."""
    fits = re.compile(match) if match else None
    kept = [
        old
        for old in lines_of(text)
        if not (old == line or (fits is not None and active(old) and fits.search(old)))
    ]
    return joined(kept)


class Style:
    """How a file writes a setting: `pattern` finds one, `write` makes one."""

    def __init__(self, name: str) -> None:
        self.name = name

    def parse(self, line: str) -> tuple[str, str] | None:
        """Key and value of a line; None when it is not a setting."""
        if not active(line):
            return None
        bare = line.strip()
        if self.name == "flag":
            return bare, ""
        if self.name == "space":
            key, _, value = bare.replace("\t", " ").partition(" ")
            return key, value.strip()
        key, sign, value = bare.partition("=")
        return (key.strip(), value.strip()) if sign else (bare, "")

    def write(self, key: str, value: str) -> str:
        """The line of a setting."""
        if self.name == "flag":
            return key
        between = {"space": " ", "bare_equals": "="}.get(self.name, " = ")
        return key + between + value

    def right(self, line: str, key: str, value: str) -> bool:
        """Whether a line says what is wanted, in a form that its reader takes."""
        if self.name == "bare_equals":
            return line.strip() == self.write(key, value)
        found = self.parse(line)
        return found is not None and found == (key, value if self.name != "flag" else "")


STYLES = ("ini", "equals", "bare_equals", "space", "flag")
_SECTION = re.compile(r"^\s*\[(?P<name>[^\]]+)\]\s*$")


def section_span(lines: list[str], section: str) -> tuple[int, int] | None:
    """Where a section's own lines begin and end; the last of several with one name counts."""
    span: tuple[int, int | None] | None = None
    for number, line in enumerate(lines):
        found = _SECTION.match(line)
        if found is None:
            continue
        if span is not None and span[1] is None:
            span = (span[0], number)
        if found.group("name").strip() == section:
            span = (number + 1, None)
    if span is None:
        return None
    begin, end = span
    return begin, len(lines) if end is None else end


def settings(text: str, key: str, style: str, section: str | None = None) -> list[str]:
    """The active lines of a setting, as they stand there."""
    lines = lines_of(text)
    begin, end = _span(lines, section)
    kind = Style(style)
    return [line for line in lines[begin:end] if _is(kind, line, key)]


def with_setting(text: str, key: str, value: str, style: str, section: str | None = None) -> str:
    """The text with a setting at one value, once.

    It takes the place of the first line that sets it; else it follows the comment that shows it;
    else it stands at the end of its section, which is made where it is missing.
    """
    lines = lines_of(text)
    kind = Style(style)
    fresh = kind.write(key, value)
    if section is not None and section_span(lines, section) is None:
        gap = [""] if lines and lines[-1].strip() else []
        return joined([*lines, *gap, "[{0}]".format(section), fresh])
    begin, end = _span(lines, section)
    found = [n for n in range(begin, end) if _is(kind, lines[n], key)]
    if found:
        if not kind.right(lines[found[0]], key, value):
            lines[found[0]] = fresh
        return joined([line for n, line in enumerate(lines) if n not in found[1:]])
    lines.insert(_place(lines, begin, end, key), fresh)
    return joined(lines)


def without_setting(
    text: str, key: str, value: str | None, style: str, section: str | None = None
) -> str:
    """The text with a setting commented out; only where it has `value`, when one is given."""
    lines = lines_of(text)
    begin, end = _span(lines, section)
    kind = Style(style)
    for number in range(begin, end):
        line = lines[number]
        if _is(kind, line, key) and (value is None or kind.right(line, key, value)):
            lines[number] = commented(line)
    return joined(lines)


def commented(line: str) -> str:
    """A line put out of force, so that a person still sees what stood there."""
    return "# " + line.strip() + "  # put out of force by Holdfast"


def _is(kind: Style, line: str, key: str) -> bool:
    found = kind.parse(line)
    return found is not None and found[0] == key


def _span(lines: list[str], section: str | None) -> tuple[int, int]:
    if section is None:
        return 0, len(lines)
    return section_span(lines, section) or (len(lines), len(lines))


def _place(lines: list[str], begin: int, end: int, key: str) -> int:
    """Where a new line belongs: after the last comment that names its key, else at the end."""
    shown = re.compile(r"^\s*[#;]\s*{0}\b".format(re.escape(key)))
    for number in range(end - 1, begin - 1, -1):
        if shown.match(lines[number]):
            return number + 1
    while end > begin and not lines[end - 1].strip():
        end -= 1
    return end
