"""The verbs plan, up and status: documents, exit codes, and what a pipe and CI see."""

from __future__ import annotations

import json

import pytest

from provision.cli import main as cli
from provision.cli import plan as plan_verb
from provision.cli import status as status_verb
from provision.cli import up as up_verb
from provision.cli.inputs import Inputs
from provision.core.events import SCHEMA
from provision.engine import restart
from provision.engine import session as sessions
from provision.verdict.model import Finding, NodeSummary, Status, Verdict
from tests.unit.checks_support import stack
from tests.unit.engine_support import PHASES, ScriptedAnsible, rack


@pytest.fixture
def script(monkeypatch, tmp_path):
    made = ScriptedAnsible()
    inputs = Inputs(rack(tmp_path), stack(), tmp_path / "stack.lock.json")
    for verb in (plan_verb, up_verb, status_verb):
        monkeypatch.setattr(verb, "load_rack", lambda path: inputs)
    for verb in (plan_verb, up_verb):
        monkeypatch.setattr(verb, "require_secrets", lambda rack: None)
    monkeypatch.setattr(sessions, "phases_of", lambda _: PHASES)
    monkeypatch.setattr("provision.engine.apply.phases_of", lambda _: PHASES)
    monkeypatch.setattr(sessions, "Ansible", made.at)
    monkeypatch.setattr(restart.Restarter, "_mark", lambda self, name: "boot")
    monkeypatch.setattr("provision.checks.report.judge", judge)
    monkeypatch.delenv("CI", raising=False)
    return made


def judge(rack, lock, *, run, events, workdir, ssh=None, policy=None, scan="full", **more):
    names = tuple(node.name for node in rack.nodes)
    findings = tuple(Finding(name, "base.x", "x", Status.PASS) for name in names)
    nodes = tuple(NodeSummary(name) for name in names)
    return Verdict("verify", rack.name, run, nodes, findings, 1.0, 2.0)


def told(capsys):
    return json.loads(capsys.readouterr().out)


def test_plan_as_text_and_as_a_document(script, capsys):
    script.drift = {"n1": {"base": ["install a"]}}
    assert cli.main(["plan", "rack.yml"]) == 0
    out = capsys.readouterr().out
    assert "~ install a" in out
    assert "1 of 2 nodes change" in out
    assert cli.main(["plan", "rack.yml", "--json"]) == 0
    document = told(capsys)
    assert document["schema"] == "holdfast.report/1"
    assert document["plan"]["counts"]["changes"] == 1
    assert document["verdict"] is None


def test_a_pipe_sees_one_event_a_line(script, capsys):
    script.drift = {"n1": {"base": ["install a"]}}
    assert cli.main(["up", "rack.yml"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {"schema": SCHEMA}
    kinds = [line["kind"] for line in lines[1:]]
    assert kinds[0] == "run.start"
    assert kinds[-1] == "run.end"
    assert {"stage.start", "wave.start", "phase.end", "task.end", "node.end"} <= set(kinds)


def test_ci_sees_lines(script, capsys, monkeypatch):
    monkeypatch.setenv("CI", "1")
    assert cli.main(["up", "rack.yml"]) == 0
    out = capsys.readouterr().out
    assert "up started: rack lab-a, 2 nodes" in out
    assert "looked at 2 nodes, 3 tasks each: nothing to change" in out
    assert "report:" in out
    assert "\x1b" not in out


def test_up_leaves_its_reports_and_an_events_file(script, capsys, tmp_path):
    events = tmp_path / "events.jsonl"
    reports = tmp_path / "reports"
    words = ["up", "rack.yml", "--json", "--events", str(events), "--report", str(reports)]
    assert cli.main(words) == 0
    document = told(capsys)
    assert document["reason"] == "ok"
    assert document["verdict"]["status"] == "pass"
    assert [n["looked"] for n in document["nodes"]] == [4, 4]
    assert {p.name for p in reports.iterdir()} == {"verdict.json", "junit.xml", "report.html"}
    assert json.loads(events.read_text().splitlines()[0]) == {"schema": SCHEMA}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ((), ("full", "all")),
        (("--scan", "none"), ("none", "all")),
        (("--scan", "quick"), ("quick", "all")),
        (("--scan-writes", "results"), ("full", "results")),
    ],
)
def test_up_scans_as_much_as_it_is_told(script, monkeypatch, words, wanted):
    asked = []

    def told_judge(*given, scan, scan_writes, **more):
        asked.append((scan, scan_writes))
        return judge(*given, **more)

    monkeypatch.setattr("provision.checks.report.judge", told_judge)
    assert cli.main(["up", "rack.yml", *words]) == 0
    assert asked == [wanted]


def test_a_refused_up_says_why_once_and_exits_3(script, capsys):
    script.unreachable = {"n2"}
    assert cli.main(["up", "rack.yml"]) == 3
    err = capsys.readouterr().err
    assert err.count("n2:") == 1
    assert "hint:" in err


def test_status_tells_the_last_run(script, capsys):
    assert cli.main(["status", "rack.yml"]) == 0
    assert "no `up`" in capsys.readouterr().out
    script.drift = {"n1": {"base": ["install a"]}}
    script.errors = {("n1", "base"): "broken"}
    assert cli.main(["up", "rack.yml", "--json"]) == 3
    run = told(capsys)["run"]
    assert cli.main(["status", "rack.yml"]) == 0
    out = capsys.readouterr().out
    assert run in out
    assert "broken" in out
    assert f"--resume {run}" in out
    assert cli.main(["status", "rack.yml", "--json", "--limit", "n1"]) == 0
    document = told(capsys)
    assert document["status"] == "failed"
    assert [n["node"] for n in document["nodes"]] == ["n1"]
    assert document["nodes"][0]["failed_phase"] == "base"
    script.errors = {}
    assert cli.main(["up", "rack.yml", "--resume", "last", "--json"]) == 0
    assert told(capsys)["run"] == run
    assert cli.main(["status", "rack.yml", "--all"]) == 0
    assert f"{run}  up    ok" in capsys.readouterr().out


def test_one_run_cannot_be_resumed_and_replaced(script, capsys):
    assert cli.main(["up", "rack.yml", "--json"]) == 0
    run = told(capsys)["run"]
    assert cli.main(["up", "rack.yml", "--resume", run, "--break-lock", run]) == 2
    assert "--break-lock" in capsys.readouterr().err


def test_an_unknown_run_is_said(script, capsys):
    assert cli.main(["up", "rack.yml", "--resume", "nonsense"]) == 2
    assert "there is no run 'nonsense'" in capsys.readouterr().err


def test_without_an_up_there_is_no_last_run(script, capsys):
    assert cli.main(["plan", "rack.yml"]) == 0
    capsys.readouterr()
    assert cli.main(["up", "rack.yml", "--resume", "last"]) == 2
    err = capsys.readouterr().err
    assert "no `up` of rack" in err
    assert "valid:" not in err


@pytest.mark.parametrize("option", ["--events", "--report"])
def test_a_place_that_cannot_be_written_is_said_before_the_run(script, tmp_path, capsys, option):
    (tmp_path / "file").write_text("")
    assert cli.main(["up", "rack.yml", option, str(tmp_path / "file/below")]) == 2
    err = capsys.readouterr().err
    assert f"{option}: {tmp_path}/file/below cannot be written: Not a directory" in err
    assert cli.main(["status", "rack.yml", "--all"]) == 0
    assert "no run of rack" in capsys.readouterr().out


def test_a_state_folder_that_cannot_be_written_is_said(script, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert cli.main(["plan", "rack.yml"]) == 2
    assert "set XDG_STATE_HOME" in capsys.readouterr().err
