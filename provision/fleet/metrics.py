"""A report as OpenMetrics, and the dashboard that shows it.

The audit's own metrics have the names and labels that a node's textfile has, so that one dashboard
serves both: a Prometheus that scrapes every node, and one that reads this file.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import Any, cast

from provision.fleet.repeats import Repeat
from provision.fleet.report import FleetReport, NodeReport
from provision.health.render import METRICS, samples
from provision.verdict.model import Status

PREFIX = "holdfast_audit_"
FLEET = {
    "holdfast_fleet_pull_timestamp_seconds": "When the nodes were asked.",
    "holdfast_fleet_nodes": "Nodes by status.",
    "holdfast_fleet_node_outcome": "1 for what came of asking a node.",
    "holdfast_fleet_repeats": "How often something began to fail that is a repeat offender.",
}
"""What only the fleet view has."""

_Samples = list[tuple[str, float]]


def openmetrics(report: FleetReport, valid_s: dict[str, float]) -> str:
    """The report in OpenMetrics' text format.

    Args:
        report: what to show.
        valid_s: for each node after how many seconds a result does not count any more.
    """
    families: dict[str, _Samples] = {PREFIX + name: [] for name in METRICS}
    for node in report.nodes:
        for name, found in _of(node, valid_s[node.name]).items():
            families[PREFIX + name] += found
    families |= _fleet(report)
    helps = {**{PREFIX + k: v for k, v in METRICS.items()}, **FLEET}
    return "\n".join([*_lines(families, helps), "# EOF"]) + "\n"


def _lines(families: dict[str, _Samples], helps: dict[str, str]) -> Iterator[str]:
    for name, found in families.items():
        yield f"# TYPE {name} gauge"
        yield f"# HELP {name} {helps[name]}"
        for labels, value in found:
            yield f"{name}{{{labels}}} {float(value):.3f}"


def _of(node: NodeReport, valid_s: float) -> dict[str, _Samples]:
    visit = node.visit
    told = samples(cast(dict[str, Any], visit.result.document), valid_s) if visit.result else {}
    whose = f'node="{label(node.name)}"'
    healthy = {"healthy": [(whose, float(node.status is Status.PASS))]}
    counts = [(f'status="{s}",{whose}', float(n)) for s, n in node.counts.items()]
    if visit.outcome == "fresh":
        return {**told, **healthy, "findings": counts}
    # An old result still says when it was; nothing else of it counts.
    kept = {k: v for k, v in told.items() if k.endswith("_timestamp_seconds")}
    return {**kept, **healthy, "findings": counts}


def _fleet(report: FleetReport) -> dict[str, _Samples]:
    rack = f'rack="{label(report.rack)}"'
    return {
        "holdfast_fleet_pull_timestamp_seconds": [(rack, report.at)],
        "holdfast_fleet_nodes": [
            (f'status="{status}",{rack}', float(n)) for status, n in report.counts().items()
        ],
        "holdfast_fleet_node_outcome": [
            (f'node="{label(n.name)}",outcome="{n.visit.outcome}",{rack}', 1.0)
            for n in report.nodes
        ],
        "holdfast_fleet_repeats": [
            (f"{_repeat(r)},{rack}", float(r.times)) for r in report.repeats
        ],
    }


def _repeat(repeat: Repeat) -> str:
    told = {"node": repeat.node, "check": repeat.check, "entity": repeat.entity,
            "serial": repeat.board}  # fmt: skip
    return ",".join(f'{name}="{label(value)}"' for name, value in told.items())


def label(text: str) -> str:
    """A label's value as the format wants it."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def dashboard() -> str:
    """The Grafana dashboard, as the text of the file that Grafana imports."""
    return (resources.files("provision.fleet.data") / "grafana.json").read_text(encoding="utf-8")
