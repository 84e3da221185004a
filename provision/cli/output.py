"""How verbs print: one JSON document on stdout, problems on stderr, colour only on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from provision.core.exitcodes import ExitCode
from provision.core.problems import Problem, by_position

ERROR_SCHEMA = "holdfast.error/1"

_STYLES = {
    "bold": "1",
    "dim": "2",
    "good": "32",
    "bad": "31",
    "warn": "33",
    "note": "36",
}


def print_document(doc: dict[str, Any], stream: TextIO | None = None) -> None:
    """Print the one JSON document of a verb that was called with `--json`."""
    out = sys.stdout if stream is None else stream
    print(json.dumps(doc, indent=2, ensure_ascii=False), file=out, flush=True)


def error_document(problems: Iterable[Problem], exit_code: ExitCode) -> dict[str, Any]:
    """The document that `--json` prints when a verb could not give its own."""
    return {
        "schema": ERROR_SCHEMA,
        "exit_code": int(exit_code),
        "problems": [p.to_json() for p in by_position(problems)],
    }


def print_problems(problems: Iterable[Problem], stream: TextIO | None = None) -> None:
    """Print problems in reading order, on stderr unless told otherwise."""
    out = sys.stderr if stream is None else stream
    for problem in by_position(problems):
        first, *rest = problem.render().split("\n")
        print(f"{style('error:', 'bad', out)} {first}", file=out)
        for line in rest:
            print(line, file=out)
    out.flush()


def coloured(stream: TextIO) -> bool:
    """Whether `stream` takes colour: a terminal that is not dumb, and NO_COLOR is not set."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def style(text: str, name: str, stream: TextIO | None = None) -> str:
    """`text` in the style `name` (bold, dim, good, bad, warn, note) where the stream takes it."""
    if not coloured(sys.stdout if stream is None else stream):
        return text
    return f"\x1b[{_STYLES[name]}m{text}\x1b[0m"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows as aligned lines below their headings; the last column is not padded."""
    cells = [tuple(headings), *(tuple(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
