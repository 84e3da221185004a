"""Restoring: what the nodes say becomes a report, and nodes are given back."""

from __future__ import annotations

import json

import pytest

from provision.core.events import ListSink
from provision.core.exitcodes import ExitCode
from provision.core.locks import FileLock
from provision.core.paths import state_home
from provision.core.problems import HoldfastError
from provision.engine import session as sessions
from provision.engine.restore import RestoreReport, render, restore
from provision.engine.session import Request, Session
from tests.unit.engine_support import PHASES, ScriptedAnsible, rack

RUN = "20261123T091500Z-3f9a1c"


class Script(ScriptedAnsible):
    """An ansible whose nodes have journals."""

    def __init__(self) -> None:
        super().__init__()
        self.puts: dict[str, dict[str, list[str]]] = {}
        self.told: list[dict[str, object]] = []

    def _restore(self, take, limit, variables):
        self.told.append(variables)
        self._play(take, "node_lock")
        for name in limit:
            if name in self.unreachable:
                self._task(take, name, "node_lock", "Hold", "unreachable", message="timed out")
            else:
                self._task(take, name, "node_lock", "Hold", "changed")
        failed = set(self.unreachable)
        self._play(take, "restore")
        for name in [n for n in limit if n not in failed]:
            if (name, "restore") in self.errors:
                message = self.errors[name, "restore"]
                self._task(take, name, "restore", "Put back", "failed", message=message)
                failed.add(name)
                continue
            said = self.puts.get(name, {})
            status = "changed" if said.get("changes") else "ok"
            self._task(take, name, "restore", "Put back", status, **said)
        self._give_back(take, [n for n in limit if n not in failed])
        self._stats(take, limit, failed)
        return False


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setattr(sessions, "phases_of", lambda _: PHASES)
    monkeypatch.setattr("provision.engine.apply.phases_of", lambda _: PHASES)
    made = Script()
    monkeypatch.setattr(sessions, "Ansible", made.at)
    return made


def run(tmp_path, **given) -> RestoreReport:
    request = Request(rack(tmp_path), "restore", ("holdfast", "profile", "restore"))
    with Session(request, ListSink()) as session:
        return restore(session, RUN, **given)


def test_what_was_put_back_left_and_cannot_be_undone_is_told_by_node(tmp_path, script):
    script.puts["n1"] = {
        "changes": ["put back /etc/issue"],
        "left": ["/etc/motd: somebody changed it since"],
        "notes": ["aide: a removed package stays removed"],
    }
    report = run(tmp_path)
    first, second = report.nodes
    assert first.changes == ("put back /etc/issue",)
    assert first.left == ("/etc/motd: somebody changed it since",)
    assert (second.changes, second.failed) == ((), None)
    assert report.exit_code is ExitCode.FINDINGS
    text = render(report)
    assert "  ~ put back /etc/issue" in text
    assert "  ! cannot be undone: aide: a removed package stays removed" in text
    assert f"= nothing of {RUN} or later to put back" in text
    document = json.loads(json.dumps(report.to_json()))
    assert document["nodes"][0]["cannot_be_undone"] == ["aide: a removed package stays removed"]


def test_a_look_asks_ansible_for_one_and_says_would(tmp_path, script):
    report = run(tmp_path, check=True)
    (name, _, variables, check) = script.calls[0]
    assert (name, check) == ("restore", True)
    assert variables["engine_restore_to"] == RUN
    assert "would be put back" in render(report)
    assert [call[0] for call in script.calls] == ["restore"]
    assert report.exit_code is ExitCode.OK


def test_a_node_that_fails_is_given_back_and_named(tmp_path, script):
    script.errors["n1", "restore"] = "not everything was put back: x"
    report = run(tmp_path)
    assert report.exit_code is ExitCode.NOT_DONE
    assert report.problems[0].where == "n1"
    assert script.runs("unlock") == [("n1",)]


def test_a_node_that_is_away_is_named(tmp_path, script):
    script.unreachable = {"n2"}
    report = run(tmp_path)
    assert report.nodes[1].failed == "timed out"
    assert report.exit_code is ExitCode.NOT_DONE


def test_one_controller_at_a_time_restores_or_applies(tmp_path, script):
    path = state_home() / "locks/lab-a.lock"
    with FileLock(path, {"run": "other"}), pytest.raises(HoldfastError, match="held by"):
        run(tmp_path)
