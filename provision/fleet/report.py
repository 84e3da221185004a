"""What the audits of a rack come to: each node's state, what changed, what fails again and again.

Only a fresh result proves anything. A node that could not be asked, has no result, or one that is
older than its schedule allows, is unknown, whatever its last result was.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from provision import __version__
from provision.checks.audit_result import findings, under_load
from provision.fleet.history import DAY_S, History
from provision.fleet.kept import Recorded, Spell, Visit
from provision.fleet.repeats import Repeat, repeats, rules
from provision.rack.model import Node, Rack
from provision.verdict.model import Finding, NodeSummary, Severity, Status, Verdict, worst
from provision.verdict.words import plural

SCHEMA = "holdfast.audit/1"
CHECK = "audit.result"
"""The finding that each node has: whether there is a result that proves something."""
TREND = 30
"""How many pulls a trend shows."""

_ACTIONS = {
    "stale": "look at `systemctl status holdfast-health.timer holdfast-health.service` on the node",
    "unreachable": "make the node reachable, then ask again",
    "absent": "put the audit on the node: `holdfast audit install`",
    "refused": "look at the result on the node; if nobody can explain it, treat the node as"
    " somebody else's",
    "not_run": "look at `journalctl -u holdfast-health.service` on the node",
}


@dataclass(frozen=True)
class Change:
    """Something that is not as it was at the last pull.

    `kind` is ``worse``, ``better`` or ``other``; `what` says it in words, `check` is empty for what
    is about the node as a whole, `thing` names the GPU, link or mount.
    """

    node: str
    kind: str
    what: str
    check: str = ""
    thing: str = ""
    severity: str = ""


@dataclass(frozen=True)
class NodeReport:
    """One node: what came of asking it, and what is not well.

    `trend` holds for each of the last pulls how many checks were not well, None where nothing was
    known.
    """

    visit: Visit
    findings: tuple[Finding, ...]
    trend: tuple[int | None, ...] = ()

    @property
    def name(self) -> str:
        """Its name in the inventory."""
        return self.visit.node

    @property
    def status(self) -> Status:
        """The worst of what is known now."""
        return worst(self.findings)

    @property
    def counts(self) -> dict[str, int]:
        """How many checks have each status, by a fresh result; else all is unknown."""
        if self.visit.result is None or self.visit.outcome != "fresh":
            return {**dict.fromkeys(("pass", "fail", "waived", "not_applicable"), 0), "unknown": 1}
        result = self.visit.result
        counts = {str(k): v for k, v in result.document["counts"].items()}
        counts["unknown"] += len(result.missing)
        return counts


@dataclass(frozen=True)
class FleetReport:
    """Everything a report shows.

    Args:
        rack: the rack's name.
        at: when the nodes were asked, Unix seconds.
        since: when they were asked before; None where this is the first time.
        source: where results came from, in words.
        nodes: every node that is audited.
        off: nodes that the inventory does not let be audited.
        changes: against the pull before.
        repeats: what failed again and again.
        times: when each pull of the trends was.
    """

    rack: str
    at: float
    since: float | None
    source: str
    nodes: tuple[NodeReport, ...]
    off: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    repeats: tuple[Repeat, ...] = ()
    times: tuple[float, ...] = ()
    summaries: tuple[NodeSummary, ...] = field(default=(), repr=False)

    @functools.cached_property
    def verdict(self) -> Verdict:
        """The same as a verdict: what gates, and one finding a node that says what is proven."""
        found = tuple(f for n in self.nodes for f in n.findings)
        tool = f"holdfast {__version__}"
        return Verdict("audit", self.rack, "", self.summaries, found, tool=tool)

    def counts(self) -> dict[str, int]:
        """How many nodes have each status."""
        totals = {s.value: 0 for s in (Status.PASS, Status.FAIL, Status.UNKNOWN)}
        for node in self.nodes:
            totals[node.status.value] += 1
        return totals

    @property
    def under_load(self) -> str:
        """In a sentence, what of the nodes was tested under load."""
        tested = Counter(
            finding["check"]
            for node in self.nodes
            if node.visit.result is not None and node.visit.outcome == "fresh"
            for finding in node.visit.result.findings
            if under_load(finding)
        )
        if not tested:
            return "The nodes were looked at as they are, not tested under load."
        each = ", ".join(f"{check} on {plural(n, 'node')}" for check, n in sorted(tested.items()))
        return f"Tested under load: {each}. Everything else was looked at as it is."

    def fleet_trend(self) -> tuple[tuple[int, int], ...]:
        """For each pull how many nodes failed or had something unknown, and how many were asked."""
        found = []
        for n in range(len(self.times)):
            asked = [node.trend[n] for node in self.nodes if len(node.trend) > n]
            found.append((sum(1 for bad in asked if bad is None or bad > 0), len(asked)))
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """The report as plain data; passing checks are counted, the others told in full."""
        return {
            "schema": SCHEMA,
            "rack": self.rack,
            "at": self.at,
            "since": self.since,
            "source": self.source,
            "status": self.verdict.status.value,
            "counts": self.counts(),
            "off": list(self.off),
            "nodes": [_node_to_json(n) for n in self.nodes],
            "changes": [vars(c) for c in self.changes],
            "repeats": [r.to_json() for r in self.repeats],
        }


def _node_to_json(node: NodeReport) -> dict[str, Any]:
    visit = node.visit
    told: dict[str, Any] = {
        "node": node.name,
        "status": node.status.value,
        "outcome": visit.outcome,
        "why": visit.why,
        "shipped": visit.shipped,
        "age_s": round(visit.age, 1) if visit.result else None,
        "counts": node.counts,
        "trend": list(node.trend),
        "findings": [f.to_json() for f in node.findings if f.status.gates],
    }
    if visit.result is not None:
        document = visit.result.document
        told |= {k: document[k] for k in ("boot", "versions", "gpus", "cost")}
    return told


def make(
    rack: Rack,
    visits: Sequence[Visit],
    recorded: Recorded | None,
    history: History,
    *,
    at: float,
    source: str,
    off: Sequence[str] = (),
) -> FleetReport:
    """Make the report of a pull.

    Args:
        rack: the rack, with the nodes that were asked.
        visits: what came of each.
        recorded: what the pull became in the history; None where there is none yet.
        history: gives trends and repeats.
        at: when the nodes were asked.
        source: where the results came from, in words.
        off: nodes that are not audited.

    Raises:
        HoldfastError: the history cannot be read (exit code 3).
    """
    times, trends = history.trends(TREND)
    nodes = tuple(
        NodeReport(v, tuple(_findings(v)), _trend(trends.get(v.node, []), len(times)))
        for v in visits
    )
    names = {n.name for n in nodes}
    longest = max(r.days for r in rules())
    spells = (s for s in history.repeats(at - longest * DAY_S) if s.node in names)
    return FleetReport(
        rack=rack.name,
        at=at,
        since=recorded.since if recorded else None,
        source=source,
        nodes=nodes,
        off=tuple(off),
        changes=tuple(changes(recorded, visits)) if recorded else (),
        repeats=tuple(repeats(spells, at)),
        times=tuple(times),
        summaries=tuple(_summary(n) for n in rack.nodes if n.name in names),
    )


def _summary(node: Node) -> NodeSummary:
    place = node.position
    return NodeSummary(
        name=node.name,
        groups=node.groups,
        kind=node.kind,
        position=place.unit if place else None,
        height=place.height if place else 1,
    )


def _trend(told: list[tuple[int, int | None]], length: int) -> tuple[int | None, ...]:
    found: list[int | None] = [None] * length
    for index, bad in told:
        found[index] = bad
    return tuple(found)


def _findings(visit: Visit) -> Iterator[Finding]:
    """What gates, after one finding that says whether the result proves anything."""
    counts = visit.result.document["counts"] if visit.result else {}
    whole = Finding(
        node=visit.node,
        check=CHECK,
        title="The node gave a result that proves something",
        status=Status.PASS,
        expected="a whole result of this node, not older than its schedule allows",
        seen=f"{counts.get('pass', 0)} checks pass",
        severity=Severity.HIGH,
    )
    if visit.outcome == "fresh" and visit.result is not None:
        yield whole
        yield from findings(visit.result, gating_only=True)
        return
    failed = counts.get("fail", 0)
    then = f"; {plural(failed, 'check')} failed then" if failed else ""
    yield replace(
        whole,
        status=Status.UNKNOWN,
        seen=visit.why + then,
        action=_ACTIONS.get(visit.outcome, _ACTIONS["not_run"]),
        clears="a result of now",
    )


def changes(recorded: Recorded, visits: Sequence[Visit]) -> Iterator[Change]:
    """What is not as it was at the pull before; nodes asked for the first time have no before."""
    known = {v.node for v in visits} & set(recorded.before)
    for visit in visits:
        if visit.node in known:
            yield from _of_node(visit, recorded)
    ended = {(s.node, s.check, s.entity): s for s in recorded.ended}
    for spell in recorded.began:
        if spell.node in known:
            was = ended.pop((spell.node, spell.check, spell.entity), None)
            yield _begun(spell, was)
    for spell in ended.values():
        if spell.node in known:
            yield Change(spell.node, "better", f"no longer {_words(spell.status)}", spell.check,
                         _thing(spell), spell.severity)  # fmt: skip


def _begun(spell: Spell, was: Spell | None) -> Change:
    what = f"{_words(spell.status)}: {spell.seen}"
    if was is not None:
        what = f"was {was.status}, now {what}"
    return Change(spell.node, "worse", what, spell.check, _thing(spell), spell.severity)


def _of_node(visit: Visit, recorded: Recorded) -> Iterator[Change]:
    before = recorded.before[visit.node]
    if before.outcome != visit.outcome:
        kind = "better" if visit.outcome == "fresh" else "worse"
        why = f": {visit.why}" if visit.why else ""
        was, is_now = (o.replace("_", " ") for o in (before.outcome, visit.outcome))
        yield Change(visit.node, kind, f"the result was {was}, now {is_now}{why}")
    if visit.result is not None:
        told = visit.result.document
        driver = told["versions"].get("driver", "")
        if before.boot and told["boot"] != before.boot:
            yield Change(visit.node, "other", "the node was restarted")
        if before.driver and driver and driver != before.driver:
            yield Change(visit.node, "other", f"the driver was {before.driver}, now {driver}")
    for bus, old, new in recorded.boards.get(visit.node, ()):
        if not new:
            what = f"the GPU with serial {old} is no longer shown"
            yield Change(visit.node, "worse", what, thing=bus, severity="critical")
        elif new == old:
            what = f"the GPU with serial {old} is shown again"
            yield Change(visit.node, "better", what, thing=bus, severity="critical")
        else:
            what = f"another GPU sits here: serial {new}, before {old}"
            yield Change(visit.node, "other", what, thing=bus)


def _words(status: str) -> str:
    return "fails" if status == "fail" else "unknown"


def _thing(spell: Spell) -> str:
    return f"{spell.entity} (serial {spell.board})" if spell.board else spell.entity
