"""`holdfast verify` on the command line; what it judges is tested elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

from provision.cli import verify
from provision.cli.main import main
from provision.core.events import SCHEMA, Event, read_events
from provision.verdict.model import NodeSummary, Verdict

EXAMPLE = Path(__file__).resolve().parents[2] / "inventory.example.yml"


def judged(rack, lock, *, run, events, workdir, policy, scan):
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
    assert [(e.kind, e.data["nodes"]) for e in read_events(path)] == [("verify.start", 1)]


def test_a_place_that_cannot_be_written_is_said_before_anything_is_judged(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(verify, "require_secrets", lambda rack: None)
    words = ["verify", str(EXAMPLE), "--events", str(tmp_path / "nowhere" / "events.jsonl")]
    assert main(words) == 2
    assert "nowhere" in capsys.readouterr().err
