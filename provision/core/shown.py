"""Values and lines in messages: printable, short, and without secrets."""

from __future__ import annotations

import re

_SECRET_LINE = re.compile(
    r"(?i)((?:[\w.-]*(?:password|passwd|passphrase|secret|token|api[_-]?key|private[_-]?key"
    r"|tls[_-]\w+|_pass))[\"']?\s*:\s*)\S.*"
)
_DIGEST = re.compile(r"\b(sha256:[0-9a-f]{12})[0-9a-f]{52}\b")
_SECRET_URL = re.compile(r"(://)[^/\s@]+@")


def shown_line(lines: tuple[str, ...], number: int) -> str | None:
    """Line `number` (from 1) fit for a terminal: printable, short, and without secrets."""
    if not 1 <= number <= len(lines):
        return None
    text = _SECRET_URL.sub(r"\1(not shown)@", lines[number - 1][:200])
    return printable(_SECRET_LINE.sub(r"\1(not shown)", text))


def printable(text: str) -> str:
    """`text` of the same length without anything that a terminal would obey."""
    return "".join(c if c.isprintable() else " " if c == "\t" else "\N{MIDDLE DOT}" for c in text)


def short_digests(text: str) -> str:
    """`text` with each sha256 as its first 12 digits, which tell any two of a stack apart."""
    return _DIGEST.sub(r"\1", text)


def shown(value: object, limit: int = 60) -> str:
    """A value in a message: as YAML would write it, printable, on one line, cut to `limit`."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, str):
        text = value[:limit] + ("..." if len(value) > limit else "")
        return repr(text)
    return str(value)[:limit]
