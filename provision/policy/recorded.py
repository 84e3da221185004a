"""What was shown of a profile: each rule's result on an untouched node, and after it was applied.

A rule counts as turned only where OpenSCAP saw it fail before and pass afterwards. The share of a
profile is that number over all rules that failed before; both are kept, rule by rule, in one file
for each profile, release and kind of node.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import takewhile
from pathlib import Path

from provision.core.exitcodes import ExitCode
from provision.core.files import write_whole
from provision.core.paths import data_dir
from provision.core.problems import HoldfastError, Position, Problem
from provision.core.yamlpos import shown
from provision.policy.baseline import RESULTS
from provision.policy.model import KINDS, RELEASES

_HEAD = ("profile", "release", "kind", "content", "version", "recorded", "system")
_COLUMNS = ("rule", "before", "after", "reason")
_MISSING = "missing"
_KEY = re.compile(r"# ([a-z]+): (.+)")


@dataclass(frozen=True)
class Row:
    """A rule, its result before and after, and why it does not pass where it still fails."""

    rule: str
    before: str
    after: str
    reason: str = ""

    @property
    def failed(self) -> bool:
        """Whether it failed on the untouched node."""
        return self.before == "fail"

    @property
    def turned(self) -> bool:
        """Whether it was seen to turn from fail to pass."""
        return self.failed and self.after in ("pass", "fixed")

    @property
    def unexplained(self) -> bool:
        """Whether it needs a reason and has none."""
        still = self.failed and not self.turned
        return (still or self.after in ("fail", "error", "unknown")) and not self.reason


@dataclass(frozen=True)
class Recorded:
    """Two scans of one node, before and after a profile was applied.

    `content` and `version` say what judged it, `system` what the node says that it is.
    """

    profile: str
    release: str
    kind: str
    content: str
    version: str
    recorded: date
    system: str
    rows: tuple[Row, ...]

    @property
    def turned(self) -> frozenset[str]:
        """The rules that were seen to turn from fail to pass."""
        return frozenset(row.rule for row in self.rows if row.turned)

    @property
    def failed(self) -> frozenset[str]:
        """The rules that failed on the untouched node."""
        return frozenset(row.rule for row in self.rows if row.failed)

    @property
    def held(self) -> frozenset[str]:
        """The rules that passed before and pass afterwards."""
        good = ("pass", "fixed")
        return frozenset(r.rule for r in self.rows if r.before in good and r.after in good)


@dataclass(frozen=True)
class Share:
    """How many rules turned, of how many that failed. `left` says why each other one did not."""

    profile: str
    release: str
    kinds: tuple[str, ...]
    turned: frozenset[str]
    failed: frozenset[str]
    left: Mapping[str, str]

    def words(self) -> str:
        """As ``86 of 98 (87.8 %)``."""
        number, total = len(self.turned), len(self.failed)
        return f"{number} of {total} ({100 * number / total:.1f} %)" if total else "0 of 0"

    def to_json(self) -> dict[str, object]:
        """As plain data."""
        return {
            "profile": self.profile,
            "release": self.release,
            "kinds": list(self.kinds),
            "turned": len(self.turned),
            "failed": len(self.failed),
            "left": dict(sorted(self.left.items())),
        }


def share(recorded: Sequence[Recorded]) -> Share:
    """What one or several kinds of node show of one profile and release, together.

    A rule turned when any of them shows it; a container cannot show what needs a kernel of its own,
    and a machine may come with what a container lacks.

    Raises:
        ValueError: none is given, or they are of several profiles or releases.
    """
    if len({(one.profile, one.release) for one in recorded}) != 1:
        raise ValueError("a share is one of one profile and release")
    turned = frozenset().union(*(one.turned for one in recorded))
    failed = frozenset().union(*(one.failed for one in recorded))
    left: dict[str, str] = {}
    for one in recorded:
        for row in one.rows:
            if row.failed and row.rule not in turned:
                said = f"{one.kind}: {row.reason}" if len(recorded) > 1 else row.reason
                left[row.rule] = "; ".join(filter(None, (left.get(row.rule), said)))
    first = recorded[0]
    kinds = tuple(one.kind for one in recorded)
    return Share(first.profile, first.release, kinds, turned, failed, left)


def shares(found: Iterable[Recorded]) -> list[Share]:
    """The share of each kind of node, and that of all kinds of a profile and release together."""
    groups: dict[tuple[str, str], list[Recorded]] = {}
    for one in found:
        groups.setdefault((one.profile, one.release), []).append(one)
    every: list[Share] = []
    for group in groups.values():
        every += [share([one]) for one in group]
        every += [share(group)] if len(group) > 1 else []
    return every


def ours() -> Path:
    """The folder of the records that ship with Holdfast."""
    return data_dir("profiles") / "recorded"


def find(
    profile: str | None = None, release: str | None = None, folder: Path | None = None
) -> tuple[Recorded, ...]:
    """The records of a profile and a release, or of all; in the order of their names.

    Raises:
        HoldfastError: a record has mistakes (exit code 2).
    """
    where = ours() if folder is None else folder
    name = f"{profile or '*'}-{release or '*'}-*.tsv"
    return tuple(read(path) for path in sorted(where.glob(name)))


def file_name(profile: str, release: str, kind: str) -> str:
    """What the file of a record is called."""
    return f"{profile}-{release}-{kind}.tsv"


def record(
    before: Mapping[str, str],
    after: Mapping[str, str],
    reasons: Mapping[str, str],
    *,
    profile: str,
    release: str,
    kind: str,
    content: str,
    version: str,
    recorded: date,
    system: str,
) -> Recorded:
    """A record out of two scans of one node.

    Args:
        before: rule to result on the untouched node, for the rules that the profile selects.
        after: the same, once the profile was applied.
        reasons: rule to why it does not pass.
        profile: Holdfast's name of the profile.
        release: the release of the node.
        kind: the kind of the node.
        content: the file that judged it.
        version: that file's version.
        recorded: the day of the second scan.
        system: what the node says that it is.

    Raises:
        HoldfastError: a rule that does not pass has no reason (exit code 1).
    """
    rows = []
    for rule in sorted({*before, *after}):
        was, now = before.get(rule, _MISSING), after.get(rule, _MISSING)
        row = Row(rule, was, now)
        tolerated = now not in ("pass", "fixed", "notapplicable")
        if tolerated or row.unexplained or (row.failed and not row.turned):
            row = Row(rule, was, now, " ".join(reasons.get(rule, "").split()))
        rows.append(row)
    problems = [
        Problem(
            "unexplained",
            f"{row.rule} was {row.before} and is {row.after}, and there is no reason for it",
            hint="mend it, waive its control, or give a reason",
        )
        for row in rows
        if row.unexplained
    ]
    if problems:
        raise HoldfastError(problems, ExitCode.FINDINGS)
    return Recorded(
        profile, release, kind, content, version, recorded, " ".join(system.split()), tuple(rows)
    )


def write(made: Recorded, folder: Path) -> Path:
    """Write a record into `folder` under its own name.

    Raises:
        OSError: the folder cannot be written.
    """
    path = folder / file_name(made.profile, made.release, made.kind)
    head = [f"# {key}: {getattr(made, key)}" for key in _HEAD]
    rows = ["\t".join(_COLUMNS)]
    rows += [f"{r.rule}\t{r.before}\t{r.after}\t{r.reason}".rstrip("\t") for r in made.rows]
    write_whole(path, "\n".join((*head, *rows)) + "\n")
    return path


def read(path: Path) -> Recorded:
    """The record in a file.

    Raises:
        HoldfastError: with every mistake, each with its place (exit code 2).
        OSError: it cannot be read.
    """
    return _Reading(path).whole()


class _Reading:
    """One file, line by line; mistakes are gathered."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self.head: dict[str, str] = {}
        self.rows: dict[str, Row] = {}

    def whole(self) -> Recorded:
        """All of it.

        Raises:
            HoldfastError: with every mistake (exit code 2).
        """
        lines = self.path.read_text(encoding="utf-8").splitlines()
        body = self._head(lines)
        for number, line in enumerate(lines[body:], start=body + 1):
            self._row(number, line)
        day = self._day()
        if not self.problems and day is not None:
            told = {key: self.head[key] for key in _HEAD if key != "recorded"}
            return Recorded(**told, recorded=day, rows=tuple(self.rows.values()))
        raise HoldfastError(self.problems, ExitCode.USAGE)

    def _head(self, lines: Sequence[str]) -> int:
        """Read the head; returns the number of lines before the first rule."""
        head = list(takewhile(bool, (_KEY.fullmatch(line) for line in lines)))
        self.head = {found[1]: found[2] for found in head if found}
        number = len(head) + 1
        if number > len(lines) or lines[number - 1] != "\t".join(_COLUMNS):
            self._wrong(number, "no-columns", f"here stands {' '.join(_COLUMNS)}, with tabs", lines)
        self._wrong_all(_HEAD, self.head)
        name = file_name(*(self.head.get(key, "?") for key in ("profile", "release", "kind")))
        if not self.problems and self.path.name != name:
            self._wrong(1, "wrong-name", f"the file of this record is called {name}", lines)
        return number

    def _wrong_all(self, wanted: Iterable[str], head: Mapping[str, str]) -> None:
        for key in wanted:
            if key not in head:
                self._wrong(1, "missing-key", f"the head does not say {key!r}")
        for key, known in (("release", RELEASES), ("kind", KINDS)):
            if key in head and head[key] not in known:
                words = f"{shown(head[key])} is no {key}; known: {', '.join(known)}"
                self._wrong(1, "bad-value", words)

    def _day(self) -> date | None:
        try:
            return date.fromisoformat(self.head.get("recorded", ""))
        except ValueError:
            if "recorded" in self.head:
                self._wrong(1, "bad-value", f"{shown(self.head['recorded'])} is no day")
            return None

    def _row(self, number: int, line: str) -> None:
        words = line.split("\t")
        if not len(_COLUMNS) - 1 <= len(words) <= len(_COLUMNS):
            self._wrong(number, "wrong-columns", f"{len(words)} columns; wanted are rule, before, "
                        "after and perhaps a reason")  # fmt: skip
            return
        row = Row(*words)
        for result in (row.before, row.after):
            if result not in (*RESULTS, _MISSING):
                self._wrong(number, "bad-value", f"{shown(result)} is no result")
        if row.rule in self.rows:
            self._wrong(number, "duplicate-rule", f"{shown(row.rule)} stands here twice")
        if row.unexplained:
            self._wrong(number, "unexplained", f"{shown(row.rule)} does not pass, and no reason "
                        "is given")  # fmt: skip
        self.rows[row.rule] = row

    def _wrong(
        self, number: int, code: str, message: str, lines: Sequence[str] | None = None
    ) -> None:
        at = Position(str(self.path), max(1, number), 1)
        source = lines[number - 1] if lines and 0 < number <= len(lines) else None
        self.problems.append(Problem(code, message, at, source=source))
