"""What a run looks like: the table's rows, and the lines of a log."""

from __future__ import annotations

import io

import pytest

from provision.cli.live import Lines, WhileRead, mode
from provision.core.events import Event
from provision.engine.progress import Progress, follow, plain, view

START = Event(
    "run.start",
    data={
        "run": "R1", "verb": "up", "rack": "lab-a", "nodes": ["n1", "n2", "n3"],
        "phases": ["repositories", "base", "container_runtime"],
    },
    at=100.0,
)  # fmt: skip


def state(*events):
    made = Progress()
    for event in (START, *events):
        follow(made, event)
    return made


def text(made, **given):
    return ["".join(words for words, _ in row) for row in view(made, 165.0, **given)]


def apply_events():
    return [
        Event("stage.start", data={"stage": "apply"}),
        Event("wave.start", data={"wave": 2, "nodes": ["n1", "n2"]}),
        Event("task.start", "n1", "base", {"task": "Write a file"}, 160.0),
        Event("phase.end", "n2", "repositories", {"status": "changed"}),
        Event("task.end", "n2", "base", {"status": "failed"}),
        Event("phase.end", "n2", "base", {"status": "failed", "message": "no\nroom"}),
        Event("node.end", "n3", None, {"status": "ok", "message": "nothing to change"}),
    ]


def test_rows_say_who_works_on_what():
    rows = text(state(*apply_events()))
    assert "rack lab-a" in rows[0]
    assert "01:05" in rows[0]
    assert "wave 2" in rows[0]
    assert "● apply" in rows[1]
    n1, n2, n3 = rows[3:6]
    assert n1.startswith("● n1")
    assert n1.endswith("base: Write a file (5 s)")
    assert n2.startswith("✗ n2")
    assert n2.endswith("failed  base: no room")
    assert n3.endswith("nothing to change")
    assert "1 failed, 1 working, 1 nothing to change" in rows[6]


def test_there_is_nothing_to_see_before_the_run_began():
    assert view(Progress(), 165.0) == []


def test_a_status_is_never_colour_alone():
    for row in view(state(*apply_events()), 165.0)[3:6]:
        words = "".join(part for part, _ in row)
        assert words[0] in "●✗=·✓"
        assert len(words.split()) > 2


def test_ascii_where_the_terminal_has_nothing_else():
    for row in text(state(*apply_events()), unicode=False):
        assert row.isascii()


@pytest.mark.parametrize("width", [20, 40, 80])
def test_rows_fit(width):
    assert all(len(row) <= width for row in text(state(*apply_events()), width=width))


def test_what_needs_eyes_comes_first_when_not_all_have_room():
    names = [f"n{i}" for i in range(200)]
    made = Progress()
    follow(made, Event("run.start", data={**START.data, "nodes": names}, at=1.0))
    failed = {"status": "failed", "message": "broken"}
    follow(made, Event("node.end", "n150", "base", failed))
    follow(made, Event("task.start", "n120", "base", {"task": "T"}, 160.0))
    rows = text(made, height=10)
    assert len(rows) <= 10
    assert rows[3].startswith("✗ n150")
    assert rows[4].startswith("● n120")
    assert "more nodes" in rows[-1]


def test_looking_is_not_shown_as_done():
    made = state(
        Event("task.start", "n1", "base", {"task": "T"}),
        Event("phase.end", "n1", "base", {"status": "changed", "check": True}),
    )
    assert made.nodes["n1"].phases == {}


def test_a_finished_stage_leaves_nobody_working():
    made = state(
        Event("task.start", "n1", "preflight", {"task": "T"}),
        Event("stage.end", data={"stage": "preflight", "status": "ok"}),
    )
    assert made.nodes["n1"].status == "waiting"
    assert made.stages["preflight"] == "ok"


def test_findings_are_counted():
    made = state(Event("verify.finding", "n1", data={"check": "x", "status": "fail"}))
    assert (made.checked, made.gating) == (1, 1)


def test_plain_lines_say_what_matters_and_skip_tasks():
    lines = [line for event in (START, *apply_events()) for line in plain(event)]
    assert lines[0] == "up started: rack lab-a, 3 nodes, run R1"
    assert "wave 2: n1, n2" in lines
    assert any(line.startswith("n2: base failed:") for line in lines)
    assert not any("Write a file" in line for line in lines)


class Screen(io.StringIO):
    def __init__(self, tty):
        super().__init__()
        self.tty = tty

    def isatty(self):
        return self.tty


@pytest.mark.parametrize(
    ("tty", "environ", "as_json", "want"),
    [
        (True, {}, False, "table"),
        (True, {"TERM": "dumb"}, False, "lines"),
        (True, {"CI": "1"}, False, "lines"),
        (False, {"CI": "1"}, False, "lines"),
        (False, {}, False, "events"),
        (True, {}, True, "nothing"),
        (False, {"CI": "1"}, True, "nothing"),
    ],
)
def test_a_person_a_pipe_and_ci_see_different_things(tty, environ, as_json, want):
    assert mode(Screen(tty), environ, as_json=as_json) == want


def test_a_reader_that_goes_away_does_not_stop_the_run():
    class Gone:
        asked = 0

        def emit(self, event):
            self.asked += 1
            raise BrokenPipeError

    gone = Gone()
    sink = WhileRead(gone)
    sink.emit(START)
    sink.emit(START)
    assert gone.asked == 1


def test_a_silent_log_has_a_heartbeat():
    out = Screen(False)
    lines = Lines(out, heartbeat=0.05)
    lines.emit(Event("task.start", "n1", "base", {"task": "Slow"}))
    for _ in range(100):
        if "still working: n1: base: Slow" in out.getvalue():
            break
        lines._closed.wait(0.05)
    lines.close()
    assert "still working: n1: base: Slow" in out.getvalue()
