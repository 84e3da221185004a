"""The verdict as JUnit XML, for continuous integration."""

from __future__ import annotations

import datetime as dt
from xml.etree import ElementTree as ET

from provision.verdict.issues import all_findings
from provision.verdict.model import Finding, Status, Verdict
from provision.verdict.text import clean, one_line

_ELEMENTS = {Status.FAIL: "failure", Status.UNKNOWN: "error"}
"""Statuses that gate. The others either pass or are skipped."""


def render(verdict: Verdict) -> str:
    """One suite per node, one case per finding; `classname` is the node.

    fail is a failure, unknown an error, waived and not_applicable are skipped with their reason.
    A node of which nothing is proven, and a verdict without any node, are an error.
    """
    root = ET.Element("testsuites", name=one_line(f"{verdict.kind} {verdict.rack}"))
    found: dict[str, list[Finding]] = {node.name: [] for node in verdict.nodes}
    for finding in all_findings(verdict):
        found.setdefault(finding.node, []).append(finding)
    for name, own in found.items():
        root.append(_suite(verdict, name, own))
    _total(root, list(root))
    ET.indent(root)
    body = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _suite(verdict: Verdict, name: str, findings: list[Finding]) -> ET.Element:
    suite = ET.Element("testsuite", name=one_line(name))
    if verdict.started > 0:
        at = dt.datetime.fromtimestamp(verdict.started, dt.UTC)
        suite.set("timestamp", at.strftime("%Y-%m-%dT%H:%M:%S"))
    for finding in findings:
        suite.append(_case(finding))
    _total(suite, [suite])
    return suite


def _case(finding: Finding) -> ET.Element:
    case = ET.Element(
        "testcase",
        classname=one_line(finding.node),
        name=one_line(f"{finding.check}: {finding.title}"),
        time=f"{finding.seconds:.3f}",
    )
    if finding.status in _ELEMENTS:
        outcome = ET.SubElement(case, _ELEMENTS[finding.status])
        outcome.set("type", finding.severity.value)
        outcome.set("message", one_line(finding.seen or "nothing was seen"))
        outcome.text = _body(finding)
    elif finding.status is not Status.PASS:
        why = finding.reason or finding.action or finding.seen or "no reason given"
        word = "waived" if finding.status is Status.WAIVED else "not applicable"
        ET.SubElement(case, "skipped", message=one_line(f"{word}: {why}"))
    return case


def _body(finding: Finding) -> str:
    parts = (
        ("expected", finding.expected),
        ("seen", finding.seen),
        ("do", finding.action),
        ("clears it", finding.clears),
    )
    return "\n".join(f"{label}: {clean(text)}" for label, text in parts if text)


def _total(element: ET.Element, suites: list[ET.Element]) -> None:
    cases = [case for suite in suites for case in suite.iter("testcase")]
    element.set("tests", str(len(cases)))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(attribute, str(sum(case.find(tag) is not None for case in cases)))
    element.set("time", f"{sum(float(case.get('time', 0)) for case in cases):.3f}")
