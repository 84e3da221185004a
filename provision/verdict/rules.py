"""What became of every rule of a profile on every node, for the report and for ``--json``.

The words on a rule are those of the control that answers it; the evidence is OpenSCAP's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from provision.verdict.status import Status


@dataclass(frozen=True)
class ControlWords:
    """A control as a reader needs it. `sets` is what it sets, a line each."""

    id: str
    title: str
    rationale: str
    references: str = ""
    sets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Excuse:
    """Why a rule may be as it is. `owner` and `expires` are empty where nobody had to answer."""

    reason: str
    source: str = ""
    owner: str = ""
    expires: str = ""
    instead: str = ""


@dataclass(frozen=True)
class RuleState:
    """One rule on one node.

    `now` is OpenSCAP's result, `before` that of the last full scan before this one, `controls` the
    ids of the controls that answer it, `seen` what there is to say about the result.
    """

    rule: str
    status: Status
    now: str
    before: str = ""
    severity: str = ""
    controls: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    excuse: Excuse | None = None


@dataclass(frozen=True)
class NodeRules:
    """All rules of a profile on one node.

    `content` is what judged it, `scanned` and `compared` when this scan and the one before were,
    `report` the path of OpenSCAP's own report from the run's folder, empty where there is none.
    """

    node: str
    profile: str
    title: str
    benchmark: str
    content: str
    scanned: str
    compared: str = ""
    report: str = ""
    rules: tuple[RuleState, ...] = ()

    def counts(self) -> dict[str, int]:
        """How many rules have each status."""
        totals = {status.value: 0 for status in Status}
        for rule in self.rules:
            totals[rule.status.value] += 1
        return totals


@dataclass(frozen=True)
class RuleBook:
    """The rules of every node that was judged by a profile, and the controls that answer them."""

    controls: dict[str, ControlWords] = field(default_factory=dict)
    nodes: tuple[NodeRules, ...] = ()

    def of(self, node: str) -> NodeRules | None:
        """The rules of one node."""
        return next((found for found in self.nodes if found.node == node), None)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "controls": {name: asdict(words) for name, words in self.controls.items()},
            "nodes": [{**asdict(n), "counts": n.counts()} for n in self.nodes],
        }


ORDER = (Status.FAIL, Status.UNKNOWN, Status.WAIVED, Status.PASS, Status.NOT_APPLICABLE)
"""How a reader wants them: what needs attention first."""


def by_status(rules: Iterable[RuleState]) -> list[tuple[Status, list[RuleState]]]:
    """Rules by their status, in the order a reader wants, without empty groups."""
    every = list(rules)
    groups = [(status, [r for r in every if r.status is status]) for status in ORDER]
    return [(status, found) for status, found in groups if found]
