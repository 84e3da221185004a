"""Text from nodes made safe to show, and measured in terminal columns.

Evidence is whatever a node said. Nothing it says may move a cursor, reverse a line or end a
document, so control characters become visible before any renderer sees them.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata

# C0 and C1 controls except tab and newline, line separators, direction overrides, surrogates and
# the two code points that XML 1.0 has no room for.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def clean(text: str) -> str:
    r"""`text` with everything that could act on its reader written out, such as ``\x1b``."""
    plain = text.replace("\r\n", "\n").replace("\t", "    ")
    return _UNSAFE.sub(_written_out, plain)


def one_line(text: str) -> str:
    """`clean` text with runs of white space as one blank."""
    return " ".join(clean(text).split())


def _written_out(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def columns(text: str) -> int:
    """How many terminal columns `text` fills."""
    return sum(_columns(c) for c in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def pad(text: str, width: int, *, right: bool = False) -> str:
    """`text` filled with blanks to `width` columns; `right` puts the blanks before it."""
    blanks = " " * max(width - columns(text), 0)
    return blanks + text if right else text + blanks


def shorten(text: str, width: int, mark: str = "…") -> str:
    """`text` cut to at most `width` columns, ending in `mark` when something was cut."""
    if columns(text) <= width:
        return text
    kept = ""
    room = width - columns(mark)
    for character in text:
        room -= _columns(character)
        if room < 0:
            break
        kept += character
    return kept.rstrip() + mark if width >= columns(mark) else ""


def wrap(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` columns; its own line breaks are kept."""
    lines: list[str] = []
    for line in text.split("\n"):
        # textwrap counts characters; half as many of the wide ones fit.
        room = width if columns(line) == len(line) else width // 2
        lines += textwrap.wrap(line, max(room, 8), break_on_hyphens=False) or [""]
    while len(lines) > 1 and not lines[-1]:
        lines.pop()
    return lines
