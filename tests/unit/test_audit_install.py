"""`holdfast audit install`: what is refused before a node is contacted, and what a run is asked."""

from __future__ import annotations

from typing import Any, Self

import pytest

from provision.cli.audit import ACTIONS
from provision.cli.audit import install as verb
from provision.cli.main import main, whole_parser
from provision.core.exitcodes import ExitCode
from provision.engine.session import Request
from provision.engine.up import Report

EXAMPLE = "inventory.example.yml"


def test_nodes_without_the_audit_are_refused(capsys):
    assert main(["audit", "install", EXAMPLE, "--limit", "head-01"]) == ExitCode.USAGE
    told = capsys.readouterr().err
    assert "none of these nodes has the audit" in told
    assert "holdfast_audit: {enabled: true}" in told


@pytest.mark.parametrize("words", [["audit"], ["audit", "instal", EXAMPLE]])
def test_an_action_that_there_is_not_is_refused(words, capsys):
    assert main(words) == ExitCode.USAGE
    assert "install" in capsys.readouterr().err or len(words) == 1


def test_every_action_has_a_page():
    whole_parser()
    assert "install" in ACTIONS
    assert all(action.help and action.description for action in ACTIONS.values())


def test_it_is_an_up_of_one_phase_on_audited_nodes(monkeypatch, tmp_path):
    asked: list[Request] = []

    class Session:
        """The run that would be opened."""

        def __init__(self, request: Request, _sink: Any) -> None:
            asked.append(request)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            return None

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(verb, "Session", Session)
    monkeypatch.setattr(verb, "up", lambda *_: Report("r", tmp_path).ended(ExitCode.OK, "ok"))
    monkeypatch.setattr(verb, "tell_end", lambda report, _watch, **_: report.exit_code)
    assert main(["audit", "install", EXAMPLE, "--limit", "head-01,gpu-01"]) == ExitCode.OK
    (request,) = asked
    assert (request.verb, request.phases) == ("audit-install", ("health_audit",))
    assert [node.name for node in request.rack.nodes] == ["gpu-01"]
    assert request.lock is not None
