"""The verdict on a terminal."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.verdict import diff, terminal
from provision.verdict.model import Finding, NodeSummary, Severity, Status, Verdict
from provision.verdict.text import clean, columns, shorten, wrap
from provision.verdict.words import answers
from tests.data.sample_verdict import hostile, sample

GOLDEN = """\
✗ Rack lab fails on 1 of 2 nodes, 1 more could not be judged.
  A rehearsal: the nodes are simulated.

node  verdict    fail  unknown  waived  pass  not applicable
n1    ✗ fail        1        .       1     1               1
n2    ? unknown     .        1       .     .               .

✗ fail  Packages are the locked ones
  check      base.packages (high)
  expected   as locked
  on         n1
  seen       chrony 4.5
             chrony 4.6
  do         run `holdfast up` with this node in --limit, and look at
             what it says about chrony
  clears it  41 of 41 as locked

? unknown  The clock follows a declared server
  check      time.synchronised (medium)
  on         n2
  seen       nothing

~ waived  The firewall admits what is declared
  check      base.firewall (medium)
  on         n1
  seen       9090
  reason     until 2027

1 fail · 1 unknown · 1 waived · 1 pass · 1 not applicable · 5.0 s
"""


def small() -> Verdict:
    return Verdict(
        "verify",
        "lab",
        "run",
        (NodeSummary("n1"), NodeSummary("n2")),
        (
            Finding("n1", "time.service", "chronyd runs", Status.PASS, "active", "active"),
            Finding(
                "n1",
                "base.packages",
                "Packages are the locked ones",
                Status.FAIL,
                "as locked",
                "chrony 4.5\nchrony 4.6",
                Severity.HIGH,
                "run `holdfast up` with this node in --limit, and look at what it says about "
                "chrony",
                "41 of 41 as locked",
            ),
            Finding(
                "n2", "time.synchronised", "The clock follows a declared server", Status.UNKNOWN
            ),
            Finding(
                "n1",
                "base.firewall",
                "The firewall admits what is declared",
                Status.WAIVED,
                seen="9090",
                reason="until 2027",
            ),
            Finding("n1", "inference.unit", "The engine runs", Status.NOT_APPLICABLE),
        ),
        started=100,
        ended=105,
        rehearsal=True,
    )


def test_golden() -> None:
    assert terminal.render(small(), width=72) == GOLDEN


def test_colour_only_adds() -> None:
    coloured = terminal.render(small(), width=72, colour=True)
    assert "\x1b[31m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == GOLDEN


def test_ascii_terminals_get_ascii() -> None:
    text = terminal.render(sample(9), unicode=False)
    assert text.isascii()
    assert "X fail" in text
    assert "? unknown" in text


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
@pytest.mark.parametrize("made", [sample(2), sample(9), sample(400), hostile()])
def test_no_line_is_wider_than_asked(made: Verdict, width: int) -> None:
    wide = max(columns(line) for line in terminal.render(made, width=width).splitlines())
    assert wide <= max(width, 40)


def test_a_large_rack_lists_only_nodes_that_do_not_pass() -> None:
    text = terminal.render(sample(400), width=120)
    assert "✓ pass     on 379 more nodes" in text
    assert text.count("\n") < 130


@pytest.mark.parametrize("count", [2, 9, 400])
def test_every_gating_finding_names_its_node(count: int) -> None:
    made = sample(count)
    text = terminal.render(made, width=100)
    assert all(f.node in text for f in made.findings if f.status.gates)


def test_evidence_cannot_drive_the_terminal() -> None:
    text = terminal.render(hostile(), width=100)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", text)
    assert "\\x1b]0;owned\\x07" in text


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80), st.integers(40, 100))
def test_any_evidence_can_be_shown(seen: str, width: int) -> None:
    made = Verdict(
        "verify",
        "lab",
        "",
        (NodeSummary("n"),),
        (Finding("n", "a.b", seen, Status.FAIL, seen, seen, action=seen),),
    )
    text = terminal.render(made, width=width)
    text.encode()
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("environ", "tty", "expected"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"TERM": "dumb"}, True, False),
    ],
)
def test_colour_is_wanted(environ: dict[str, str], tty: bool, expected: bool) -> None:
    assert terminal.colour_wanted(environ, tty=tty) is expected


def test_text_is_measured_in_columns() -> None:
    assert columns("中a\u0301") == 3
    assert shorten("中中中", 5) == "中中…"
    assert shorten("abc", 0) == ""
    assert clean("a\r\nb\tc\r") == "a\nb    c\\x0d"
    assert wrap("", 10) == [""]
    assert wrap("a\n\nb\n\n", 10) == ["a", "", "b"]


def test_diff_of_two_verdicts() -> None:
    def made(nodes: str, **statuses: str) -> Verdict:
        return Verdict(
            "verify",
            "lab",
            "",
            tuple(NodeSummary(n) for n in nodes),
            tuple(Finding(k[0], k[1:], k[1:], Status(s)) for k, s in statuses.items()),
        )

    before = made("ab", ax="fail", ay="pass", az="unknown", bx="fail", by="fail", bz="pass")
    after = made("ac", ax="pass", ay="fail", az="fail", cx="pass", by="not_applicable")
    change = diff.compare(before, after)
    assert diff.render(change).splitlines() == [
        "new      a: y (fail)",
        "unseen   b: x (fail)",
        "unseen   b: y (fail)",
        "fixed    a: x (fail)",
        "still    a: z (fail)",
        "arrived  c",
    ]
    assert change.gone == ()
    assert not change.better
    assert diff.render(diff.compare(before, before)).count("still") == 4
    assert diff.compare(made("a", ax="fail"), made("a", ax="pass")).better
    assert diff.render(diff.compare(made("a", ax="pass"), made("a", ax="pass"))) == (
        "nothing changed\n"
    )


def test_what_the_model_answered_stands_beside_the_node() -> None:
    text = terminal.render(sample(2), width=90)
    assert "what the model answered" in text
    for finding in answers(sample(2)):
        first, *rest = finding.seen.strip().splitlines()
        assert f"{finding.node}  {first[:30]}" in text
        assert all(line[:30] in text for line in rest)
    assert answers(sample(2))
    assert "more answers, in the report" in terminal.render(sample(40), width=90)
