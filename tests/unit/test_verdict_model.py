"""What makes a verdict a failure."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.core.exitcodes import ExitCode
from provision.verdict import terminal
from provision.verdict.issues import issues
from provision.verdict.model import Finding, NodeSummary, Severity, Status, Verdict
from provision.verdict.words import LOOKS, duration, headline, moment
from tests.data.sample_verdict import sample


def verdict(*findings: tuple[str, Status], nodes: tuple[str, ...] = ("n1",)) -> Verdict:
    return Verdict(
        "verify",
        "lab",
        "run",
        tuple(NodeSummary(n) for n in nodes),
        tuple(Finding(n, f"x.c{i}", "A check", s) for i, (n, s) in enumerate(findings)),
    )


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], Status.UNKNOWN),
        (["pass"], Status.PASS),
        (["pass", "not_applicable"], Status.PASS),
        (["not_applicable"], Status.UNKNOWN),
        (["pass", "waived"], Status.WAIVED),
        (["pass", "waived", "unknown"], Status.UNKNOWN),
        (["pass", "unknown", "fail"], Status.FAIL),
    ],
)
def test_worst_finding_is_the_verdict(statuses: list[str], expected: Status) -> None:
    made = verdict(*(("n1", Status(s)) for s in statuses))
    assert made.status is expected
    assert made.node_status("n1") is expected


def test_unknown_gates_like_fail() -> None:
    for status in Status:
        made = verdict(("n1", Status.PASS), ("n1", status))
        gates = status in {Status.FAIL, Status.UNKNOWN}
        assert made.exit_code is (ExitCode.FINDINGS if gates else ExitCode.OK), status


def test_empty_verdict_is_unknown() -> None:
    made = Verdict("verify", "lab", "run", (), ())
    assert made.status is Status.UNKNOWN
    assert made.exit_code is ExitCode.FINDINGS
    assert headline(made) == "Rack lab is not proven: nothing was judged."
    assert [i.nodes for i in issues(made)] == [("lab",)]


@pytest.mark.parametrize("other", [(), (("n2", Status.NOT_APPLICABLE),)])
def test_a_node_of_which_nothing_is_proven_spoils_the_rack(
    other: tuple[tuple[str, Status], ...],
) -> None:
    made = verdict(("n1", Status.PASS), *other, nodes=("n1", "n2"))
    assert made.missing == ("n2",)
    assert made.status is Status.UNKNOWN
    assert [(i.finding.status, i.nodes) for i in issues(made)] == [(Status.UNKNOWN, ("n2",))]
    assert headline(made) == "Rack lab is not proven: 1 of 2 nodes could not be judged."


@pytest.mark.parametrize(
    ("statuses", "says"),
    [
        ((Status.PASS,), "Image lab passes: 1 check."),
        ((Status.PASS, Status.WAIVED), "Image lab passes with 1 finding waived: 1 check."),
        ((Status.UNKNOWN,), "Image lab is refused: 0 checks failed, 1 could not be judged."),
        ((), "Image lab is not proven: nothing was judged."),
    ],
)
def test_an_image_is_no_rack(statuses: tuple[Status, ...], says: str) -> None:
    judged = verdict(*(("lab", s) for s in statuses), nodes=("lab",))
    made = dataclasses.replace(judged, kind="image-lint")
    assert headline(made) == says
    assert not any(line.startswith("node ") for line in terminal.render(made).splitlines())
    assert any(line.startswith("node ") for line in terminal.render(judged).splitlines())


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(list(Status))), max_size=12))
def test_the_rack_is_never_better_than_a_node(found: list[tuple[str, Status]]) -> None:
    made = verdict(*found, nodes=("a", "b", "c"))
    if any(made.node_status(n).gates for n in "abc"):
        assert made.exit_code is ExitCode.FINDINGS
    else:
        assert made.exit_code is ExitCode.OK


def test_every_status_has_a_word_and_a_glyph_of_its_own() -> None:
    assert set(LOOKS) == set(Status)
    for attribute in ("word", "glyph", "ascii"):
        assert len({getattr(look, attribute) for look in LOOKS.values()}) == len(Status)
    assert all(look.ascii.isascii() for look in LOOKS.values())


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (sample(9), "Rack lab-a fails on 2 of 9 nodes, 1 more could not be judged."),
        (sample(2), "Rack lab-a fails on 1 of 2 nodes."),
        (sample(2, healthy=True), "Rack lab-a passes: 2 nodes, 30 checks."),
        (
            verdict(("n1", Status.PASS), ("n1", Status.WAIVED)),
            "Rack lab passes with 1 finding waived: 1 node, 1 check.",
        ),
    ],
)
def test_headline(made: Verdict, sentence: str) -> None:
    assert headline(made) == sentence


def test_times_are_said_for_people() -> None:
    assert moment(0) == ""
    assert moment(1795402800.0) == "2026-11-23 03:00 UTC"
    said = [duration(s) for s in (0, -1, 0.25, 9.96, 59.4, 72, 3720)]
    assert said == ["", "", "0.2 s", "10 s", "59 s", "1 min 12 s", "1 h 2 min"]


def test_issues_say_the_same_thing_once() -> None:
    found = issues(sample(400))
    assert [i.finding.check for i in found if i.finding.status is Status.FAIL] == [
        "inference.answers",
        "time.synchronised",
    ]
    clock = found[1]
    assert len(clock.nodes) == 14
    assert sorted(len(s.nodes) for s in clock.sightings) == [4, 5, 5]


def test_one_cause_for_many_checks_is_one_issue() -> None:
    dark = [i for i in issues(sample(9)) if i.finding.status is Status.UNKNOWN]
    assert [(i.title, i.nodes, len(i.checks)) for i in dark] == [
        ("15 checks could not look", ("gpu5",), 15)
    ]
    assert dark[0].expected == ""


def test_issues_keep_every_failing_unknown_and_waived_finding() -> None:
    made = sample(400)
    shown = {(n, c) for i in issues(made) for n in i.nodes for c in i.checks}
    expected = {
        (f.node, f.check)
        for f in made.findings
        if f.status in {Status.FAIL, Status.UNKNOWN, Status.WAIVED}
    }
    assert shown == expected


def test_the_gravest_issue_comes_first() -> None:
    one = Finding("n1", "a.a", "A", Status.FAIL, severity=Severity.LOW)
    two = dataclasses.replace(one, check="b.b", severity=Severity.CRITICAL)
    three = dataclasses.replace(two, check="c.c", status=Status.UNKNOWN)
    made = Verdict("verify", "lab", "", (NodeSummary("n1"),), (three, one, two))
    assert [i.finding.check for i in issues(made)] == ["b.b", "a.a", "c.c"]
