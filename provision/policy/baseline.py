"""What OpenSCAP is known to say of each rule, and whether what it says now is as good.

Scores never gate: a score rises when rules stop applying. What gates is each rule by itself,
against the result that was recorded for it and accepted with a reason.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from provision.core.exitcodes import ExitCode
from provision.core.files import write_whole
from provision.core.judging import INVALID, Part, Subject, validated
from provision.core.problems import HoldfastError, Position, Problem
from provision.core.shapes import Model
from provision.core.yamlpos import load_yaml, shown
from provision.policy.model import Kind, ProfileName, Release, Rule, ScapProfile

RESULTS = (
    "pass",
    "fail",
    "notapplicable",
    "error",
    "unknown",
    "notchecked",
    "notselected",
    "informational",
    "fixed",
)
"""Every result that XCCDF 1.2 knows."""
EVALUATED = frozenset({"pass", "fail", "error", "unknown", "fixed"})
"""Results of rules that apply to the node; notchecked and informational prove nothing."""
_TOLERABLE = ("fail", "error", "unknown", "notchecked", "informational")

Reason = Annotated[str, Field(min_length=1, max_length=500)]


class Content(Model):
    """Which SCAP content, and which of its profiles, a baseline was recorded with."""

    file: Annotated[str, Field(min_length=1, max_length=200)]
    version: Annotated[str, Field(min_length=1, max_length=100)]
    profile: ScapProfile


class Accepted(Model):
    """A result that is not a pass and that is known and accepted, and why."""

    result: Literal["fail", "error", "unknown", "notchecked", "informational"]
    reason: Reason


class Baseline(Model):
    """What each rule of a profile says on a kind of node that is as it should be."""

    profile: ProfileName
    release: Release
    kind: Kind
    content: Content
    recorded: date
    floor: Annotated[int, Field(ge=1)] = Field(
        description="With fewer rules that apply, the verdict proves too little."
    )
    passes: Annotated[tuple[Rule, ...], Field(alias="pass")]
    accepted: dict[Rule, Accepted] = Field(default={})
    notapplicable: tuple[Rule, ...] = ()

    @property
    def rules(self) -> frozenset[str]:
        """Every rule that has to have a result."""
        return frozenset({*self.passes, *self.accepted, *self.notapplicable})

    def expected(self, rule: str) -> str | None:
        """The recorded result of a rule; None where there is none."""
        if rule in self.accepted:
            return self.accepted[rule].result
        if rule in self.passes:
            return "pass"
        return "notapplicable" if rule in self.notapplicable else None


@dataclass(frozen=True)
class Breach:
    """One way in which a scan is not as good as its baseline.

    `rule` is empty where it is about the scan as a whole. `unseen` says that nothing is proven, not
    that something is wrong.
    """

    rule: str
    was: str
    now: str
    words: str
    unseen: bool = False


@dataclass(frozen=True)
class Judged:
    """A scan held against its baseline."""

    breaches: tuple[Breach, ...]
    counts: dict[str, int]
    waived: dict[str, str] = field(default_factory=dict)
    accepted: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def applicable(self) -> int:
        """How many rules apply to the node."""
        return sum(self.counts.get(result, 0) for result in EVALUATED)


def gate(
    baseline: Baseline | None,
    results: Mapping[str, str],
    *,
    selected: Collection[str],
    waived: Mapping[str, str],
    excused: Mapping[str, str] | None = None,
    left_out: Collection[str] = (),
    floor: int = 1,
    why_none: str = "there is no baseline",
) -> Judged:
    """Hold the results of one scan against what is accepted.

    Args:
        baseline: what was recorded; without one nothing but a pass is good.
        results: rule to result, as OpenSCAP said it; rules of other profiles may be among them.
        selected: the rules that were asked for: each of them must have a result.
        waived: rule to reason, for rules of waived controls; they are expected to fail.
        excused: rule to reason, for rules that the declared kind of node cannot fulfil; they may
            fail where no baseline says otherwise.
        left_out: rules that this scan was told not to judge.
        floor: the fewest rules that must apply where there is no baseline.
        why_none: why there is no baseline, for the reader.
    """
    wanted = {*selected} - {*left_out}
    if baseline is not None:
        wanted |= baseline.rules - {*left_out}
    seen = {rule: results.get(rule, "missing") for rule in sorted(wanted)}
    breaches: list[Breach] = []
    accepted: dict[str, str] = {}
    held: dict[str, str] = {}
    for rule, now in seen.items():
        was = (baseline.expected(rule) if baseline else None) or "none"
        if rule in waived:
            breaches += _of_waived(rule, was, now)
            if now == "fail":
                held[rule] = waived[rule]
        elif baseline and rule in baseline.accepted and now == was:
            accepted[rule] = baseline.accepted[rule].reason
        elif now == "fail" and was == "none" and rule in (excused or {}):
            accepted[rule] = (excused or {})[rule]
        else:
            breaches += _of_rule(rule, was, now)
    counts: dict[str, int] = {}
    for now in seen.values():
        counts[now] = counts.get(now, 0) + 1
    judged = Judged((), counts, held, accepted, _notes(baseline, seen, left_out, why_none))
    least = max(1, floor if baseline is None else baseline.floor - len({*left_out}))
    if judged.applicable < least:
        words = f"{judged.applicable} rules apply to this node; below {least} nothing is proven"
        breaches.insert(0, Breach("", str(least), str(judged.applicable), words, unseen=True))
    return Judged(tuple(breaches), counts, held, accepted, judged.notes)


def _of_waived(rule: str, was: str, now: str) -> list[Breach]:
    if now in ("fail", "notapplicable"):
        return []
    if now in ("pass", "fixed"):
        words = "it passes although it is waived: the waiver is not needed, or hides a change"
        return [Breach(rule, was, now, words)]
    return [Breach(rule, was, now, _UNSEEN.get(now, _NO_RESULT), unseen=True)]


_UNSEEN = {
    "error": "OpenSCAP could not judge it: an error",
    "unknown": "OpenSCAP could not tell",
    "notchecked": "the content has no check for it",
    "notselected": "it was asked for, and OpenSCAP left it out",
    "informational": "OpenSCAP only notes it, and judges nothing",
}
_NO_RESULT = "it was asked for, and there is no result"


def _of_rule(rule: str, was: str, now: str) -> list[Breach]:
    """What is wrong with a result that is not accepted as it is."""
    if now in ("pass", "fixed"):
        return []
    if now == "notapplicable":
        if was == "pass":
            words = "it passed and does not apply any more: what it is about is gone, or hidden"
            return [Breach(rule, was, now, words, unseen=True)]
        return []
    if now == "fail":
        words = {
            "pass": "it passed before",
            "notapplicable": "it did not apply before",
            "none": "nothing was recorded for it",
        }.get(was, f"before it was {was}")
        return [Breach(rule, was, now, f"it fails; {words}")]
    return [Breach(rule, was, now, _UNSEEN.get(now, _NO_RESULT), unseen=True)]


def _notes(
    baseline: Baseline | None, seen: Mapping[str, str], left_out: Collection[str], why_none: str
) -> tuple[str, ...]:
    """What a reader should know, and what does not gate."""
    notes = []
    if baseline is None:
        notes.append(why_none)
    else:
        better = [r for r, now in seen.items() if now == "pass" and r in baseline.accepted]
        if better:
            notes.append(f"now pass, though accepted as they were: {', '.join(better)}")
        new = [r for r in seen if baseline.expected(r) is None]
        if new:
            notes.append(f"not in the baseline: {', '.join(new)}")
    if left_out:
        notes.append(f"not judged in this scan, as they take long: {', '.join(sorted(left_out))}")
    return tuple(notes)


def record(
    results: Mapping[str, str],
    reasons: Mapping[str, str],
    *,
    waived: Collection[str] = (),
    profile: str,
    release: Release,
    kind: Kind,
    content: Content,
    on: date,
) -> Baseline:
    """A baseline out of the results of a run; every rule that is no pass needs a reason.

    Args:
        results: rule to result, for exactly the rules that were asked for.
        reasons: rule to why it may be as it is.
        waived: rules of which nothing is recorded: that they may fail is for each site to say.
        profile: Holdfast's name of the profile.
        release: the release of the node.
        kind: the kind of the node.
        content: what it was judged with.
        on: the day of the run.

    Raises:
        HoldfastError: nothing applies, or a rule that is no pass has no reason.
    """
    sound = {
        rule: "pass" if now == "fixed" else now
        for rule, now in results.items()
        if rule not in waived
    }
    open_ones = [r for r, now in sorted(sound.items()) if now in _TOLERABLE and r not in reasons]
    strange = [r for r, now in sorted(sound.items()) if now not in RESULTS or now == "notselected"]
    hint = "mend it, waive its control, or give a reason"
    problems = [
        Problem("unexplained", f"{rule} is {sound[rule]}, and there is no reason for it", hint=hint)
        for rule in open_ones
    ]
    problems += [Problem("no-result", f"{rule} has the result {sound[rule]!r}") for rule in strange]
    applicable = sum(now in EVALUATED for now in sound.values())
    if not applicable:
        problems.append(Problem("nothing-applies", "no rule applied to the node"))
    if problems:
        raise HoldfastError(problems, ExitCode.FINDINGS)
    accepted = {
        rule: {"result": now, "reason": reasons[rule]}
        for rule, now in sorted(sound.items())
        if now in _TOLERABLE
    }
    return Baseline.model_validate(
        {
            "profile": profile,
            "release": release,
            "kind": kind,
            "content": content,
            "recorded": on,
            "floor": applicable,
            "pass": tuple(sorted(r for r, now in sound.items() if now == "pass")),
            "accepted": accepted,
            "notapplicable": tuple(sorted(r for r, n in sound.items() if n == "notapplicable")),
        }
    )


def file_name(profile: str, release: str, kind: str) -> str:
    """What the file of a baseline is called."""
    return f"{profile}-{release}-{kind}.yml"


def write(baseline: Baseline, folder: Path) -> Path:
    """Write a baseline into `folder` under its own name.

    Raises:
        OSError: the folder cannot be written.
    """
    path = folder / file_name(baseline.profile, baseline.release, baseline.kind)
    body = _as_lists(baseline.model_dump(by_alias=True))
    text = yaml.safe_dump(
        {"schema": 1, "baseline": body}, sort_keys=False, width=100, allow_unicode=True
    )
    head = "# Written by `holdfast profile baseline`; reasons are the only part to edit by hand.\n"
    write_whole(path, head + text)
    return path


def mistakes_in(folder: Path) -> list[Problem]:
    """Everything that is wrong with the baselines of a site's folder."""
    paths = sorted(folder.glob("*.y*ml"))
    if not paths:
        hint = "`holdfast profile baseline INVENTORY --run RUN --into FOLDER` writes one"
        message = "this folder holds no baseline"
        return [Problem("no-baselines", message, hint=hint, where=str(folder))]
    found: list[Problem] = []
    for path in paths:
        try:
            made = read(path)
        except HoldfastError as error:
            found += error.problems
            continue
        name = file_name(made.profile, made.release, made.kind)
        if path.name != name:
            message = f"nothing looks for a baseline of this name; it has to be {name}"
            found.append(Problem("wrong-name", message, Position(str(path), 1, 1)))
    return found


def read(path: Path, name: str | None = None) -> Baseline:
    """The baseline in a file.

    Raises:
        HoldfastError: with every mistake, each with its place (exit code 2).
    """
    document, problems = load_yaml(path, name or str(path))
    if document is not None:
        data = document.data
        if not isinstance(data, dict) or data.get("schema") != 1 or "baseline" not in data:
            hint = "a baseline begins with `schema: 1` and `baseline:`"
            problems = [document.problem("wrong-type", "this is no baseline", (), hint=hint)]
        else:
            place = Part(document, ("baseline",))
            body = _as_tuples(data["baseline"])
            found = validated(Subject(place, "baseline", body, Baseline), problems)
            if found is not INVALID and isinstance(found, Baseline):
                problems += _twice(found, place)
                if not problems:
                    return found
    raise HoldfastError(problems, ExitCode.USAGE)


def _twice(baseline: Baseline, place: Part) -> list[Problem]:
    lists = (*baseline.passes, *baseline.accepted, *baseline.notapplicable)
    seen: set[str] = set()
    found = []
    for rule in lists:
        if rule in seen:
            message = f"{shown(rule)} has two results"
            found.append(place.problem("duplicate-rule", message, value=rule))
        seen.add(rule)
    return found


def _as_lists(body: dict[str, Any]) -> dict[str, Any]:
    return {key: list(part) if isinstance(part, tuple) else part for key, part in body.items()}


def _as_tuples(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {key: tuple(part) if isinstance(part, list) else part for key, part in value.items()}
