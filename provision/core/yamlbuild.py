"""Builds plain data and positions from a YAML parser's events.

Events are refused one at a time: depth, number of values and what an alias expands to are bounded
before anything is built. `provision.core.yamlpos` is what other rooms use.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import yaml

from provision.core.problems import Position, Problem
from provision.core.shown import shown, shown_line

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

_RESOLVER: Any = yaml.resolver.Resolver()
_CONSTRUCTOR: Any = yaml.constructor.SafeConstructor()
_PREFIX = "tag:yaml.org,2002:"
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Tagged:
    """A scalar under a local tag that is left as it is, such as Ansible's ``!vault``."""

    tag: str
    text: str = field(repr=False)

    def __str__(self) -> str:
        return f"a {self.tag} value"


class Stop(Exception):
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


class Builder:
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

    def refuse(self, code: str, message: str, mark: Any, hint: str | None = None) -> None:
        """Note a problem at a parser mark (lines and columns from 0)."""
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        at = Position(self.file, line, column)
        self.problems.append(
            Problem(code, message, at, hint=hint, source=shown_line(self.lines, line))
        )
        if len(self.problems) >= MAX_PROBLEMS:
            raise Stop

    def stop(self, code: str, message: str, mark: Any, hint: str | None = None) -> Stop:
        """Note a problem after which nothing can be built; the caller raises what this returns."""
        self.refuse(code, message, mark, hint)
        return Stop()

    def feed(self, event: Any) -> None:
        """Take the next event.

        Raises:
            Stop: nothing can be built; `problems` says why.
        """
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


def _short_tag(tag: str) -> str:
    return shown("!!" + tag.removeprefix(_PREFIX) if tag.startswith(_PREFIX) else tag)
