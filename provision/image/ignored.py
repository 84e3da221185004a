"""Which differences of a node from its image are none: data, with a reason each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal, get_args

from provision.core.exitcodes import ExitCode
from provision.core.names import suggest
from provision.core.problems import HoldfastError, Position, Problem

What = Literal["all", "content", "added"]
FILE = "drift_ignored.tsv"


@dataclass(frozen=True)
class Rule:
    """What is ignored of which paths, why, and where that is written."""

    what: What
    path: str
    why: str
    position: Position

    @property
    def pattern(self) -> str:
        """The path as a regular expression."""
        below = self.path.endswith("/**")
        plain = self.path.removesuffix("/**")
        named = "[^/]*".join(re.escape(part) for part in plain.split("*"))
        return f"{named}/.*" if below else named


class Ignored:
    """Rules, and which of them speaks for a path: the first one does."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        whole = "|".join(f"({rule.pattern})" for rule in self.rules) or r"(?!)"
        self._match = re.compile(whole, re.DOTALL).fullmatch

    def rule(self, path: str) -> Rule | None:
        """The rule that speaks for `path`."""
        found = self._match(path)
        return self.rules[(found.lastindex or 1) - 1] if found else None

    def apart(self) -> list[str]:
        """The folders of which nothing below is looked at."""
        below = (r.path[:-3] for r in self.rules if r.what == "all" and r.path.endswith("/**"))
        return [folder for folder in below if "*" not in folder]


def ours() -> Ignored:
    """The rules that ship with Holdfast.

    Raises:
        HoldfastError: the file is damaged.
    """
    text = (resources.files("provision.image") / FILE).read_text(encoding="utf-8")
    return Ignored(parse(text, FILE))


def with_site(path: Path | None) -> Ignored:
    """Our rules, and before them those of the site's own file.

    Raises:
        HoldfastError: with every mistake in it (exit code 2).
    """
    if path is None:
        return ours()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem("unreadable-file", f"cannot be read: {error}", where=str(path))
        raise HoldfastError([problem], ExitCode.USAGE) from error
    return Ignored((*parse(text, str(path)), *ours().rules))


def parse(text: str, name: str) -> list[Rule]:
    """The rules in the text of a file called `name`.

    Raises:
        HoldfastError: with every mistake in it (exit code 2).
    """
    rules, problems = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        at = Position(name, number, 1)
        cells = line.split("\t")
        problem = _mistake(cells, at, line)
        if problem is not None:
            problems.append(problem)
            continue
        what = next(word for word in get_args(What) if word == cells[0])
        rules.append(Rule(what, cells[1], cells[2].strip(), at))
    if problems:
        raise HoldfastError(problems, ExitCode.USAGE)
    return rules


def _mistake(cells: list[str], at: Position, line: str) -> Problem | None:
    def problem(message: str, hint: str) -> Problem:
        return Problem("bad-rule", message, at, hint=hint, source=line)

    if len(cells) != 3 or not cells[2].strip():
        return problem("three columns are expected", "what, path and why, with tabs between them")
    if cells[0] not in get_args(What):
        return problem(f"{cells[0]!r} is not known", suggest(cells[0], get_args(What)))
    path = cells[1]
    if not path.startswith("/") or "//" in path or path.rstrip("*/") == "":
        return problem(f"{path!r} is no path below the root", "as in /var/lib/thing/**")
    if "**" in path.removesuffix("/**"):
        return problem("/** is for the end of a path", "as in /var/lib/thing/**")
    return None
