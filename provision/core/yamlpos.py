"""YAML with positions: plain data, and for every value and key the place where it was written.

Built from the parser's events rather than from its node tree, because events can be refused one
at a time: depth, number of values and what an alias expands to are bounded before anything is
built, so that hostile text ends as a `Problem`. It reads; it never writes YAML and never runs
constructors of tags it does not know.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from provision.core.problems import Position, Problem
from provision.core.shown import printable, shown, shown_line
from provision.core.yamlbuild import Builder, KeyPath, Stop, Tagged

__all__ = [
    "KeyPath",
    "Tagged",
    "YamlDocument",
    "load_yaml",
    "parse_yaml",
    "printable",
    "read_text",
    "shown",
    "shown_line",
    "walk",
]

MAX_BYTES = 4 * 1024 * 1024
"""Largest file that is read, in bytes. An inventory of 2,000 nodes is about a quarter of it."""
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class YamlDocument:
    """One YAML file: its data, its lines, and where each value and key stands.

    Values that came by an alias have the alias's place; everything inside them answers with it.
    """

    file: str
    data: object
    lines: tuple[str, ...] = field(repr=False)
    values: dict[KeyPath, Position] = field(repr=False)
    keys: dict[KeyPath, Position] = field(repr=False)

    def at(self, path: KeyPath) -> Position:
        """Where the value at `path` begins, or the nearest enclosing value that is known."""
        for length in range(len(path), -1, -1):
            found = self.values.get(path[:length])
            if found is not None:
                return found
        return Position(self.file, 1, 1)

    def key_at(self, path: KeyPath) -> Position:
        """Where the key of `path` stands; for a sequence item, where the item begins."""
        return self.keys.get(path) or self.at(path)

    def source(self, position: Position) -> str | None:
        """The line that `position` points into, with what looks like a secret left out."""
        return shown_line(self.lines, position.line)

    def problem(
        self,
        code: str,
        message: str,
        path: KeyPath = (),
        *,
        key: bool = False,
        value: str | None = None,
        hint: str | None = None,
    ) -> Problem:
        """A problem with the value at `path`, or with its key."""
        at = self.key_at(path) if key else self.at(path)
        return Problem(code, message, at, value, hint, source=self.source(at))


def load_yaml(path: Path, name: str | None = None) -> tuple[YamlDocument | None, list[Problem]]:
    """Read one YAML file.

    Args:
        path: a regular file of at most `MAX_BYTES`.
        name: how to call the file in problems; `path` when absent.

    Returns:
        The document, or None when it could not be built, and all problems. A document may come
        with problems (duplicate keys), so that later mistakes can be found in the same go.
    """
    shown = name or str(path)
    text, problem = read_text(path, shown)
    if problem is not None:
        return None, [problem]
    return parse_yaml(text, shown)


def read_text(path: Path, name: str) -> tuple[str, Problem | None]:
    """The text of a regular, bounded UTF-8 file, or a problem that says why not."""

    def no(code: str, message: str, hint: str, line: int = 1, column: int = 1) -> Problem:
        return Problem(code, message, Position(name, line, column), hint=hint)

    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return "", no("not-a-file", "this is not a regular file", "give the path of a file")
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return "", no("missing-file", "this file does not exist", "check the path")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return "", no("unreadable-file", f"cannot be read: {reason}", "check its permissions")
    if len(raw) > MAX_BYTES:
        return "", no("too-large", f"larger than {MAX_BYTES} bytes", "split it into smaller files")
    try:
        return raw.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        line = before.count(b"\n") + 1
        message = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        return "", no("not-utf8", message, "save the file as UTF-8", line, column)


def parse_yaml(text: str, file: str) -> tuple[YamlDocument | None, list[Problem]]:
    """Build a document from text; see `load_yaml`. Empty text gives a document with None."""
    builder = Builder(file, tuple(text.splitlines()))
    loader = None
    try:
        loader = _LOADER(text)
        while loader.check_event():
            builder.feed(loader.get_event())
    except Stop:
        return None, builder.problems
    except yaml.MarkedYAMLError as error:
        found = error.problem_mark or error.context_mark
        hint = "this is a tab; indent with spaces" if _is_tab(text, found) else None
        builder.refuse("yaml-syntax", _words(error), found, hint)
        return None, builder.problems
    except yaml.reader.ReaderError as error:
        code_point, before = _refused(error, text)
        mark = _Mark(before.count("\n"), len(before) - (before.rfind("\n") + 1))
        message = f"the character U+{code_point:04X} is not allowed in YAML"
        builder.refuse("yaml-syntax", message, mark)
        return None, builder.problems
    except yaml.YAMLError as error:
        builder.refuse("yaml-syntax", f"cannot be read as YAML: {error}", None)
        return None, builder.problems
    finally:
        if loader is not None:
            loader.dispose()
    document = YamlDocument(file, builder.root, builder.lines, builder.values, builder.keys)
    return document, builder.problems


def walk(data: object, path: KeyPath = ()) -> Iterator[tuple[KeyPath, object]]:
    """Every value in `data` with its path, containers before what they hold."""
    waiting: list[tuple[KeyPath, object]] = [(path, data)]
    while waiting:
        here, value = waiting.pop()
        yield here, value
        if isinstance(value, dict):
            waiting.extend(((*here, k), v) for k, v in reversed(value.items()))
        elif isinstance(value, list):
            waiting.extend(((*here, i), v) for i, v in reversed(list(enumerate(value))))


@dataclass(frozen=True)
class _Mark:
    line: int
    column: int


def _words(error: yaml.MarkedYAMLError) -> str:
    """The parser's complaint in one sentence, without the places it repeats."""
    begun = f" that begins on line {error.context_mark.line + 1}" if error.context_mark else ""
    context = f"{error.context}{begun}" if error.context else None
    parts = [part for part in (error.problem, context) if part]
    return "not valid YAML: " + ", ".join(parts) if parts else "not valid YAML"


def _is_tab(text: str, mark: Any) -> bool:
    if mark is None:
        return False
    line = text.split("\n")[mark.line : mark.line + 1]
    return bool(line) and line[0][mark.column : mark.column + 1] == "\t"


def _refused(error: yaml.reader.ReaderError, text: str) -> tuple[int, str]:
    """The code point of the character that was refused, and the text before it."""
    given: Any = error.character
    code_point = given if isinstance(given, int) else ord(given)
    if error.encoding == "unicode":
        return code_point, text[: error.position]
    # The C parser counts bytes.
    return code_point, text.encode()[: error.position].decode("utf-8", "replace")
