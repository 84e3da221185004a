"""Findings and verdicts: what was expected, what was seen, and whether that is good enough.

Absent evidence is never a pass: a check that could not look is `unknown`, and `unknown` gates
like `fail`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from provision.core.exitcodes import ExitCode
from provision.verdict.rules import RuleBook
from provision.verdict.status import Status

__all__ = ["SCHEMA", "Finding", "NodeSummary", "Severity", "Status", "Verdict", "count", "worst"]

SCHEMA = "holdfast.verdict/1"


class Severity(StrEnum):
    """How much a failing finding matters."""

    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


@dataclass(frozen=True)
class Finding:
    """One check's result on one node.

    `check` is a dotted id (``inference.answers``), `title` says in words what was checked,
    `seen` is the evidence, `action` the next thing to do, `clears` what would turn it to pass,
    `seconds` how long the check took, `reason` why it is waived or does not apply.
    `seen` may have several lines, such as the answer of a model.
    """

    node: str
    check: str
    title: str
    status: Status
    expected: str = ""
    seen: str = ""
    severity: Severity = Severity.MEDIUM
    action: str = ""
    clears: str = ""
    seconds: float = 0.0
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """The finding as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class NodeSummary:
    """What is known of a node beside its findings.

    `position` is the lowest rack unit it fills, counted from 1 at the bottom, or None when the
    inventory does not say; `height` is in rack units; `facts` are short label/value pairs to show.
    """

    name: str
    groups: tuple[str, ...] = ()
    kind: str = "metal"
    position: int | None = None
    height: int = 1
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """All findings of a rack.

    `kind` says which verb made it (``preflight``, ``verify``), `started` and `ended` are Unix
    seconds, `inputs` maps what was judged (inventory, stack lock, profile) to its sha256,
    `rehearsal` is true when the nodes are simulated, `tool` is the version that judged, `rules`
    explains every rule of the profile that the nodes were judged by.
    """

    kind: str
    rack: str
    run: str
    nodes: tuple[NodeSummary, ...]
    findings: tuple[Finding, ...]
    started: float = 0.0
    ended: float = 0.0
    inputs: dict[str, str] = field(default_factory=dict)
    rehearsal: bool = False
    tool: str = ""
    rules: RuleBook = field(default_factory=RuleBook)

    @property
    def missing(self) -> tuple[str, ...]:
        """Nodes of which nothing is proven: no finding at all, or only ones that do not apply."""
        looked_at = {f.node for f in self.findings if f.status is not Status.NOT_APPLICABLE}
        return tuple(n.name for n in self.nodes if n.name not in looked_at)

    @property
    def status(self) -> Status:
        """The worst of all findings; a rack with a node of which nothing is proven is unknown."""
        found = worst(self.findings)
        return Status.UNKNOWN if self.missing and found is not Status.FAIL else found

    def by_node(self) -> dict[str, tuple[Finding, ...]]:
        """The findings of each node, nodes in the order of the inventory.

        A node without findings is there with none; a finding of something that is not a node
        of the inventory comes after them.
        """
        found: dict[str, list[Finding]] = {n.name: [] for n in self.nodes}
        for finding in self.findings:
            found.setdefault(finding.node, []).append(finding)
        return {name: tuple(own) for name, own in found.items()}

    def node_status(self, node: str) -> Status:
        """The worst finding of one node, by the same rules."""
        return worst(f for f in self.findings if f.node == node)

    @property
    def exit_code(self) -> ExitCode:
        """0 when nothing fails, 1 otherwise."""
        return ExitCode.FINDINGS if self.status.gates else ExitCode.OK

    def counts(self) -> dict[str, int]:
        """How many findings have each status; every status is present."""
        return count(self.findings)

    def to_json(self) -> dict[str, Any]:
        """The verdict as plain data, as the published schema describes it."""
        found = self.by_node()
        return {
            "schema": SCHEMA,
            "kind": self.kind,
            "rack": self.rack,
            "run": self.run,
            "status": self.status.value,
            "counts": self.counts(),
            "missing": list(self.missing),
            "started": self.started,
            "ended": self.ended,
            "inputs": dict(self.inputs),
            "rehearsal": self.rehearsal,
            "tool": self.tool,
            "nodes": [
                {**asdict(n), "groups": list(n.groups), "status": worst(found[n.name]).value}
                for n in self.nodes
            ],
            "findings": [f.to_json() for f in self.findings],
            "rules": self.rules.to_json(),
        }


def worst(findings: Iterable[Finding]) -> Status:
    """The status of several findings together; none, or only ones that do not apply, is unknown."""
    statuses = {f.status for f in findings}
    if Status.FAIL in statuses:
        return Status.FAIL
    if Status.UNKNOWN in statuses or statuses <= {Status.NOT_APPLICABLE}:
        return Status.UNKNOWN
    return Status.WAIVED if Status.WAIVED in statuses else Status.PASS


def count(findings: Iterable[Finding]) -> dict[str, int]:
    """How many findings have each status; every status is present."""
    totals = {status.value: 0 for status in Status}
    for finding in findings:
        totals[finding.status.value] += 1
    return totals
