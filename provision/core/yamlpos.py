"""YAML with positions: plain data, and for every value and key the place where it was written.

Built from the parser's events rather than from its node tree, because events can be refused one
at a time: depth, number of values and what an alias expands to are bounded before anything is
built, so that hostile text ends as a `Problem`. It reads; it never writes YAML and never runs
constructors of tags it does not know.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from provision.core.problems import Position, Problem

MAX_BYTES = 4 * 1024 * 1024
"""Largest file that is read, in bytes. An inventory of 2,000 nodes is about a quarter of it."""
MAX_DEPTH = 48
"""Deepest nesting, aliases followed."""
MAX_VALUES = 300_000
"""Most values in one document, aliases expanded."""
MAX_PROBLEMS = 100
"""Reading stops after this many: whoever has more than these mends them first."""
MAX_NUMBER_BITS = 1024
"""Larger whole numbers cannot be meant and cannot be printed."""

KeyPath = tuple[Hashable, ...]
"""The way to a value: mapping keys and sequence indexes from the root."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER: Any = yaml.resolver.Resolver()
_CONSTRUCTOR: Any = yaml.constructor.SafeConstructor()
_PREFIX = "tag:yaml.org,2002:"
_SURROGATE = re.compile("[\ud800-\udfff]")
_SECRET_LINE = re.compile(
    r"(?i)((?:[\w.-]*(?:password|passwd|passphrase|secret|token|api[_-]?key|private[_-]?key"
    r"|tls[_-]\w+|_pass))[\"']?\s*:\s*)\S.*"
)
_SECRET_URL = re.compile(r"(://)[^/\s@]+@")


@dataclass(frozen=True)
class Tagged:
    """A scalar under a local tag that is left as it is, such as Ansible's ``!vault``."""

    tag: str
    text: str = field(repr=False)


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


def shown_line(lines: tuple[str, ...], number: int) -> str | None:
    """Line `number` (from 1) fit for a terminal: printable, short, and without secrets."""
    if not 1 <= number <= len(lines):
        return None
    text = _SECRET_URL.sub(r"\1(not shown)@", lines[number - 1][:200])
    text = _SECRET_LINE.sub(r"\1(not shown)", text)
    return "".join(c if c.isprintable() else " " if c == "\t" else "\N{MIDDLE DOT}" for c in text)


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
    builder = _Builder(file, tuple(text.splitlines()))
    loader = None
    try:
        loader = _LOADER(text)
        while loader.check_event():
            builder.feed(loader.get_event())
    except _Stop:
        return None, builder.problems
    except yaml.MarkedYAMLError as error:
        builder.refuse("yaml-syntax", _words(error), error.problem_mark or error.context_mark)
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
    return builder.document(), builder.problems


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


class _Stop(Exception):
    """The document cannot be built; the problem is already noted."""


_NO_KEY = object()


@dataclass
class _Built:
    """A finished value: how many values it holds and how deep it is, aliases expanded."""

    value: object
    size: int = 1
    height: int = 0


@dataclass
class _Frame:
    """A container being filled."""

    container: dict[Hashable, object] | list[object]
    path: KeyPath
    anchor: str | None
    key: object = _NO_KEY
    merges: list[tuple[dict[Hashable, object], Position]] = field(default_factory=list)
    size: int = 1
    height: int = 1

    def child_path(self) -> KeyPath:
        """The path that the next value will have."""
        if isinstance(self.container, list):
            return (*self.path, len(self.container))
        return (*self.path, self.key) if self.key is not _NO_KEY else self.path


class _Merge:
    """The key ``<<`` written plainly."""


_MERGE = _Merge()


class _Builder:
    """Takes parser events in order and builds data and positions."""

    def __init__(self, file: str, lines: tuple[str, ...]) -> None:
        self.file = file
        self.lines = lines
        self.problems: list[Problem] = []
        self.values: dict[KeyPath, Position] = {}
        self.keys: dict[KeyPath, Position] = {}
        self.anchors: dict[str, _Built | None] = {}
        self.stack: list[_Frame] = []
        self.root: object = None
        self.documents = 0

    def document(self) -> YamlDocument:
        return YamlDocument(self.file, self.root, self.lines, self.values, self.keys)

    def refuse(self, code: str, message: str, mark: Any, hint: str | None = None) -> None:
        """Note a problem at a parser mark (lines and columns from 0)."""
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        at = Position(self.file, line, column)
        self.problems.append(
            Problem(code, message, at, hint=hint, source=shown_line(self.lines, line))
        )
        if len(self.problems) >= MAX_PROBLEMS:
            raise _Stop

    def stop(self, code: str, message: str, mark: Any, hint: str | None = None) -> _Stop:
        self.refuse(code, message, mark, hint)
        return _Stop()

    def feed(self, event: Any) -> None:
        mark = event.start_mark
        if isinstance(event, yaml.ScalarEvent):
            self._open(event.anchor)
            self._close(_Built(self._scalar(event)), event.anchor, mark)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._start(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._end(mark)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                hint = "keep one document in a file; remove the '---' and what follows it"
                raise self.stop(
                    "several-documents", "a second YAML document begins here", mark, hint
                )

    def _place(self, mark: Any) -> Position:
        return Position(self.file, mark.line + 1, mark.column + 1)

    def _open(self, anchor: str | None) -> None:
        if anchor is not None:
            self.anchors[anchor] = None  # being built: an alias to it from inside is endless

    def _start(self, event: Any) -> None:
        mark = event.start_mark
        frame = self.stack[-1] if self.stack else None
        if len(self.stack) >= MAX_DEPTH:
            raise self.stop("too-deep", f"nested deeper than {MAX_DEPTH} levels", mark)
        if frame and isinstance(frame.container, dict) and frame.key is _NO_KEY:
            hint = "if this is Ansible's {{ ... }}, put the whole value in quotes"
            raise self.stop("bad-key", "a mapping or list cannot be a key", mark, hint)
        mapping = isinstance(event, yaml.MappingStartEvent)
        plain = (None, "!", _PREFIX + ("map" if mapping else "seq"))
        if event.tag not in plain:
            self.refuse("unknown-tag", f"the tag {_short_tag(event.tag)} is not known here", mark)
        self._open(event.anchor)
        path = frame.child_path() if frame else ()
        self.values[path] = self._place(mark)
        self.stack.append(_Frame({} if mapping else [], path, event.anchor))

    def _end(self, mark: Any) -> None:
        frame = self.stack.pop()
        if isinstance(frame.container, dict):
            self._merge(frame, frame.container)
        built = _Built(frame.container, frame.size, frame.height)
        self._close(built, frame.anchor, mark, placed=True)

    def _alias(self, event: Any) -> None:
        mark, name = event.start_mark, event.anchor
        if name not in self.anchors:
            raise self.stop("unknown-alias", f"no anchor is called {name!r} before here", mark)
        built = self.anchors[name]
        if built is None:
            raise self.stop("endless-alias", f"the alias {name!r} contains itself", mark)
        self._close(built, None, mark)

    def _close(self, built: _Built, anchor: str | None, mark: Any, placed: bool = False) -> None:
        """Hand a finished value to its parent."""
        if anchor is not None:
            self.anchors[anchor] = built
        if not self.stack:
            self.root = built.value
            if not placed:
                self.values.setdefault((), self._place(mark))
            return
        frame = self.stack[-1]
        frame.size += built.size
        frame.height = max(frame.height, built.height + 1)
        if frame.size > MAX_VALUES:
            raise self.stop("too-many-values", f"more than {MAX_VALUES} values", mark)
        if len(self.stack) + built.height > MAX_DEPTH:
            raise self.stop("too-deep", f"nested deeper than {MAX_DEPTH} levels", mark)
        if isinstance(frame.container, list):
            self._set_place(frame, mark, placed)
            frame.container.append(built.value)
        elif frame.key is _NO_KEY:
            self._take_key(frame, frame.container, built.value, mark)
        else:
            self._take_value(frame, frame.container, built.value, mark, placed)

    def _set_place(self, frame: _Frame, mark: Any, placed: bool) -> None:
        if not placed:
            self.values[frame.child_path()] = self._place(mark)

    def _take_key(
        self, frame: _Frame, container: dict[Hashable, object], key: object, mark: Any
    ) -> None:
        if isinstance(key, dict | list | Tagged):
            raise self.stop("bad-key", "a mapping, list or tagged value cannot be a key", mark)
        frame.key = key
        if isinstance(key, _Merge):
            return
        path = (*frame.path, key)
        if key in container:
            first = self.keys[path]
            message = f"the key {shown(key)} is here twice; the first is on line {first.line}"
            self.refuse("duplicate-key", message, mark, "remove one of them")
        # The last one counts in YAML 1.1, so later checks look at that one.
        self.keys[path] = self._place(mark)

    def _take_value(
        self,
        frame: _Frame,
        container: dict[Hashable, object],
        value: object,
        mark: Any,
        placed: bool,
    ) -> None:
        key, path = frame.key, frame.child_path()
        frame.key = _NO_KEY
        if isinstance(key, _Merge):
            place = self._place(mark)
            for part in value if isinstance(value, list) else [value]:
                if not isinstance(part, dict):
                    raise self.stop("bad-merge", "'<<' takes a mapping or a list of mappings", mark)
                frame.merges.append((part, place))
            return
        assert isinstance(key, Hashable)
        if not placed:
            self.values[path] = self._place(mark)
        container[key] = value

    def _merge(self, frame: _Frame, container: dict[Hashable, object]) -> None:
        for part, place in frame.merges:
            for key, value in part.items():
                if key not in container:
                    container[key] = value
                    self.keys[(*frame.path, key)] = place
                    self.values[(*frame.path, key)] = place

    def _scalar(self, event: Any) -> object:
        tag, text, mark = event.tag, event.value, event.start_mark
        if _SURROGATE.search(text):
            self.refuse("bad-scalar", "half of a surrogate pair is not a character", mark)
            return ""
        if tag is None or tag == "!":
            tag = _RESOLVER.resolve(yaml.ScalarNode, text, event.implicit)
        if tag == _PREFIX + "str" or tag == "!unsafe":
            return text
        if tag == _PREFIX + "merge":
            frame = self.stack[-1] if self.stack else None
            is_key = frame and isinstance(frame.container, dict) and frame.key is _NO_KEY
            return _MERGE if is_key else text
        if tag in ("!vault", "!vault-encrypted"):
            return Tagged("!vault", text)
        build = _BUILD.get(tag)
        if build is None:
            self.refuse("unknown-tag", f"the tag {_short_tag(tag)} is not known here", mark)
            return text
        try:
            value = build(yaml.ScalarNode(tag, text))
        except (ValueError, LookupError, OverflowError, AttributeError, yaml.YAMLError):
            value = None
            self._not_a(tag, text, mark)
        if isinstance(value, int) and value.bit_length() > MAX_NUMBER_BITS:
            self._not_a(tag, text, mark)
            return 0
        return value

    def _not_a(self, tag: str, text: str, mark: Any) -> None:
        what = tag.removeprefix(_PREFIX)
        message = f"{shown(text)} looks like a YAML {what} and cannot be one"
        self.refuse("bad-scalar", message, mark, "put it in quotes if it is text")


_BUILD: dict[str, Any] = {
    _PREFIX + "null": _CONSTRUCTOR.construct_yaml_null,
    _PREFIX + "bool": _CONSTRUCTOR.construct_yaml_bool,
    _PREFIX + "int": _CONSTRUCTOR.construct_yaml_int,
    _PREFIX + "float": _CONSTRUCTOR.construct_yaml_float,
    _PREFIX + "timestamp": _CONSTRUCTOR.construct_yaml_timestamp,
}


def shown(value: object, limit: int = 60) -> str:
    """A value in a message: as YAML would write it, printable, on one line, cut to `limit`."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Tagged):
        return f"a {value.tag} value"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, str):
        text = value[:limit] + ("..." if len(value) > limit else "")
        return repr(text)
    return str(value)[:limit]


def _short_tag(tag: str) -> str:
    return shown("!!" + tag.removeprefix(_PREFIX) if tag.startswith(_PREFIX) else tag)


def _words(error: yaml.MarkedYAMLError) -> str:
    """The parser's complaint in one sentence, without the places it repeats."""
    begun = f" that begins on line {error.context_mark.line + 1}" if error.context_mark else ""
    context = f"{error.context}{begun}" if error.context else None
    parts = [part for part in (error.problem, context) if part]
    return "not valid YAML: " + ", ".join(parts) if parts else "not valid YAML"


def _refused(error: yaml.reader.ReaderError, text: str) -> tuple[int, str]:
    """The code point of the character that was refused, and the text before it."""
    given: Any = error.character
    code_point = given if isinstance(given, int) else ord(given)
    if error.encoding == "unicode":
        return code_point, text[: error.position]
    # The C parser counts bytes.
    return code_point, text.encode()[: error.position].decode("utf-8", "replace")
