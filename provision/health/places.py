"""JSON that knows where each value stands, so that a mistake can be shown with line and column."""

from __future__ import annotations

import json
from typing import Any

_SPACE = " \t\r\n"


def _no_number(word: str) -> None:
    raise ValueError(word)


_DECODER = json.JSONDecoder(parse_constant=_no_number)


class Mistake(Exception):
    """Input that cannot be used: `problems` are whole sentences with their place."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Placed:
    """A JSON document and the offset of every value in it, by its path of keys and indices."""

    def __init__(self, text: str, name: str) -> None:
        """Read `text`; `name` is what messages call it.

        Raises:
            Mistake: it is not JSON, or an object has a key twice.
        """
        self.text, self.name = text, name
        self.offsets: dict[tuple[Any, ...], int] = {}
        self._problems: list[str] = []
        try:
            self.value, end = self._read(0, ())
            end = self._skip(end)
            if end != len(text):
                raise json.JSONDecodeError("more text after the document", text, end)
        except json.JSONDecodeError as error:
            raise Mistake([f"{name}:{error.lineno}:{error.colno}: {error.msg}"]) from error
        except RecursionError as error:
            raise Mistake([f"{name}:1:1: nested too deeply"]) from error
        if self._problems:
            raise Mistake(self._problems)

    def at(self, *path: Any) -> str:
        """``file:line:column`` of the value at `path`, or of the nearest one above it."""
        while path and path not in self.offsets:
            path = path[:-1]
        offset = self.offsets.get(path, 0)
        line = self.text.count("\n", 0, offset) + 1
        column = offset - self.text.rfind("\n", 0, offset)
        return f"{self.name}:{line}:{column}"

    def _skip(self, at: int) -> int:
        while at < len(self.text) and self.text[at] in _SPACE:
            at += 1
        return at

    def _read(self, at: int, path: tuple[Any, ...]) -> tuple[Any, int]:
        at = self._skip(at)
        self.offsets[path] = at
        first = self.text[at : at + 1]
        if first == "{":
            return self._object(at + 1, path)
        if first == "[":
            return self._array(at + 1, path)
        try:
            value, end = _DECODER.raw_decode(self.text, at)
            return value, end
        except json.JSONDecodeError:
            raise
        except (ValueError, IndexError) as error:
            raise json.JSONDecodeError("a value was expected", self.text, at) from error

    def _object(self, at: int, path: tuple[Any, ...]) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        at = self._skip(at)
        if self.text[at : at + 1] == "}":
            return found, at + 1
        while True:
            at = self._skip(at)
            if self.text[at : at + 1] != '"':
                raise json.JSONDecodeError("a key in double quotes was expected", self.text, at)
            place = at
            key, at = _DECODER.raw_decode(self.text, at)
            at = self._skip(at)
            if self.text[at : at + 1] != ":":
                raise json.JSONDecodeError("a colon was expected", self.text, at)
            if key in found:
                self.offsets[(*path, key)] = place
                self._problems.append(f"{self.at(*path, key)}: the key {key!r} is there twice")
            found[key], at = self._read(at + 1, (*path, key))
            at, ended = self._next(at, "}")
            if ended:
                return found, at

    def _array(self, at: int, path: tuple[Any, ...]) -> tuple[list[Any], int]:
        found: list[Any] = []
        at = self._skip(at)
        if self.text[at : at + 1] == "]":
            return found, at + 1
        while True:
            value, at = self._read(at, (*path, len(found)))
            found.append(value)
            at, ended = self._next(at, "]")
            if ended:
                return found, at

    def _next(self, at: int, end: str) -> tuple[int, bool]:
        at = self._skip(at)
        mark = self.text[at : at + 1]
        if mark == end:
            return at + 1, True
        if mark != ",":
            raise json.JSONDecodeError(f"a comma or {end!r} was expected", self.text, at)
        return at + 1, False
