"""`holdfast verify` on the command line; what it judges is tested elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provision.cli import verify
from provision.cli.main import main
from provision.core.events import SCHEMA, Event, read_events
from provision.core.problems import fail
from provision.verdict.model import NodeSummary, Verdict

EXAMPLE = Path(__file__).resolve().parents[2] / "inventory.example.yml"


def judged(rack, lock, *, run, events, workdir, policy, scan, scan_writes):
    events.emit(Event("verify.start", data={"nodes": len(rack.nodes), "checks": 1}))
    nodes = tuple(NodeSummary(n.name) for n in rack.nodes)
    return Verdict("verify", rack.name, run, nodes, (), 1.0, 2.0)


def test_events_go_to_the_file_that_was_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(verify, "judge", judged)
    monkeypatch.setattr(verify, "require_secrets", lambda rack: None)
    path = tmp_path / "events.jsonl"
    words = ["verify", str(EXAMPLE), "--limit", "gpu-01", "--json", "--events", str(path)]
    assert main(words) == 1, "nothing was judged, and that is no pass"
    assert json.loads(capsys.readouterr().out)["rack"]
    assert json.loads(path.read_text().splitlines()[0]) == {"schema": SCHEMA}
    found = list(read_events(path))
    kinds = ["run.start", "process.start", "stage.start", "verify.start", "stage.end", "run.end"]
    assert [event.kind for event in found] == kinds
    assert found[-1].data == {"exit_code": 1, "reason": "findings"}


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (None, 1, "findings"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (fail("no-ssh", "ssh is not installed"), 3, "no-ssh"),
        (RuntimeError("a fault"), 3, "internal"),
    ],
)
def test_the_run_is_recorded_however_it_ends(monkeypatch, capsys, error, code, word):
    def ends(*args, **more):
        if error is not None:
            raise error
        return judged(*args, **more)

    monkeypatch.setattr(verify, "judge", ends)
    monkeypatch.setattr(verify, "require_secrets", lambda rack: None)
    assert main(["verify", str(EXAMPLE), "--limit", "gpu-01", "--json"]) == code
    capsys.readouterr()
    assert main(["status", str(EXAMPLE), "--all", "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert (run["verb"], run["status"], run["exit_code"]) == ("verify", word, code)
    assert run["unfinished"] == []


def test_a_run_that_judged_is_listed_shown_and_not_resumed(monkeypatch, capsys):
    monkeypatch.setattr(verify, "judge", judged)
    for verb in ("verify", "up"):
        monkeypatch.setattr(f"provision.cli.{verb}.require_secrets", lambda rack: None)
    assert main(["verify", str(EXAMPLE), "--limit", "gpu-01", "--json"]) == 1
    run = json.loads(capsys.readouterr().out)["run"]
    assert main(["status", str(EXAMPLE), "--all"]) == 0
    assert capsys.readouterr().out == f"{run}  verify  findings\n"
    assert main(["status", str(EXAMPLE), "--run", run]) == 0
    out = capsys.readouterr().out
    assert "gpu-01  looked at" in out
    assert "continue with" not in out
    assert main(["up", str(EXAMPLE), "--resume", run]) == 3
    assert "only an `up` can be resumed" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_said_before_anything_is_judged(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(verify, "require_secrets", lambda rack: None)
    words = ["verify", str(EXAMPLE), "--events", str(tmp_path / "nowhere" / "events.jsonl")]
    assert main(words) == 2
    assert "nowhere" in capsys.readouterr().err
