"""SELinux labels: what a policy's file_contexts says of a path, and ``labels.tsv``.

The columns of ``labels.tsv``, separated by a tab: path (a JSON string), label. Paths that get none
are not in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from provision.core.problems import Position, Problem, fail

_META = set(".^$?*+|[({")
_TYPES = {"--": "f", "-d": "d", "-l": "l", "-c": "c", "-b": "b", "-p": "p", "-s": "s"}


@dataclass(frozen=True)
class Text:
    """A file of a policy: its name for people, and what it holds."""

    name: str
    text: str


@dataclass(frozen=True)
class _Spec:
    """One line: `kind` is a type of path as files.tsv has it, or nothing for every type."""

    pattern: re.Pattern[str]
    kind: str
    label: str | None
    rank: tuple[bool, int]


class Matcher:
    """Says the label of a path by a policy's files, as libselinux does.

    The last line that matches wins, and one that names a single path wins over patterns
    (libselinux, label_file.c).

    Args:
        contexts: file_contexts, file_contexts.homedirs and file_contexts.local, in that order.
        aliases: file_contexts.subs and file_contexts.subs_dist, in that order: where one path
            begins as another, it is labelled as if it lay there.

    Raises:
        HoldfastError: a line is none of a file_contexts.
    """

    def __init__(self, contexts: Sequence[Text], aliases: Sequence[Text] = ()) -> None:
        self._by_start: dict[str, list[_Spec]] = {}
        number = 0
        for text in contexts:
            for line, words in _lines(text):
                start, spec = _spec(words, number, Position(text.name, line, 1))
                self._by_start.setdefault(start, []).append(spec)
                number += 1
        for specs in self._by_start.values():
            specs.sort(key=lambda spec: spec.rank, reverse=True)
        self.count = number
        self._lengths = sorted({len(start) for start in self._by_start})
        self._aliases = [
            [(words[0], words[1]) for _, words in _lines(text) if len(words) == 2]
            for text in aliases
        ]

    def label(self, path: str, kind: str) -> str | None:
        """The label of a path, or None where the policy gives it none."""
        for aliases in self._aliases:
            path = _elsewhere(path, aliases)
        best: _Spec | None = None
        for length in self._lengths:
            if length > len(path):
                break
            for spec in self._by_start.get(path[:length], ()):
                if best is not None and spec.rank < best.rank:
                    break
                if (not spec.kind or spec.kind == kind) and spec.pattern.fullmatch(path):
                    best = spec
                    break
        return None if best is None else best.label


def _lines(text: Text) -> Iterable[tuple[int, list[str]]]:
    for number, line in enumerate(text.text.splitlines(), start=1):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield number, words


def _spec(words: Sequence[str], number: int, at: Position) -> tuple[str, _Spec]:
    kind = _TYPES.get(words[1], "?") if len(words) == 3 else ""
    try:
        if len(words) not in (2, 3) or kind == "?":
            raise ValueError("it has a path, perhaps a type, and a label")
        pattern = re.compile(words[0], re.DOTALL)
    except (ValueError, re.error) as error:
        message = f"this is no line of a file_contexts: {error}"
        problem = fail("bad-contexts", message)
        problem.problems[:] = [Problem("bad-contexts", message, at, value=" ".join(words))]
        raise problem from None
    start, exact = _literal(words[0])
    label = None if words[-1] == "<<none>>" else words[-1]
    return start, _Spec(pattern, kind, label, (exact, number))


def _literal(pattern: str) -> tuple[str, bool]:
    """What every path that matches begins with, and whether that is all of the pattern."""
    found: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\" and at + 1 < len(pattern) and not pattern[at + 1].isalnum():
            found.append(pattern[at + 1])
            at += 2
            continue
        if char in _META or char == "\\":
            if char in "?*{":
                found[-1:] = []
            if "|" in pattern[at:] and _outside(pattern):
                return "", False
            return "".join(found), False
        found.append(char)
        at += 1
    return "".join(found), True


def _outside(pattern: str) -> bool:
    """Whether an alternative stands outside of every bracket."""
    depth = 0
    for before, char in zip(" " + pattern, pattern, strict=False):
        if before == "\\":
            continue
        depth += (char in "([") - (char in ")]")
        if char == "|" and depth == 0:
            return True
    return False


def _elsewhere(path: str, aliases: Sequence[tuple[str, str]]) -> str:
    for source, target in reversed(aliases):
        if path == source or path.startswith(f"{source}/"):
            return target + path[len(source) :]
    return path


def read_labels(path: Path) -> dict[str, str]:
    """Labels by path; a file that is not there holds none.

    Raises:
        ValueError: a line is not what is described above.
    """
    if not path.exists():
        return {}
    found = {}
    for line in path.read_text(encoding="ascii").splitlines():
        name, label = line.split("\t")
        found[str(json.loads(name))] = label
    return found


def written(labels: Iterable[tuple[str, str]]) -> str:
    """The text of a ``labels.tsv``."""
    return "".join(f"{json.dumps(path)}\t{label}\n" for path, label in labels)
