"""Problems: what is wrong, where, why, and what to do about it.

Every room reports mistakes as `Problem` values and lets the command decide how to show them.
Nothing here prints or exits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from provision.core.exitcodes import ExitCode


@dataclass(frozen=True, order=True)
class Position:
    """A place in a text file. `line` and `column` count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Problem:
    """One mistake, with what a person needs to mend it.

    `code` is a short stable word (``unknown-key``), `value` the offending value as text,
    `where` a node or unit when the mistake is not in a file, `source` the line of text that
    `position` points into.
    """

    code: str
    message: str
    position: Position | None = None
    value: str | None = None
    hint: str | None = None
    where: str | None = None
    source: str | None = None

    def render(self) -> str:
        """The problem as text: one line, then the source line with a caret, then the hint."""
        place = self.position or self.where
        lines = [f"{place}: {self.message}" if place else self.message]
        if self.source is not None and self.position is not None:
            text = self.source.rstrip("\n").replace("\t", " ")
            lines.append(f"    {text}")
            lines.append("    " + " " * max(self.position.column - 1, 0) + "^")
        if self.hint:
            lines.append(f"    hint: {self.hint}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The problem as plain data for `--json`; absent parts are null."""
        at = self.position
        return {
            "code": self.code,
            "message": self.message,
            "file": at.file if at else None,
            "line": at.line if at else None,
            "column": at.column if at else None,
            "value": self.value,
            "where": self.where,
            "hint": self.hint,
        }


def by_position(problems: Iterable[Problem]) -> list[Problem]:
    """Problems in reading order; those without a position come last."""
    return sorted(
        problems,
        key=lambda p: (
            p.position is None,
            p.position or Position("", 0, 0),
            p.where or "",
            p.message,
        ),
    )


@dataclass
class HoldfastError(Exception):
    """A failure that a person can act on. Commands print its problems and use its exit code.

    `code` of the first problem is the machine's word for the reason (``locked``, ``unreachable``).
    """

    problems: list[Problem] = field(default_factory=list)
    exit_code: ExitCode = ExitCode.NOT_DONE

    def __str__(self) -> str:
        return "\n".join(p.render() for p in self.problems)


def fail(
    code: str,
    message: str,
    *,
    hint: str | None = None,
    where: str | None = None,
    exit_code: ExitCode = ExitCode.NOT_DONE,
) -> HoldfastError:
    """A `HoldfastError` with one problem; the caller raises it."""
    return HoldfastError([Problem(code, message, hint=hint, where=where)], exit_code)
