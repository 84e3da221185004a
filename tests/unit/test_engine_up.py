"""A whole run with an ansible that follows a script: order, waves, budget, resume, interrupt."""

from __future__ import annotations

import json
import os

import pytest

from provision.core.events import ListSink
from provision.core.exitcodes import ExitCode
from provision.core.locks import FileLock
from provision.core.paths import state_home
from provision.core.problems import HoldfastError
from provision.engine import plan as plans
from provision.engine import restart
from provision.engine import session as sessions
from provision.engine.journal import read_journal
from provision.engine.runs import RunFolder, find_run, list_runs
from provision.engine.session import Request, Session
from provision.engine.status import render, status_of
from provision.engine.up import make_plan, up
from provision.verdict.model import Finding, NodeSummary, Status, Verdict
from tests.unit.checks_support import stack
from tests.unit.engine_support import PHASES, ScriptedAnsible, rack


@pytest.fixture(autouse=True)
def three_phases(monkeypatch):
    monkeypatch.setattr(sessions, "phases_of", lambda _: PHASES)
    monkeypatch.setattr("provision.engine.apply.phases_of", lambda _: PHASES)


@pytest.fixture
def scripted(monkeypatch):
    """Every session of the test drives this one script."""
    script = ScriptedAnsible()
    monkeypatch.setattr(sessions, "Ansible", script.at)
    return script


@pytest.fixture(autouse=True)
def no_ssh(monkeypatch):
    """Nodes restart at once: every look gives another boot."""
    marks = iter(range(10_000))
    monkeypatch.setattr(restart.Restarter, "_mark", lambda self, name: f"boot-{next(marks)}")
    monkeypatch.setattr(restart, "POLL_S", 0.0)


class Judge:
    def __init__(self, status=Status.PASS):
        self.status = status
        self.asked = []

    def __call__(self, rack, run, workdir, ssh, sink):
        names = tuple(node.name for node in rack.nodes)
        self.asked.append(names)
        findings = tuple(Finding(n, "base.x", "x", self.status) for n in names)
        return Verdict("verify", rack.name, run, tuple(NodeSummary(n) for n in names), findings)


def run_up(a_rack, judge=None, *, resume=None, takeover=None, show=None):
    sink = ListSink()
    request = Request(a_rack, "up", ("holdfast", "up"), takeover, resume)
    with Session(request, sink) as session:
        report = up(session, stack(), judge or Judge(), show)
    return report, sink.seen


def drift(*names):
    return {name: {"base": ["install a"], "time": ["write b"]} for name in names}


def test_an_up_looks_plans_applies_and_judges(tmp_path, scripted):
    scripted.drift = drift("n1", "n2")
    shown = []
    judge = Judge()
    report, events = run_up(rack(tmp_path), judge, show=shown.append)
    assert report.exit_code is ExitCode.OK
    assert report.problems == []
    assert [call[0] for call in scripted.calls] == ["preflight", "plan", "wave", "wave"]
    assert scripted.runs("wave") == [("n1",), ("n2",)]
    assert [p.changing for p in shown] == [("n1", "n2")]
    assert judge.asked == [("n1", "n2")]
    journal = RunFolder(report.folder).journal
    state = read_journal(journal)
    assert state.exit_code == 0
    assert state.node("n1").finished == set(PHASES)
    assert [c[2] for c in state.node("n1").changes] == ["install a", "write b"]
    assert not state.node("n1").locked
    assert [e.kind for e in events if e.kind.startswith("run.")] == ["run.start", "run.end"]
    assert report.folder.stat().st_mode & 0o777 == 0o700
    assert journal.stat().st_mode & 0o777 == 0o600
    record = json.loads((report.folder / "run.json").read_text())
    assert record["inputs"]["inventory"] == "aa" * 32
    assert record["versions"]["ansible-core"]


def test_a_second_up_looks_and_applies_nothing(tmp_path, scripted):
    report, _ = run_up(rack(tmp_path))
    assert report.exit_code is ExitCode.OK
    assert [call[0] for call in scripted.calls] == ["preflight", "plan"]
    assert {r.message for r in report.results.values()} == {"nothing to change"}
    assert report.plan.of("n1").looked == 3


def test_a_run_of_some_phases_plans_and_applies_no_others(tmp_path, scripted, monkeypatch):
    monkeypatch.setattr("provision.engine.up.phases_of", lambda _: PHASES)
    scripted.drift = {name: {"base": ["install a"]} for name in ("n1", "n2")}
    scripted.reboots = {"n1": ["something else"]}
    request = Request(
        rack(tmp_path), "audit-install", ("holdfast", "audit", "install"), phases=("base",)
    )
    sink = ListSink()
    with Session(request, sink) as session:
        report = up(session, stack(), Judge())
    assert report.exit_code is ExitCode.OK, report.problems
    assert next(e for e in sink.seen if e.kind == "run.start").data["phases"] == ["base"]
    told = {name: variables for name, _, variables, _ in scripted.calls}
    nobody = "all,!all"
    assert told["plan"]["engine_phase_hosts"] == {
        "repositories": nobody, "base": "all", "time": nobody,
    }  # fmt: skip
    wave = told["wave"]
    assert wave["engine_before"] == {"repositories": nobody, "base": "n2", "time": nobody}
    # What else asks for a restart waits for an `up`.
    assert wave["engine_restart_hosts"] == wave["engine_restart_again_hosts"] == nobody
    assert report.plan.of("n1").restart == ()


def test_a_run_of_some_phases_is_not_resumed_but_run_again(tmp_path, scripted, monkeypatch):
    monkeypatch.setattr("provision.engine.up.phases_of", lambda _: PHASES)
    scripted.drift = drift("n1", "n2")
    scripted.errors = {("n1", "base"): "the disk is full"}
    a_rack = rack(tmp_path)
    request = Request(a_rack, "audit-install", ("holdfast",), phases=("base",))
    with Session(request, ListSink()) as session:
        report = up(session, stack(), Judge())
    assert report.exit_code is ExitCode.NOT_DONE
    assert f"holdfast audit install {a_rack.path}" in report.problems[0].hint
    with pytest.raises(HoldfastError) as refused:
        run_up(a_rack, resume=find_run(report.run, "lab-a"))
    assert "audit-install" in str(refused.value)


def test_only_nodes_that_change_are_in_waves(tmp_path, scripted):
    scripted.drift = drift("n2")
    run_up(rack(tmp_path))
    assert scripted.runs("wave") == [("n2",)]


def test_preflight_refuses_before_anything_is_changed(tmp_path, scripted):
    scripted.drift = drift("n1", "n2")
    scripted.unreachable = {"n2"}
    judge = Judge()
    report, _ = run_up(rack(tmp_path), judge)
    assert report.exit_code is ExitCode.NOT_DONE
    assert report.reason == "refused"
    assert [call[0] for call in scripted.calls] == ["preflight"]
    assert judge.asked == []
    assert [(p.where, p.code) for p in report.problems] == [("n2", "preflight.reachable")]


def test_a_tolerated_node_is_left_out_and_the_run_is_not_whole(tmp_path, scripted):
    scripted.drift = drift("n1", "n2")
    scripted.unreachable = {"n2"}
    report, _ = run_up(rack(tmp_path, failure_budget=1))
    assert scripted.runs("plan") == [("n1",)]
    assert scripted.runs("wave") == [("n1",)]
    assert report.exit_code is ExitCode.NOT_DONE


def test_when_no_node_is_left_the_run_is_refused(tmp_path, scripted):
    scripted.unreachable = {"n1", "n2"}
    report, _ = run_up(rack(tmp_path, failure_budget=5))
    assert report.reason == "refused"


def test_a_broken_budget_stops_the_run_and_says_what_is_where(tmp_path, scripted):
    names = ("n1", "n2", "n3", "n4")
    scripted.drift = drift(*names)
    scripted.errors = {("n2", "base"): "no such package"}
    judge = Judge()
    report, _ = run_up(rack(tmp_path, names, sizes=(1, 2)), judge)
    assert report.exit_code is ExitCode.NOT_DONE
    assert report.reason == "failed"
    assert scripted.runs("wave") == [("n1",), ("n2", "n3")]
    assert scripted.runs("unlock") == [("n2",)], "the failed node is given back"
    assert judge.asked == []
    words = "\n".join(p.render() for p in report.problems)
    assert "n2: base: no such package" in words
    assert "not touched yet: n4" in words
    assert f"--resume {report.run}" in words
    assert report.results["n3"].ok


def test_within_the_budget_the_run_goes_on_and_ends_with_3(tmp_path, scripted):
    names = ("n1", "n2", "n3")
    scripted.drift = drift(*names)
    scripted.errors = {("n1", "base"): "broken"}
    judge = Judge()
    report, _ = run_up(rack(tmp_path, names, failure_budget=1), judge)
    assert scripted.runs("wave") == [("n1",), ("n2", "n3")]
    assert judge.asked == [names]
    assert report.exit_code is ExitCode.NOT_DONE


def test_findings_end_with_1(tmp_path, scripted):
    report, _ = run_up(rack(tmp_path), Judge(Status.UNKNOWN))
    assert report.exit_code is ExitCode.FINDINGS
    assert report.reason == "findings"


def test_a_resume_continues_where_the_node_failed(tmp_path, scripted):
    a_rack = rack(tmp_path)
    scripted.drift = drift("n1", "n2")
    scripted.errors = {("n1", "time"): "broken"}
    first, _ = run_up(a_rack)
    assert first.reason == "failed"
    assert scripted.applied == [("n1", "repositories"), ("n1", "base")]
    status = status_of(RunFolder(first.folder))
    assert status.unfinished == ("n1", "n2")
    assert any("--resume" in line for line in render(status))
    scripted.errors = {}
    scripted.calls.clear()
    shown = []
    second, _ = run_up(a_rack, resume=RunFolder(first.folder), show=shown.append)
    assert second.exit_code is ExitCode.OK
    assert second.run == first.run
    (left,) = map(plans.render, shown)
    assert left == (
        f"run {first.run} goes on, and this is left of its plan\n\n"
        "n1  (1 node)\n  time\n    ~ write b\n\n"
        "n2  (1 node)\n  base\n    ~ install a\n  time\n    ~ write b\n\n"
        "2 of 2 nodes change: 3 changes, 0 that depend on an earlier change\n"
    )
    assert [c[0] for c in scripted.calls] == ["preflight", "wave", "wave"], "the plan stands"
    assert scripted.applied[2:] == [
        ("n1", "time"),
        ("n2", "repositories"),
        ("n2", "base"),
        ("n2", "time"),
    ]
    assert status_of(RunFolder(first.folder)).unfinished == ()
    variables = [v for name, _, v, _ in scripted.calls if name == "wave"]
    assert all(v["engine_resume"] for v in variables)
    assert not status_of(RunFolder(first.folder)).resumable


def test_what_ansible_finished_before_the_kill_is_not_redone(tmp_path, scripted):
    a_rack = rack(tmp_path, ("n1",))
    scripted.drift = drift("n1")
    scripted.errors = {("n1", "base"): "killed here"}
    first, _ = run_up(a_rack)
    folder = RunFolder(first.folder)
    assert read_journal(folder.journal).node("n1").finished == {"repositories"}
    folder.ansible.mkdir(exist_ok=True)
    lines = []
    for phase in ("base", "time"):
        lines.append({"kind": "play.start", "phase": phase})
        lines.append({"kind": "task.start", "node": "n1", "phase": phase, "task": "T"})
        told = {"kind": "task.end", "node": "n1", "phase": phase, "task": "T", "status": "ok"}
        lines.append(told)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder.ansible / "03-wave.jsonl").write_text(text + '{"kind":"play', encoding="utf-8")
    scripted.errors = {}
    run_up(a_rack, resume=folder)
    # `time` had begun and not ended, so it is done again; `base` had ended.
    assert scripted.applied[1:] == [("n1", "time")]


def test_a_resume_with_other_inputs_is_refused(tmp_path, scripted):
    a_rack = rack(tmp_path)
    first, _ = run_up(a_rack)
    changed = a_rack.model_copy(update={"sha256": "bb" * 32})
    (tmp_path / "stack.lock.json").write_text('{"a": 1}\n', encoding="utf-8")
    with pytest.raises(HoldfastError) as refused:
        run_up(changed, resume=RunFolder(first.folder))
    assert [p.code for p in refused.value.problems] == ["inputs-changed"] * 2
    assert "inventory" in str(refused.value)
    assert "stack lock" in str(refused.value)
    other = a_rack.model_copy(update={"name": "lab-b"})
    with pytest.raises(HoldfastError, match="lab-a"):
        run_up(other, resume=RunFolder(first.folder))


def test_an_interrupt_gives_nodes_back_and_names_the_way_on(tmp_path, scripted):
    a_rack = rack(tmp_path)
    scripted.drift = drift("n1", "n2")
    scripted.interrupt_in = "time"
    report, _ = run_up(a_rack)
    assert report.exit_code is ExitCode.INTERRUPTED
    assert scripted.runs("unlock") == [("n1",)]
    assert f"--resume {report.run}" in report.problems[0].hint
    state = read_journal(RunFolder(report.folder).journal)
    assert state.reason == "interrupted"
    assert not state.node("n1").locked
    # The interrupt met the play `time`, so that the ones before had ended.
    assert state.node("n1").finished == {"repositories", "base"}
    scripted.interrupt_in = None
    again, _ = run_up(a_rack, resume=RunFolder(report.folder))
    assert again.exit_code is ExitCode.OK
    assert scripted.applied.count(("n1", "base")) == 1


def test_a_restart_comes_between_base_and_what_follows(tmp_path, scripted):
    scripted.drift = drift("n1", "n2")
    scripted.reboots = {"n1": ["glibc is newer"]}
    report, events = run_up(rack(tmp_path, sizes=(2,)))
    assert report.exit_code is ExitCode.OK
    assert [c[0] for c in scripted.calls] == ["preflight", "plan", "wave", "restart", "wave"]
    assert scripted.runs("restart") == [("n1",)]
    assert scripted.runs("wave") == [("n1", "n2"), ("n1",)]
    order = scripted.applied
    assert order.index(("n1", "base")) < order.index(("n1", "time"))
    assert order.count(("n1", "base")) == 1
    assert order.index(("n2", "time")) < order.index(("n1", "time"))
    kinds = [e.kind for e in events if e.kind.startswith("restart.")]
    assert kinds == ["restart.due", "restart.end"]
    assert read_journal(RunFolder(report.folder).journal).node("n1").restarts == 1


def test_a_restart_comes_after_hardening_where_something_waits_for_it(
    tmp_path, scripted, monkeypatch
):
    phases = ("base", "hardening", "inference")
    for where in ("provision.engine.apply.phases_of", "provision.engine.session.phases_of"):
        monkeypatch.setattr(where, lambda _: phases)
    monkeypatch.setattr("tests.unit.engine_support.PHASES", phases)
    monkeypatch.setattr("provision.engine.controls.write_controls", lambda *words: {})
    monkeypatch.setattr("provision.engine.controls.digest", lambda *words: "0")
    scripted.drift = {n: {"hardening": ["a"], "inference": ["b"]} for n in ("n1", "n2")}
    scripted.asks_after = {"n1": "hardening"}
    hardened = rack(tmp_path, sizes=(2,)).model_copy(update={"profile": "cis_l1_server"})
    report, _ = run_up(hardened)
    assert report.exit_code is ExitCode.OK, report.problems
    assert scripted.runs("restart") == [("n1",)]
    of_n1 = [phase for name, phase in scripted.applied if name == "n1"]
    assert of_n1 == ["base", "hardening", "inference"]
    # n2 was done before n1 came back.
    last = scripted.applied.index(("n1", "inference"))
    assert last > scripted.applied.index(("n2", "inference"))


def test_a_restart_that_is_due_already_is_planned_and_done(tmp_path, scripted):
    scripted.facts = {"n1": {"reboot_required": ["asked before"]}}
    scripted.reboots = {"n1": ["asked before"]}
    report, _ = run_up(rack(tmp_path))
    assert report.plan.changing == ("n1",)
    assert scripted.runs("restart") == [("n1",)]
    assert report.exit_code is ExitCode.OK


def test_a_node_that_does_not_come_back_is_said(tmp_path, scripted, monkeypatch):
    monkeypatch.setattr(restart.Restarter, "_mark", lambda self, name: "same")
    monkeypatch.setattr(restart, "DEADLINE_S", {"metal": 0.05, "vm": 0.05, "container": 0.05})
    monkeypatch.setattr(restart, "POLL_S", 0.01)
    scripted.drift = drift("n1")
    scripted.reboots = {"n1": ["new kernel"]}
    report, _ = run_up(rack(tmp_path, ("n1",)))
    assert report.exit_code is ExitCode.NOT_DONE
    assert "did not come back" in report.problems[0].message


def test_a_node_that_asks_again_and_again_is_stopped(tmp_path, scripted, monkeypatch):
    scripted.drift = drift("n1")

    class Always(dict):
        def pop(self, key, default=None):
            return self[key]

    scripted.reboots = Always(n1=["never enough"])
    report, _ = run_up(rack(tmp_path, ("n1",)))
    assert report.exit_code is ExitCode.NOT_DONE
    assert "asked for a restart" in report.problems[0].message


def test_two_processes_never_work_on_one_rack(tmp_path, scripted):
    path = state_home() / "locks" / "lab-a.lock"
    holder = {"run": "R0", "command": "holdfast up x", "controller": "me@here"}
    with FileLock(path, holder), pytest.raises(HoldfastError) as refused:
        run_up(rack(tmp_path))
    assert refused.value.exit_code is ExitCode.NOT_DONE
    assert refused.value.problems[0].code == "locked"
    assert f"process {os.getpid()} of me@here: run R0" in str(refused.value)
    assert list_runs() == [], "no run folder for a run that never began"


def test_takeover_reaches_the_node_lock(tmp_path, scripted):
    scripted.drift = drift("n1")
    scripted.facts = {"n1": {"locks": {"run": "R-dead"}}}
    refused, _ = run_up(rack(tmp_path, ("n1",)))
    assert refused.reason == "refused"
    report, _ = run_up(rack(tmp_path, ("n1",)), takeover="R-dead")
    assert report.exit_code is ExitCode.OK
    variables = next(v for name, _, v, _ in scripted.calls if name == "wave")
    assert variables["engine_takeover"] == "R-dead"


def test_a_run_that_cannot_be_journalled_stops_and_says_so(tmp_path, scripted):
    scripted.drift = drift("n1")

    def full(*_):
        raise OSError(28, "No space left on device", "events.jsonl")

    with pytest.raises(HoldfastError, match="No space left") as stopped:
        run_up(rack(tmp_path), full)
    assert "--resume" in stopped.value.problems[0].hint


def test_a_plan_changes_nothing_and_exits_0(tmp_path, scripted):
    scripted.drift = drift("n1")
    with Session(Request(rack(tmp_path), "plan", ("holdfast", "plan")), ListSink()) as session:
        report = make_plan(session, stack())
    assert report.exit_code is ExitCode.OK
    assert report.plan.changing == ("n1",)
    assert [(c[0], c[3]) for c in scripted.calls] == [("preflight", False), ("plan", True)]
    assert json.loads((report.folder / "plan.json").read_text())["counts"]["changes"] == 2


def test_runs_are_found_by_end_beginning_and_age(tmp_path, scripted):
    a_rack = rack(tmp_path)
    first, _ = run_up(a_rack)
    second, _ = run_up(a_rack)
    assert find_run("last", "lab-a").run == second.run
    assert find_run(first.run).run == first.run
    assert find_run(first.run[-6:]).run == first.run
    with pytest.raises(HoldfastError, match="any of these runs"):
        find_run(first.run[:8])
    with pytest.raises(HoldfastError, match="no run"):
        find_run("zzz", "lab-a")
    with pytest.raises(HoldfastError, match="of rack lab-b"):
        find_run("last", "lab-b")


def test_a_damaged_record_is_said(tmp_path, scripted):
    report, _ = run_up(rack(tmp_path))
    (report.folder / "run.json").write_text('{"schema": "holdfast.run/1"}')
    with pytest.raises(HoldfastError, match="lacks"):
        RunFolder(report.folder).record()
