"""The recorder and the journal: what is finished is known again, what is not is not."""

from __future__ import annotations

import json

import pytest

from provision.core.events import Event, FileSink, ListSink, read_events
from provision.core.problems import HoldfastError
from provision.engine.journal import RunState, mend, read_journal, replay
from provision.engine.recorder import Recorder


def recorded(lines, **given):
    sink = ListSink()
    recorder = Recorder(sink, **given)
    for line in lines:
        recorder.take({"at": 1.0, **line})
    recorder.finish()
    return recorder, sink.seen


def play(phase):
    return {"kind": "play.start", "phase": phase}


def start(node, phase, task="Work"):
    return {"kind": "task.start", "node": node, "phase": phase, "task": task}


def end(node, phase, status="ok", task="Work", **given):
    line = {"kind": "task.end", "node": node, "phase": phase, "task": task, "status": status}
    return {**line, **given}


def ends(events):
    return [(e.node, e.phase, e.data["status"]) for e in events if e.kind == "phase.end"]


def test_a_phase_is_finished_when_the_next_one_begins():
    lines = [play("base"), start("n1", "base"), end("n1", "base", "changed")]
    recorder, events = recorded(lines)
    assert ends(events) == [], "the play had not ended"
    recorder, events = recorded([*lines, play("time")])
    assert ends(events) == [("n1", "base", "changed")]
    assert recorder.nodes["n1"].finished == ["base"]
    assert next(e for e in events if e.kind == "phase.end").durable


def test_a_failure_counts_when_ansible_says_so_or_ends_without_a_word():
    lines = [
        play("base"),
        start("n1", "base"),
        end("n1", "base", "failed", message="no room"),
        play("time"),
    ]
    stats = {"kind": "stats", "nodes": {"n1": {"failures": 1, "unreachable": 0}}}
    for ending in ([stats], []):
        recorder, events = recorded([*lines, *ending])
        assert ends(events) == [("n1", "base", "failed")]
        assert recorder.nodes["n1"].failed == "base"
        assert recorder.nodes["n1"].message == "no room"


def test_a_failure_that_ansible_does_not_mention_is_a_failure():
    lines = [play("base"), start("n1", "base"), end("n1", "base", "failed"), play("time")]
    recorder, _ = recorded([*lines, {"kind": "stats", "nodes": {}}])
    assert recorder.nodes["n1"].failed == "base"


def test_a_rescued_failure_is_no_failure():
    lines = [
        play("base"),
        start("n1", "base"),
        end("n1", "base", "failed", message="first try"),
        start("n1", "base", "Rescue"),
        end("n1", "base", "ok", "Rescue"),
        play("time"),
        start("n1", "time"),
        end("n1", "time"),
    ]
    stats = {"kind": "stats", "nodes": {"n1": {"failures": 0, "rescued": 1}}}
    recorder, events = recorded([*lines, stats])
    assert ends(events) == [("n1", "base", "ok"), ("n1", "time", "ok")]
    assert recorder.nodes["n1"].failed is None


def test_an_ignored_failure_is_no_failure():
    line = end("n1", "base", "failed", ignored=True)
    _, events = recorded([play("base"), start("n1", "base"), line, play("time")])
    assert ends(events) == [("n1", "base", "ok")]


def test_unreachable_is_said_as_such():
    line = end("n1", "base", "unreachable", message="timed out")
    recorder, events = recorded([play("base"), start("n1", "base"), line])
    assert recorder.nodes["n1"].unreachable or ends(events) == []
    recorder, events = recorded([play("base"), start("n1", "base"), line, play("time")])
    assert recorder.nodes["n1"].unreachable
    assert ends(events) == [("n1", "base", "unreachable")]


def test_check_mode_finishes_nothing_in_the_journal():
    lines = [play("base"), start("n1", "base"), end("n1", "base", "changed"), play("time")]
    _, events = recorded(lines, check=True)
    state = replay(events)
    assert state.node("n1").finished == set()


def test_locks_and_restarts_are_kept_apart_from_phases():
    lines = [
        play("node_lock"),
        start("n1", "node_lock"),
        end("n1", "node_lock", "changed", changes=["Hold"]),
        play("node_restart"),
        start("n1", "node_restart"),
        end("n1", "node_restart", reboot=["new kernel"]),
        play("node_unlock"),
        start("n1", "node_unlock"),
        end("n1", "node_unlock", "changed"),
    ]
    recorder, events = recorded(lines)
    kinds = [e.kind for e in events if e.kind.startswith("lock.")]
    assert kinds == ["lock.taken", "lock.released"]
    assert recorder.nodes["n1"].left
    assert recorder.nodes["n1"].reboot == ["new kernel"]
    assert replay(events).node("n1").changes == []
    assert replay(events).node("n1").tasks == 3


def journal(tmp_path, *events):
    path = tmp_path / "events.jsonl"
    sink = FileSink(path)
    for event in events:
        sink.emit(event)
    return path


EVENTS = (
    Event("run.start", data={"run": "r"}),
    Event("process.start", data={"pid": 7, "start": 70, "boot": "b"}),
    Event("stage.end", data={"stage": "plan", "status": "ok"}),
    Event("wave.start", data={"wave": 1, "nodes": ["n1"]}),
    Event("lock.taken", "n1", "node_lock"),
    Event(
        "task.end", "n1", "base", {"task": "T", "status": "changed", "changes": ["a"]},
    ),
    Event("phase.end", "n1", "base", {"status": "changed"}),
    Event("phase.end", "n1", "time", {"status": "failed", "message": "why"}),
)  # fmt: skip


def test_replay_gives_what_is_finished(tmp_path):
    state = read_journal(journal(tmp_path, *EVENTS))
    node = state.node("n1")
    assert node.finished == {"base"}
    assert node.failed_phase == "time"
    assert node.locked
    assert node.changes == [("base", "T", "a")]
    assert state.stage_done("plan")
    assert not state.stage_done("apply")
    assert state.exit_code is None
    assert [p.pid for p in state.processes] == [7]


def test_a_cut_last_line_is_left_out_and_mended(tmp_path):
    path = journal(tmp_path, *EVENTS)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind":"phase.end","node":"n1","pha')
    assert read_journal(path).node("n1").finished == {"base"}
    mend(path)
    assert path.read_bytes() == whole
    FileSink(path).emit(Event("phase.end", "n1", "time", {"status": "ok"}))
    state = read_journal(path)
    assert state.node("n1").finished == {"base", "time"}
    assert state.node("n1").failed_phase is None


@pytest.mark.parametrize("cut", range(0, 1200, 37))
def test_every_beginning_of_a_journal_can_be_read(tmp_path, cut):
    path = journal(tmp_path, *EVENTS)
    data = path.read_bytes()[:cut]
    path.write_bytes(data)
    assert read_journal(path).node("n1").finished <= {"base"}
    mend(path)
    assert path.read_bytes() in (b"", data[: data.rfind(b"\n") + 1])


def test_a_damaged_line_in_the_middle_is_said(tmp_path):
    path = journal(tmp_path, *EVENTS)
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[3] = lines[3][:10]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(HoldfastError, match=r"events\.jsonl:4"):
        read_journal(path)


def test_no_journal_is_a_run_that_did_nothing(tmp_path):
    assert read_journal(tmp_path / "none.jsonl") == RunState()
    mend(tmp_path / "none.jsonl")


def test_a_resume_forgets_how_the_run_ended():
    ended = Event("run.end", data={"exit_code": 3, "reason": "failed"})
    again = Event("run.start", data={"run": "r", "resumed": True})
    assert replay([ended]).exit_code == 3
    assert replay([ended, again]).exit_code is None


def test_restarts_are_followed():
    due = Event("restart.due", "n1", data={"boot": "b1:7"})
    back = Event("restart.end", "n1", data={"seconds": 1})
    assert replay([due]).node("n1").boot_before == "b1:7"
    assert replay([due]).node("n1").restart_due
    assert not replay([due, back]).node("n1").restart_due
    assert replay([due, back]).node("n1").restarts == 1


def test_every_event_survives_the_file(tmp_path):
    path = journal(tmp_path, *EVENTS)
    back = read_events(path)
    assert [e.kind for e in back] == [e.kind for e in EVENTS]
    assert json.loads(path.read_text(encoding="utf-8").splitlines()[0])["schema"]
