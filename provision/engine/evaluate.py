"""Judges what a node is against what the inventory says it should be. Pure functions.

What was not seen is `unknown`, never a pass. A check is `not_applicable` only by declaration:
the inventory asks for nothing of the kind, or the node's kind has no such thing.
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.engine.judges import (
    CHECKS,
    EL,
    LOOKED_AT,
    Answer,
    Asked,
    Check,
    Sight,
    result,
    unknown,
)
from provision.engine.unreachable import Cause, classify, shorten
from provision.rack.model import Node
from provision.verdict.model import Finding, Status

_BEFORE = frozenset({"reachable", "host_key", "authentication"})
"""The checks that are proven by getting as far as a later one; each needs the one before it."""


def evaluate(node: Node, sight: Sight, asked: Asked) -> list[Finding]:
    """All preflight findings of one node.

    Args:
        node: what the inventory declares.
        sight: what was seen.
        asked: what else is needed.
    """
    if sight.facts is None:
        return _unseen(node, sight)
    findings = []
    for check in CHECKS:
        try:
            answer = check.judge(node, sight.facts, sight, asked)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            # A fact that is missing or of the wrong kind is no evidence.
            answer = unknown(check.title, f"the node gave no usable fact: {error!r}")
        findings.append(_finding(node, check, answer))
    return findings


def refused(findings: Iterable[Finding]) -> list[str]:
    """The nodes that a run must not touch, in the order of the findings."""
    return list(dict.fromkeys(f.node for f in findings if f.status.gates))


def root_causes(findings: Iterable[Finding]) -> list[Finding]:
    """The findings worth reading: failures, and unknowns of nodes that have no failure."""
    everything = list(findings)
    failed = {f.node for f in everything if f.status is Status.FAIL}
    return [
        f
        for f in everything
        if f.status is Status.FAIL or (f.status is Status.UNKNOWN and f.node not in failed)
    ]


def _finding(node: Node, check: Check, answer: Answer) -> Finding:
    return Finding(
        node.name,
        f"preflight.{check.id}",
        check.title,
        answer.status,
        answer.expected,
        answer.seen,
        check.severity,
        answer.action,
        answer.clears,
    )


def _unseen(node: Node, sight: Sight) -> list[Finding]:
    """Findings of a node that could not be looked at: one failure, the rest unknown."""
    message = sight.error or "the node sent nothing"
    cause = classify(message)
    order = [check.id for check in CHECKS]
    findings = []
    for check in CHECKS:
        if check.id == cause.check:
            answer = _broken(cause, message)
        elif check.id == "release" and sight.release:
            answer = result(False, EL, sight.release, "install EL 9 or 10 on the node")
        elif check.id in _BEFORE and order.index(check.id) < order.index(cause.check):
            answer = Answer(Status.PASS, check.title, f"got as far as: {cause.check}")
        else:
            answer = unknown(check.title, f"could not look: {cause.message}")
        findings.append(_finding(node, check, answer))
    return findings


def _broken(cause: Cause, message: str) -> Answer:
    return Answer(
        Status.FAIL,
        LOOKED_AT,
        f"{cause.message}: {shorten(message)}",
        cause.action,
        "the connection works",
    )
