"""How verbs print: one JSON document on stdout, problems on stderr, colour only on a terminal."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TextIO

from provision.core.exitcodes import ExitCode
from provision.core.problems import Problem, by_position

ERROR_SCHEMA = "holdfast.error/1"

_CARET = re.compile(r" {4,}\^")
_COMMAND = re.compile(r"`[^`]*`")
_KEPT = "\0"
"""Stands for a blank that is not folded at."""
_PROSE = 28
"""Columns that a table's last cell, which is prose, is not to have less of beside the others."""
_BELOW = "    "
"""What cells that stand below the first ones begin with."""

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
    width = width_of(out)
    for problem in by_position(problems):
        first, *rest = problem.render().split("\n")
        first, *more = folded(f"error: {first}", width, " " * 4)
        print(style("error:", "bad", out) + first.removeprefix("error:"), file=out)
        for line in [*more, *_fitted(rest, width)]:
            print(line, file=out)
    out.flush()


def _fitted(lines: Sequence[str], width: int | None) -> Iterator[str]:
    """What stands below a problem's first line: the hint folded, the source cut to its caret."""
    left_out = 0
    for number, line in enumerate(lines):
        after = lines[number + 1] if number + 1 < len(lines) else ""
        if line.startswith("    hint: "):
            yield from folded(line, width, " " * 10)
        elif width is not None and _CARET.fullmatch(after) and len(line) > width:
            # What comes before is left out too, as far as the caret would not be seen.
            left_out = max(len(after) + 8 - width, 0)
            begin = "    …" + line[5 + left_out :] if left_out else line
            yield begin if len(begin) <= width else begin[: width - 1] + "…"
        else:
            yield line[left_out:] if _CARET.fullmatch(line) else line
            left_out = 0


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


def width_of(stream: TextIO | None = None) -> int | None:
    """Columns of the terminal that `stream` is; None where it is none, and nothing is folded."""
    out = sys.stdout if stream is None else stream
    return shutil.get_terminal_size().columns if out.isatty() else None


class Screen(NamedTuple):
    """What a person sees standard output on: columns, and whether it takes colour and glyphs."""

    width: int
    colour: bool
    unicode: bool


def screen() -> Screen:
    """What standard output is; where it is no terminal, what COLUMNS and FORCE_COLOR say."""
    from provision.verdict.terminal import colour_wanted

    return Screen(
        shutil.get_terminal_size().columns,
        colour_wanted(os.environ, tty=sys.stdout.isatty()),
        (sys.stdout.encoding or "").lower().startswith("utf"),
    )


def folded(text: str, width: int | None, indent: str = "") -> list[str]:
    """`text` in lines of at most `width` columns, those after the first behind `indent`.

    Only blanks are folded at: a path or a digest that is longer stays in one piece. So does a
    command, because a part of it that is pasted into a shell would be another command.
    """
    if width is None or len(text) <= width:
        return [text]
    # What stands before the first word is the text's own.
    own = text[: len(text) - len(text.lstrip())]
    whole = _COMMAND.sub(lambda found: found[0].replace(" ", _KEPT), text.lstrip())
    lines = textwrap.wrap(
        whole,
        max(width, len(indent) + 20),
        initial_indent=own,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_KEPT, " ") for line in lines]


def table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], width: int | None = None
) -> list[str]:
    """Rows as aligned lines below their headings; see `rows_of` for `width`."""
    return [line for row in rows_of(headings, rows, width) for line in row]


def rows_of(
    headings: Sequence[str], rows: Iterable[Sequence[str]], width: int | None = None
) -> list[list[str]]:
    """The lines of each row, the headings' first; the last column is not padded.

    Where a row is wider than `width` columns, its last cells stand below the first ones, and the
    very last one, which is prose, is folded.
    """
    cells = [tuple(headings), *(tuple(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]
    parts = _parts(widths, width)
    return [[line for part in parts for line in _part(row, widths, part, width)] for row in cells]


def _parts(widths: Sequence[int], width: int | None) -> list[range]:
    """Which columns stand side by side: as many as fit, and the next ones below."""
    if width is None:
        return [range(len(widths))]
    begins, used = [0], 0
    for column, wide in enumerate(widths):
        needed = min(wide, _PROSE) if column == len(widths) - 1 else wide
        if column > begins[-1] and used + needed > width:
            begins.append(column)
            used = len(_BELOW)
        used += needed + 2
    ends = [*begins[1:], len(widths)]
    return [range(begin, end) for begin, end in zip(begins, ends, strict=True)]


def _part(row: Sequence[str], widths: Sequence[int], part: range, width: int | None) -> list[str]:
    """One part of a row as lines; none where it stands below the first and is empty."""
    if part.start and not any(row[column] for column in part):
        return []
    *before, last = (row[column].ljust(widths[column]) for column in part)
    start = (_BELOW if part.start else "") + "".join(f"{cell}  " for cell in before)
    first, *more = folded(last.rstrip(), None if width is None else width - len(start))
    return [(start + first).rstrip(), *(" " * len(start) + line for line in more)]
