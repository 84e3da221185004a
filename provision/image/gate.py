"""The gate: without a verdict that passes, of this very tree, there is no image.

Nothing here is lenient: a verdict that is missing, cut short, of another tree, or that claims more
than its findings say, is refused like one that fails. Whoever goes on all the same says why, and
the reason stays in ``gate.json`` and in the signed manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from provision import __version__
from provision.core.exitcodes import ExitCode
from provision.core.problems import HoldfastError, Problem, fail
from provision.image.lint.checks import CHECKS
from provision.verdict import schema
from provision.verdict.model import Finding, NodeSummary, Verdict
from provision.verdict.rules import RuleBook

SCHEMA = "holdfast.gate/1"
FILE = "gate.json"
MUST = ("openscap.scan", "openscap.baseline", "hardening.share")
"""Findings that a verdict on an image must have beside one for each check of the lint."""
NAMED = 40
"""So many problems are told one by one; the rest is in the report."""


@dataclass(frozen=True)
class Gate:
    """A verdict on a tree. `files` is the sha256 of its list of files, `day` that of the verdict.

    `forced` is the reason for which somebody went on although it does not pass.
    """

    image: str
    files: str
    day: date
    verdict: Verdict
    rules: str = ""
    forced: str | None = None

    @property
    def passed(self) -> bool:
        """Whether nothing fails and nothing is unknown, and nothing that must be there lacks."""
        return not self.verdict.status.gates and not self.missing

    @property
    def missing(self) -> tuple[str, ...]:
        """The checks that have no finding."""
        there = {finding.check for finding in self.verdict.findings}
        return tuple(name for name in (*MUST, *_lint()) if name not in there)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "schema": SCHEMA,
            "image": self.image,
            "files": self.files,
            "day": self.day.isoformat(),
            "passed": self.passed,
            "forced": self.forced,
            "counts": self.verdict.counts(),
            "rules": self.rules,
            "verdict": self.verdict.to_json(),
        }

    def to_text(self) -> str:
        """The text of ``gate.json``."""
        return json.dumps(self.to_json(), indent=1, sort_keys=True) + "\n"

    def problems(self) -> list[Problem]:
        """Everything for which it does not pass: what, where, and what to do."""
        found = [_problem(finding) for finding in self.verdict.findings if finding.status.gates]
        found += [
            Problem("no-finding", f"{name} has no finding: nothing is proven of it",
                    where=self.image, hint="build the scan stage again")
            for name in self.missing
        ]  # fmt: skip
        return found


def _lint() -> Iterable[str]:
    return (f"lint.{name}" for name in CHECKS)


def _problem(finding: Finding) -> Problem:
    words = "nothing is proven" if finding.status.value == "unknown" else "fails"
    seen = "; ".join(finding.seen.splitlines())
    message = f"{finding.check} {words}: {finding.title}: {seen}"
    return Problem(finding.check, message, where=finding.node, hint=finding.action or None)


def make(
    image: str,
    files: str,
    findings: Iterable[Finding],
    *,
    day: date,
    at: float,
    rules: RuleBook | None = None,
    words: str = "",
    kind: str = "image",
) -> Gate:
    """The verdict of findings on a tree.

    Args:
        image: the image's name.
        files: the sha256 of its list of files.
        findings: all that was said of it.
        day: the day by which waivers were judged.
        at: what the report says for the time, in Unix seconds.
        rules: every rule of the profile, for the report.
        words: which content judged.
        kind: what the report calls it.
    """
    verdict = Verdict(
        kind=kind,
        rack=image,
        run=files[:16],
        nodes=(NodeSummary(image, kind="image", facts={"judged by": words} if words else {}),),
        findings=tuple(findings),
        started=at,
        ended=at,
        inputs={"files": files},
        tool=__version__,
        rules=rules or RuleBook(),
    )
    return Gate(image, files, day, verdict, words)


def digest_of(files: Path) -> str:
    """The sha256 of a list of files, by which a verdict names its tree.

    Raises:
        HoldfastError: it cannot be read (exit code 1).
    """
    try:
        return hashlib.sha256(files.read_bytes()).hexdigest()
    except OSError as error:
        raise _no("no-files", f"the tree's list of files cannot be read: {error}", files) from error


def read(path: Path) -> Gate:
    """The verdict in a ``gate.json``.

    Raises:
        HoldfastError: there is none, it is cut short, or it claims what its findings deny (exit
            code 1).
    """
    try:
        body = json.loads(path.read_bytes())
        if not isinstance(body, dict) or body.get("schema") != SCHEMA:
            raise ValueError("it is no verdict of the gate")
        verdict = schema.from_json(json.dumps(body["verdict"]), str(path))
        forced = body["forced"]
        gate = Gate(
            str(body["image"]),
            str(body["files"]),
            date.fromisoformat(body["day"]),
            verdict,
            str(body["rules"]),
            None if forced is None else str(forced),
        )
        said = body["passed"]
    except FileNotFoundError as error:
        raise _no("no-verdict", "there is no verdict on this tree", path) from error
    except (OSError, ValueError, KeyError, TypeError, HoldfastError) as error:
        raise _no("bad-verdict", f"the verdict cannot be read: {error}", path) from error
    if said is not gate.passed:
        message = f"the verdict says passed: {said}, and its findings say {gate.passed}"
        raise _no("bad-verdict", message, path)
    return gate


def accepted(scan: Path, files: Path) -> Gate:
    """The verdict in a scan's output, where it lets the tree of `files` become an image.

    Args:
        scan: the output of stage scan, or another folder that holds its ``gate.json``.
        files: the tree's ``files.tsv``.

    Raises:
        HoldfastError: it does not (exit code 1); every reason is among the problems.
    """
    gate = read(scan / FILE)
    digest = digest_of(files)
    if gate.files != digest:
        message = (
            f"the verdict is of another tree: of {gate.files[:16]}…, and this is {digest[:16]}…"
        )
        raise _no("other-tree", message, scan / FILE)
    if gate.forced is None:
        demand(gate)
    return gate


def demand(gate: Gate) -> None:
    """Refuse a tree whose verdict does not pass.

    Raises:
        HoldfastError: with every reason (exit code 1).
    """
    if gate.passed:
        return
    found = gate.problems()
    if len(found) > NAMED:
        rest = len(found) - NAMED
        found = [*found[:NAMED], Problem("more", f"{rest} more stand in the report",
                                         where=gate.image)]  # fmt: skip
    raise HoldfastError(found, ExitCode.FINDINGS)


def force(gate: Gate, reason: str) -> Gate:
    """The verdict with the reason for which somebody goes on; one that passes needs none.

    Raises:
        HoldfastError: no reason is given (exit code 2).
    """
    if not reason.strip():
        raise fail("no-reason", "--force wants a reason: who reads the manifest reads it",
                   where="--force", exit_code=ExitCode.USAGE)  # fmt: skip
    return gate if gate.passed else replace(gate, forced=" ".join(reason.split()))


def merged(gate: Gate, after: Verdict) -> Verdict:
    """The verdict on a tree and the one after its first boot, as one report.

    What runs is a node of its own in it, called NAME-booted, so that the same rule can say one
    thing of the tree and another of the system.
    """
    before = gate.verdict
    name = f"{gate.image}-booted"
    nodes = {node.name for node in after.nodes} | {finding.node for finding in after.findings}
    if len(nodes) > 1:
        raise fail("several-nodes", f"the verdict after the start is of {len(nodes)} nodes",
                   exit_code=ExitCode.USAGE)  # fmt: skip
    summary = next(iter(after.nodes), NodeSummary(name, kind="vm"))
    pages = (replace(page, node=name) for page in after.rules.nodes)
    return replace(
        before,
        nodes=(*before.nodes, replace(summary, name=name)),
        findings=(*before.findings, *(replace(one, node=name) for one in after.findings)),
        ended=max(before.ended, after.ended),
        inputs={**before.inputs, **after.inputs},
        rules=RuleBook(
            {**before.rules.controls, **after.rules.controls},
            (*before.rules.nodes, *pages),
        ),
    )


def _no(code: str, message: str, path: Path) -> HoldfastError:
    hint = "build the scan stage again: `holdfast image build NAME`"
    return fail(code, message, hint=hint, where=str(path), exit_code=ExitCode.FINDINGS)
