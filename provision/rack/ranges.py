"""Host patterns of an inventory: ``node[01:08]``, ``rack-[a:c]-n[1:9:2]``, ``gpu-01:2222``."""

from __future__ import annotations

import re
import string

MAX_NODES = 4096
"""Most nodes of one rack; a larger number is a slip of the keyboard."""

_PORT = re.compile(r"(?P<host>(?:[^:\[\]]|\[[^\]]*\])+):(?P<port>[0-9]{1,5})")
_RANGE = re.compile(
    r"\[(?P<begin>[0-9]*|[A-Za-z]):(?P<end>[0-9]+|[A-Za-z])(?::(?P<step>[0-9]+))?\]"
)


def expand(pattern: str) -> tuple[list[str], int | None]:
    """The names that a host pattern stands for, in order, and the port after it.

    Raises:
        ValueError: the pattern cannot be read, or stands for more than `MAX_NODES` names. The
            message says why.
    """
    port = None
    found = _PORT.fullmatch(pattern)
    if found:
        pattern, port = found["host"], int(found["port"])
        if not 1 <= port <= 65535:
            raise ValueError(f"{port} is not a port")
    names = [""]
    rest = pattern
    while rest:
        before, bracket, after = rest.partition("[")
        names = [name + before for name in names]
        if not bracket:
            break
        span = _RANGE.match(rest, len(before))
        if span is None:
            raise ValueError("a range is written [begin:end] or [begin:end:step]")
        parts = _span(span["begin"], span["end"], int(span["step"] or "1"))
        if len(names) * len(parts) > MAX_NODES:
            raise ValueError(f"this stands for more than {MAX_NODES} nodes")
        names = [name + part for name in names for part in parts]
        rest = rest[span.end() :]
        del after
    return names, port


def _span(begin: str, end: str, step: int) -> list[str]:
    if step < 1:
        raise ValueError("the step of a range is at least 1")
    if begin.isalpha() or end.isalpha():
        letters = string.ascii_letters
        if not (begin.isalpha() and end.isalpha()) or letters.index(begin) > letters.index(end):
            raise ValueError("a range of letters goes from one letter to a later one")
        return list(letters[letters.index(begin) : letters.index(end) + 1 : step])
    begin = begin or "0"
    width = len(begin) if begin[0] == "0" and len(begin) > 1 else 0
    if width and width != len(end):
        raise ValueError("with leading zeros, both ends of a range have as many digits")
    if len(begin) > 9 or len(end) > 9:
        raise ValueError("a range with numbers this large cannot be meant")
    low, high = int(begin), int(end)
    if low > high:
        raise ValueError("a range begins with the smaller number")
    numbers = range(low, high + 1, step)
    if len(numbers) > MAX_NODES:
        raise ValueError(f"this stands for more than {MAX_NODES} nodes")
    return [str(number).zfill(width) for number in numbers]
