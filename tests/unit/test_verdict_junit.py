"""The verdict as JUnit XML."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from provision.verdict import junit
from provision.verdict.model import NodeSummary, Status, Verdict
from tests.data.sample_verdict import hostile, sample

TAGS = {
    Status.PASS: set(),
    Status.FAIL: {"failure"},
    Status.UNKNOWN: {"error"},
    Status.WAIVED: {"skipped"},
    Status.NOT_APPLICABLE: {"skipped"},
}


@pytest.mark.parametrize("made", [sample(2), sample(9), sample(400), hostile()])
def test_every_finding_is_a_case_of_its_node(made: Verdict) -> None:
    root = ET.fromstring(junit.render(made).encode())
    cases = list(root.iter("testcase"))
    assert len(cases) == len(made.findings)
    outcomes = sorted(tuple(child.tag for child in case) for case in cases)
    assert outcomes == sorted(tuple(TAGS[f.status]) for f in made.findings)
    counts = made.counts()
    assert root.get("tests") == str(len(made.findings))
    assert root.get("failures") == str(counts["fail"])
    assert root.get("errors") == str(counts["unknown"])
    assert root.get("skipped") == str(counts["waived"] + counts["not_applicable"])
    for suite in root:
        assert {case.get("classname") for case in suite} == {suite.get("name")}
        assert suite.get("tests") == str(len(suite))


def test_a_case_says_what_a_person_needs() -> None:
    root = ET.fromstring(junit.render(sample(9)).encode())
    failure = root.find("testsuite[@name='gpu2']/testcase/failure")
    assert failure is not None
    assert failure.get("message") == "offset 4.5 s, no server reachable"
    assert failure.get("type") == "medium"
    assert (failure.text or "").splitlines() == [
        "expected: offset below 1.0 s",
        "seen: offset 4.5 s, no server reachable",
        "do: open udp 123 to 192.0.2.1, or declare a server that this node reaches",
        "clears it: offset below 1.0 s for one poll of 64 s",
    ]
    waived = root.find("testsuite[@name='head']/testcase/skipped")
    assert waived is not None
    assert (waived.get("message") or "").startswith("waived: console for the operators until")


def test_nothing_judged_is_an_error_not_an_empty_success() -> None:
    for nodes in ((), (NodeSummary("n1"),)):
        root = ET.fromstring(junit.render(Verdict("verify", "lab", "", nodes, ())))
        assert (root.get("tests"), root.get("errors")) == ("1", "1")


def test_control_characters_are_written_out() -> None:
    text = junit.render(hostile())
    root = ET.fromstring(text.encode())
    assert "\\x1b]0;owned\\x07\\x00\\x08" in "".join(root.itertext())
    assert "<script>" not in text
