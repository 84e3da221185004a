"""What should happen to a node: drain it, lift our drain, say more of it, or leave it alone.

Looks at nothing and changes nothing but the record.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from provision.health import render
from provision.health.limits import Limits
from provision.health.slurm import reason
from provision.health.slurm.believe import RESULT, Evidence
from provision.health.slurm.controller import Node
from provision.health.slurm.record import Cause, Drain, Record
from provision.health.words import FAIL, NOT_APPLICABLE, PASS, UNKNOWN

OWN = "scheduler."
"""Checks about this adapter; one of them that drained the node could never clear."""


@dataclass(frozen=True)
class Rules:
    """The numbers, as the node's declaration sets them.

    Args:
        max_age: seconds after which a result is not believed any more.
        strikes: results in a row in which a finding must stand that is not a critical failure.
        clean: results in a row without a finding before a drain is lifted.
        hold: seconds without a finding before a drain is lifted.
        flaps: drains within `window` seconds after which only a person lifts the last.
        window: seconds.
    """

    max_age: float
    strikes: int
    clean: int
    hold: float
    flaps: int
    window: float

    @classmethod
    def of(cls, limits: Limits) -> Rules:
        """The rules of a declaration."""

        def number(name: str) -> float:
            return limits.value(f"scheduler.slurm.{name}")

        return cls(
            number("age"), int(number("strikes")), int(number("clean")), number("hold"),
            int(number("flaps")), number("window"),
        )  # fmt: skip


@dataclass(frozen=True)
class Decision:
    """What to do (leave, drain, rewrite, lift), with which reason, and the sentence that says it.

    `outcome` is a word of `Record.outcome`.
    """

    do: str
    outcome: str
    said: str
    drain: Drain | None = None


@dataclass(frozen=True)
class Case:
    """All that a decision is made from.

    Args:
        record: what is kept, with the evidence taken in.
        known: the evidence.
        ripe: the findings that may drain, gravest first.
        rules: the numbers.
        now: seconds since the epoch.
    """

    record: Record
    known: Evidence
    ripe: list[dict[str, Any]]
    rules: Rules
    now: float


def case(record: Record, known: Evidence, least: str, rules: Rules, now: float) -> Case:
    """Take the evidence into the record.

    A missing result is itself a finding. While the node waits for its first one there is none,
    and nothing is clean either.
    """
    record.drained = [t for t in record.drained if now - t < rules.window]
    if known.result is None:
        record.clean = 0
        if known.waiting:
            return Case(record, known, [], rules, now)
        record.last_bad = now
        return Case(record, known, [_finding(RESULT, known.why)], rules, now)
    bad = [f for f in render.gating(known.result, least) if not f["check"].startswith(OWN)]
    ended = float(known.result["ended"])
    if ended != record.result:
        record.result = ended
        record.strikes = {f["check"]: record.strikes.get(f["check"], 0) + 1 for f in bad}
        record.clean = 0 if bad else record.clean + 1
        record.last_bad = ended if bad else record.last_bad
    return Case(record, known, [f for f in bad if _ripe(f, record, rules)], rules, now)


def _finding(check: str, seen: str) -> dict[str, Any]:
    return {"check": check, "status": UNKNOWN, "severity": "critical", "action": "inspect",
            "seen": seen, "parts": []}  # fmt: skip


def _ripe(finding: dict[str, Any], record: Record, rules: Rules) -> bool:
    certain = finding["status"] == FAIL and finding["severity"] == "critical"
    return certain or record.strikes.get(finding["check"], 0) >= rules.strikes


def decide(node: Node, case: Case) -> Decision:
    """What should happen to a node, as Slurm sees it."""
    if node.drained and reason.read(node.reason) is not None:
        return _ours(node, case)
    if node.drained or (node.out and node.reason):
        changed = ", a reason of ours that somebody changed" if reason.tagged(node.reason) else ""
        text = f"{node.name} is out of service by {node.by or 'somebody'}{changed}: {node.reason}"
        return Decision("leave", "foreign", f"{text}. It is left alone")
    if case.ripe:
        drain = drain_for(case)
        return Decision("drain", "drained", f"{node.name} drained: {drain.reason}", drain)
    return _in_service(node, case)


def drain_for(case: Case) -> Drain:
    """A drain for what was found."""
    boot = case.known.boot or "0" * 8
    text = str(reason.made(case.ripe[0], boot, len(case.ripe) - 1))
    causes = [_cause(finding) for finding in case.ripe]
    return Drain(text, causes, case.now, boot, int(case.known.log.get("order", -1)))


def _cause(finding: dict[str, Any]) -> Cause:
    failing = [p["entity"] for p in finding["parts"] if p["status"] in (FAIL, UNKNOWN)]
    return Cause(finding["check"], finding["action"], failing[:32])


def _in_service(node: Node, case: Case) -> Decision:
    if case.known.result is None:
        return Decision("leave", "waiting", f"{node.name} has just started: {case.known.why}")
    if case.record.strikes:
        watched = ", ".join(sorted(case.record.strikes))
        return Decision("leave", "sick", f"{node.name} is watched, not drained yet: {watched}")
    return Decision("leave", "well", f"{node.name}: nothing that counts fails")


def _ours(node: Node, case: Case) -> Decision:
    drain, known = case.record.drain, case.known
    if drain is None or drain.reason != node.reason:
        drain = _rebuilt(node.reason, case.now)
    stays = f"{node.name} stays drained: {node.reason}."
    if not drain.settled:
        return Decision("settle", "drained", stays, drain)
    if case.ripe:
        return _still_sick(node, drain, case)
    if known.result is None:
        text = f"{stays} There is no result to go by: {known.why}"
        return Decision("leave", "held", text, drain)
    open_ones = [text for text in (_open(c, drain, known) for c in drain.causes) if text]
    if open_ones:
        return Decision("leave", "held", f"{stays} Not cleared: {'; '.join(open_ones)}", drain)
    return _cleared(node, drain, case)


def _still_sick(node: Node, drain: Drain, case: Case) -> Decision:
    """Ours, and something still stands: the reason keeps saying what does."""
    before = {cause.check for cause in drain.causes}
    if before & {f["check"] for f in case.ripe}:
        drain.causes += [_cause(f) for f in case.ripe if f["check"] not in before]
        return Decision("leave", "held", f"{node.name} stays drained: {node.reason}", drain)
    fresh = drain_for(case)
    fresh.causes += drain.causes  # what drained it first must clear as well
    # A reset or a restart that is owed is owed since the first drain.
    fresh.since, fresh.boot, fresh.mark = drain.since, drain.boot, drain.mark
    fresh.by_hand = drain.by_hand
    return Decision("rewrite", "held", f"{node.name} stays drained: {fresh.reason}", fresh)


def _rebuilt(text: str, now: float) -> Drain:
    """A drain as its reason alone tells it: the node has forgotten."""
    told = reason.read(text)
    assert told is not None
    cause = Cause(told.check, told.action)
    return Drain(text, [cause], now, told.boot, settled=True)


def _open(cause: Cause, drain: Drain, known: Evidence) -> str:
    """Why a cause is not cleared yet, or nothing."""
    assert known.result is not None
    if cause.check == RESULT:
        return ""
    found = [f for f in known.result["findings"] if f["check"] == cause.check]
    if not found:
        return f"{cause.check} is not judged any more; a person must say"
    if found[0]["status"] not in (PASS, NOT_APPLICABLE):
        return f"{cause.check} is {found[0]['status']}"
    restarted = not known.boot.startswith(drain.boot[:8])
    if cause.action == "reboot" and not restarted:
        return f"{cause.check} passes, but the node has not restarted"
    if cause.action == "reset_gpu" and not restarted and not _reset(cause, drain, known.log):
        return f"{cause.check} passes, but neither a restart nor a reset was seen"
    return ""


def _reset(cause: Cause, drain: Drain, log: dict[str, Any]) -> bool:
    """Whether the kernel's log shows, after the drain, that the GPUs were reset."""
    if drain.mark < 0 or not log:
        return False

    def after(key: str) -> bool:
        return bool(log["events"].get(key, {}).get("order", -math.inf) > drain.mark)

    buses = cause.entities
    return after("loaded") or (bool(buses) and all(after(f"recovered||{bus}") for bus in buses))


def _cleared(node: Node, drain: Drain, case: Case) -> Decision:
    """The causes have cleared; whether that is enough."""
    record, rules = case.record, case.rules
    if drain.by_hand:
        text = (
            f"{node.name} stays drained: {node.reason}. It has cleared, but the node was drained"
            f" {rules.flaps} times within {rules.window / 3600:g} h, so a person lifts it:"
            f" scontrol update NodeName={node.name} State=UNDRAIN"
        )
        return Decision("leave", "held", text, drain)
    left = rules.hold - (case.now - max(record.last_bad, drain.since))
    if record.clean < rules.clean or left > 0:
        text = (
            f"{node.name} stays drained: {node.reason}. It has cleared; lifted after {rules.clean}"
            f" results without a finding (so far {record.clean}) and {max(0.0, left):.0f} s more"
        )
        return Decision("leave", "held", text, drain)
    return Decision("lift", "lifted", f"{node.name} is back in service: {node.reason} has cleared")
