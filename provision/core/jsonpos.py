"""JSON with positions: plain data, and for every value and key the place where it was written.

Stricter than the standard reader: a key twice, NaN and halves of surrogate pairs are refused,
and nesting is bounded, so that hostile text ends as a `Problem`.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from provision.core.problems import Position, Problem

MAX_DEPTH = 32
"""Deepest nesting that is read."""
MAX_BYTES = 64 * 1024 * 1024
"""Largest file that is read, in bytes."""

JsonPath = tuple[str | int, ...]
"""The way to a value: object keys and array indexes from the root."""

_SPACE = re.compile(r"[ \t\n\r]*")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class JsonDocument:
    """One JSON text: its data, and where each value and key begins (offsets into `text`)."""

    file: str
    data: Any
    text: str = field(repr=False)
    values: dict[JsonPath, int] = field(repr=False)
    keys: dict[JsonPath, int] = field(repr=False)
    _lines: tuple[int, ...] = field(repr=False, default=())

    def position(self, offset: int) -> Position:
        """Line and column of an offset."""
        starts = self._lines
        line = bisect_right(starts, offset)
        return Position(self.file, line, offset - starts[line - 1] + 1)

    def problem(
        self,
        code: str,
        message: str,
        path: JsonPath = (),
        *,
        key: bool = False,
        value: str | None = None,
        hint: str | None = None,
    ) -> Problem:
        """A problem with the value at `path` (or with its key), or the nearest that encloses it."""
        offset = self.keys.get(path) if key else None
        while offset is None:
            offset = self.values.get(path)
            path = path[:-1]
        return self.problem_at(code, message, offset, value=value, hint=hint)

    def problem_at(
        self,
        code: str,
        message: str,
        offset: int,
        *,
        value: str | None = None,
        hint: str | None = None,
    ) -> Problem:
        """A problem at an offset into the text."""
        at = self.position(offset)
        start = self._lines[at.line - 1]
        line = self.text[start : start + 200].split("\n")[0]
        shown = "".join(c if c.isprintable() else " " for c in line)
        return Problem(code, message, at, value, hint, source=shown)


class _Refused(Exception):
    def __init__(self, code: str, message: str, offset: int) -> None:
        super().__init__(message)
        self.code = code
        self.offset = offset


def load_json(path: Path, name: str | None = None) -> tuple[JsonDocument | None, list[Problem]]:
    """Read one JSON file, called `name` in problems (its path when None).

    Returns:
        The document, or None when it could not be read, and what is wrong with it.
    """
    file = name or str(path)
    start = Position(file, 1, 1)
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        message = "this file does not exist"
        return None, [Problem("missing-file", message, start, hint="check the path")]
    except IsADirectoryError:
        return None, [Problem("not-a-file", "this is a folder", start, hint="give the file itself")]
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        return None, [Problem("unreadable-file", message, start, hint="check its permissions")]
    if len(raw) > MAX_BYTES:
        return None, [Problem("too-large", f"larger than {MAX_BYTES} bytes", start)]
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"byte {error.start} of the file is not UTF-8"
        return None, [Problem("not-utf8", message, start, hint="save the file as UTF-8")]
    return parse_json(text, file)


def parse_json(text: str, file: str) -> tuple[JsonDocument | None, list[Problem]]:
    """Read JSON text; see `load_json`."""
    starts = (0, *(m.end() for m in re.finditer("\n", text)))
    reader = _Reader(text)
    try:
        data = reader.document()
    except _Refused as error:
        blank = JsonDocument(file, None, text, {(): 0}, {}, starts)
        return None, [blank.problem_at(error.code, str(error), error.offset)]
    document = JsonDocument(file, data, text, reader.values, reader.keys, starts)
    return document, [
        document.problem_at(
            "duplicate-key", f"the key {key!r} is here twice", offset, hint="remove one of them"
        )
        for key, offset in reader.repeated
    ]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class _Reader:
    """Walks objects and arrays itself, and leaves strings and numbers to the standard decoder."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.values: dict[JsonPath, int] = {}
        self.keys: dict[JsonPath, int] = {}
        self.repeated: list[tuple[str, int]] = []
        self._scalar = json.JSONDecoder(parse_constant=_no_constant).raw_decode

    def document(self) -> Any:
        data, end = self._value(self._skip(0), ())
        end = self._skip(end)
        if end != len(self.text):
            raise self._refuse("something follows the end of the document", end)
        return data

    def _skip(self, at: int) -> int:
        found = _SPACE.match(self.text, at)
        return found.end() if found else at

    def _refuse(self, what: str, at: int) -> _Refused:
        return _Refused("json-syntax", f"not valid JSON: {what}", min(at, len(self.text)))

    def _value(self, at: int, path: JsonPath) -> tuple[Any, int]:
        if len(path) > MAX_DEPTH:
            raise _Refused("too-deep", f"nested deeper than {MAX_DEPTH} levels", at)
        self.values[path] = at
        opening = self.text[at : at + 1]
        if opening == "{":
            return self._object(at, path)
        if opening == "[":
            return self._array(at, path)
        try:
            value, end = self._scalar(self.text, at)
        except json.JSONDecodeError as error:
            raise self._refuse(error.msg.lower(), error.pos) from None
        except ValueError as error:
            raise self._refuse(str(error), at) from None
        if isinstance(value, str) and _SURROGATE.search(value):
            raise self._refuse("half of a surrogate pair is not a character", at)
        return value, end

    def _object(self, at: int, path: JsonPath) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        at = self._skip(at + 1)
        if self.text[at : at + 1] == "}":
            return found, at + 1
        while True:
            if self.text[at : at + 1] != '"':
                raise self._refuse("a key in double quotes is expected here", at)
            begins = at
            key, at = self._value(at, (*path, ""))
            del self.values[*path, ""]
            if key in found:
                self.repeated.append((key, begins))
            self.keys[*path, key] = begins
            at = self._skip(at)
            if self.text[at : at + 1] != ":":
                raise self._refuse("a colon is expected here", at)
            found[key], at = self._value(self._skip(at + 1), (*path, key))
            at = self._skip(at)
            if self.text[at : at + 1] == "}":
                return found, at + 1
            at = self._comma(at, "}")

    def _array(self, at: int, path: JsonPath) -> tuple[list[Any], int]:
        found: list[Any] = []
        at = self._skip(at + 1)
        if self.text[at : at + 1] == "]":
            return found, at + 1
        while True:
            value, at = self._value(at, (*path, len(found)))
            found.append(value)
            at = self._skip(at)
            if self.text[at : at + 1] == "]":
                return found, at + 1
            at = self._comma(at, "]")

    def _comma(self, at: int, closing: str) -> int:
        if self.text[at : at + 1] != ",":
            raise self._refuse(f"a comma or {closing!r} is expected here", at)
        return self._skip(at + 1)
