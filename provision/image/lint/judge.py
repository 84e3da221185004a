"""Runs the lint on a tree inside the sandbox, and makes findings of what its checks found."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from provision.core.exitcodes import ExitCode
from provision.core.names import suggest
from provision.core.problems import HoldfastError, Problem, fail
from provision.image.lint.checks import CHECKS
from provision.image.lint.words import Check, Found, Outcome
from provision.image.sandbox import Sandbox
from provision.verdict.model import Finding, Status

NAMED = 12
"""So many things does a finding name; the rest is counted."""


@dataclass(frozen=True)
class Linted:
    """What came of a lint: its findings, the rows of privileged programs, and how many paths."""

    findings: tuple[Finding, ...]
    privileged: tuple[str, ...]
    paths: int


def lint(
    root: Path,
    sandbox: Sandbox,
    *,
    image: str,
    privileged: Sequence[str] | None = None,
    canaries: Sequence[str] = (),
    skip: Mapping[str, str] | None = None,
) -> Linted:
    """Run every check on the tree at `root`.

    Args:
        root: the tree, with owners as the sandbox sees them.
        sandbox: where the checks run.
        image: what findings call the image.
        privileged: the recorded rows of programs that run with another's rights; None where nobody
            recorded any.
        canaries: secrets of the site of which no copy may be in the image.
        skip: the checks to leave out, each with the reason.

    Raises:
        HoldfastError: a check to skip is unknown (exit code 2), or the sandbox failed.
    """
    left_out = dict(skip or {})
    _known(left_out)
    asked = {
        "root": str(root.resolve()),
        "privileged": None if privileged is None else list(privileged),
        "canaries": list(canaries),
        "skip": sorted(left_out),
    }
    with tempfile.TemporaryDirectory(prefix="holdfast-lint-") as scratch:
        inside = sandbox if sandbox.scratch else replace(sandbox, scratch=Path(scratch))
        said = inside.python("provision.image.lint.inspect", stdin=json.dumps(asked))
    answer = _answer(said)
    outcomes = {one["check"]: _outcome(one) for one in answer["outcomes"]}
    found = tuple(
        finding_of(image, check, outcomes.get(name), left_out.get(name, ""))
        for name, check in CHECKS.items()
    )
    return Linted(found, tuple(answer["privileged"]), answer["paths"])


def _answer(said: str) -> dict[str, Any]:
    try:
        found = json.loads(said)
    except ValueError as error:
        raise fail("lint-broke", f"the lint gave no answer that can be read: {error}") from error
    if not isinstance(found, dict) or not {"outcomes", "privileged", "paths"} <= found.keys():
        raise fail("lint-broke", "the lint's answer lacks a part")
    return found


def _outcome(body: dict[str, Any]) -> Outcome:
    things = [Found(path, words) for path, words in body["found"]]
    return Outcome(body["check"], things, body["unseen"], body["absent"], body["more"])


def _known(skip: Mapping[str, str]) -> None:
    wrong = [
        Problem("unknown-check", f"there is no check {name!r}", where="--skip", value=name,
                hint=suggest(name, CHECKS) or "`holdfast image lint --list` names them")
        for name in skip if name not in CHECKS
    ]  # fmt: skip
    wrong += [
        Problem("no-reason", f"{name} is skipped without a reason", where="--skip",
                hint="say it: --because TEXT")
        for name, reason in skip.items() if not reason.strip()
    ]  # fmt: skip
    if wrong:
        raise HoldfastError(wrong, ExitCode.USAGE)


def finding_of(image: str, check: Check, outcome: Outcome | None, skipped: str = "") -> Finding:
    """What one check comes to; without an outcome nothing is proven."""
    status, seen, reason = Status.UNKNOWN, "the check gave no answer", ""
    if skipped:
        status, seen, reason = Status.WAIVED, "not looked at", skipped
    elif outcome is not None and outcome.unseen:
        seen = outcome.unseen
    elif outcome is not None and outcome.absent:
        status, seen, reason = Status.NOT_APPLICABLE, "", f"there is {outcome.absent}"
    elif outcome is not None:
        bad = bool(outcome.found) and not check.notes
        status = Status.FAIL if bad else Status.PASS
        seen = _seen(outcome)
    gates = status in (Status.FAIL, Status.UNKNOWN)
    return Finding(
        image,
        f"lint.{check.id}",
        check.title,
        status,
        expected="nothing of the kind" if not check.notes else "is noted, and never gates",
        seen=seen,
        severity=check.severity,
        action=check.fix if gates else "",
        clears="`holdfast image lint` finds nothing of the kind" if gates else "",
        reason=reason,
    )


def _seen(outcome: Outcome) -> str:
    lines = [f"{one.path} {one.words}" for one in outcome.found[:NAMED]]
    more = len(outcome.found) - len(lines) + outcome.more
    if more:
        lines.append(f"and {more} more")
    return "\n".join(lines) or "nothing of the kind"
