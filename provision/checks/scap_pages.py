"""Explains each rule of a scan: what it is, why, its state, the evidence, and who excused it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from provision.checks.scap_verdict import NodeView, ScapVerdict, reasons_of
from provision.policy.load import Policy
from provision.policy.model import Control
from provision.policy.pages import reference_words
from provision.policy.resolve import Resolution
from provision.verdict.model import Status
from provision.verdict.rules import ControlWords, Excuse, NodeRules, RuleBook, RuleState


def rule_book(verdict: ScapVerdict, policy: Policy, folder: Path) -> RuleBook:
    """Every rule of every node that has a scan.

    Args:
        verdict: what OpenSCAP said of the nodes.
        policy: the controls.
        folder: the run's folder; paths of OpenSCAP's reports start there.
    """
    nodes: list[NodeRules] = []
    controls: dict[str, ControlWords] = {}
    for view in verdict.nodes.values():
        if view.resolution is None or view.scanned.scan is None or view.judged is None:
            continue
        answers = _answers(view.resolution)
        nodes.append(_node(view, policy, answers, folder))
        for control in {c.id: c for found in answers.values() for c in found}.values():
            controls.setdefault(control.id, _words(control, view.resolution))
    return RuleBook(dict(sorted(controls.items())), tuple(nodes))


def _answers(resolution: Resolution) -> dict[str, list[Control]]:
    """By rule: the controls that answer it."""
    found: dict[str, list[Control]] = {}
    every = [item.control for item in resolution.applied]
    every += [item.control for item in resolution.waived]
    every += [item.control for item in resolution.not_applicable]
    every += [*resolution.not_automated, *resolution.provided]
    for control in every:
        for rule in control.rules(resolution.target.release):
            found.setdefault(rule, []).append(control)
    return found


def _words(control: Control, resolution: Resolution) -> ControlWords:
    applied = (item for item in resolution.applied if item.control.id == control.id)
    resources = next((item.resources for item in applied), ())
    release = resolution.target.release
    return ControlWords(
        control.id,
        control.title,
        control.rationale,
        _references(control, release),
        tuple(resource.words() for resource in resources),
    )


def _references(control: Control, release: str) -> str:
    """CIS sections and STIG ids; the rules have a line of their own."""
    found = next((r for name, r in control.references.items() if name == release), None)
    return reference_words(found).partition("SCAP ")[0].rstrip("; ")


def _node(
    view: NodeView, policy: Policy, answers: Mapping[str, list[Control]], folder: Path
) -> NodeRules:
    scan, resolution = view.scanned.scan, view.resolution
    assert scan is not None
    assert resolution is not None
    profile = policy.profiles[resolution.profile]
    followed = profile.benchmark[resolution.target.release]
    last = view.before.scanned.scan if view.before is not None else None
    report = view.scanned.files.get("report.html")
    return NodeRules(
        view.scanned.node,
        profile.id,
        profile.title,
        f"{followed.name}, {followed.version}",
        f"{view.scanned.content} {scan.version}",
        scan.ended,
        last.ended if last is not None and last.ended != scan.ended else "",
        os.path.relpath(report, folder) if report is not None else "",
        tuple(_rules(view, resolution, answers)),
    )


def _rules(
    view: NodeView, resolution: Resolution, answers: Mapping[str, list[Control]]
) -> Iterator[RuleState]:
    scan, judged = view.scanned.scan, view.judged
    assert scan is not None
    assert judged is not None
    last = view.before.scanned.scan if view.before is not None else None
    breaches = {breach.rule: breach for breach in judged.breaches if breach.rule}
    reasons = reasons_of(resolution)
    exempt = resolution.exempt_rules()
    wanted = {*scan.selected, *breaches, *view.scanned.left_out}
    wanted |= view.baseline.rules if view.baseline is not None else set()
    for rule in sorted(wanted):
        result = scan.rules.get(rule)
        now = result.result if result is not None else "missing"
        excuse = None
        if rule in exempt:
            e = exempt[rule]
            day = e.expires.isoformat()
            excuse = Excuse(e.reason, e.source, e.owner, day, e.compensation or "")
        elif rule in judged.accepted:
            excuse = Excuse(judged.accepted[rule], "baseline" if view.baseline else "")
        elif now not in ("pass", "fixed") and rule in reasons:
            excuse = Excuse(reasons[rule])
        seen = (*(result.messages if result is not None else ()),)
        if rule in breaches:
            seen = (breaches[rule].words, *seen)
            status = Status.UNKNOWN if breaches[rule].unseen else Status.FAIL
        elif rule in view.scanned.left_out:
            status, now = Status.UNKNOWN, "notselected"
            seen = ("this scan left it out, and no full scan proves it", *seen)
        elif rule in judged.waived or rule in judged.accepted:
            status = Status.WAIVED
        elif now == "notapplicable":
            status, excuse = Status.NOT_APPLICABLE, None
        else:
            status, excuse = Status.PASS, None
        before = last.rules[rule].result if last is not None and rule in last.rules else ""
        severity = result.severity if result is not None else ""
        ids = tuple(control.id for control in answers.get(rule, ()))
        yield RuleState(rule, status, now, before, severity, ids, seen, excuse)
