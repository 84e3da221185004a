"""What a node's audit says, and when it is believed: only this release's, told what is declared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from provision.checks import audited
from provision.checks.audit_program import program
from provision.checks.audited import RAN, believed, judged
from provision.checks.probes import audit as probe
from provision.checks.shipping import Sight
from provision.health.checks.all import checks
from provision.rack.model import Node
from provision.verdict.model import Status
from tests.unit.health_support import recorded

NODE = Node(name="n1", address="192.0.2.11")
PLATFORM = {"el": "10", "arch": "x86_64"}
TOLD = {"schema": "holdfast.health.expect/1", "node": "n1", "gpus": {"count": 8}}
CHECKS = {f"audit.{check.id}" for check in checks()}


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> dict[str, Any]:
    """What the audit says of a healthy node."""
    node = recorded(tmp_path_factory.mktemp("node"))
    before = os.environ.get("HOLDFAST_GPUS_STATE")
    os.environ["HOLDFAST_GPUS_STATE"] = str(node.state_file)
    try:
        node.lay()
        found = node.audit().to_json()
    finally:
        os.environ.pop("HOLDFAST_GPUS_STATE")
        if before is not None:
            os.environ["HOLDFAST_GPUS_STATE"] = before
    return {**found, "node": "n1"}


def seen(result: dict[str, Any], /, **parts: Any) -> Sight:
    """What a probe saw; `parts` replace what it saw usually."""
    usual = {
        "platform": {"value": PLATFORM},
        "program": {"value": program().sha256},
        "expect": {"value": TOLD},
        "result": {"value": json.dumps(result)},
    }
    return Sight(areas={"audit": {**usual, **parts}})


def found(sight: Sight) -> dict[str, Any]:
    """The findings by check."""
    return {f.check: f for f in judged(believed(NODE, sight, {"el10-x86_64": TOLD}))}


@pytest.mark.slow
def test_a_result_becomes_findings_of_the_verdict(result):
    told = found(seen(result))
    assert told[RAN].status is Status.PASS
    assert f"{len(result['findings'])} checks" in told[RAN].seen
    assert set(told) >= CHECKS
    for one in result["findings"]:
        assert told[f"audit.{one['check']}"].status.value == one["status"]
        assert told[f"audit.{one['check']}"].severity.value == one["severity"]


@pytest.mark.slow
def test_a_sites_check_is_not_lost_for_its_name(result):
    told = json.loads(json.dumps(result))
    told["findings"].append(
        {**told["findings"][0], "check": "site.raid.whole", "status": "fail", "parts": []}
    )
    told["counts"]["fail"] += 1
    told["status"] = "fail"
    assert found(seen(told))["audit.site.raid.whole"].status is Status.FAIL


@pytest.mark.slow
def test_a_finding_keeps_what_to_do_and_what_clears_it(result):
    spoilt = json.loads(json.dumps(result))
    one = next(f for f in spoilt["findings"] if f["check"] == "gpu.presence.driver")
    one.update(status="fail", seen="GPU 3: GPU is lost", action="reset_gpu", advice="drain it",
               clears="it answers", severity="critical", parts=[])  # fmt: skip
    spoilt["status"] = "fail"
    spoilt["counts"]["pass"] -= 1
    spoilt["counts"]["fail"] += 1
    told = found(seen(spoilt))["audit.gpu.presence.driver"]
    assert (told.status, told.severity.value) == (Status.FAIL, "critical")
    assert told.action == "reset gpu: drain it"
    assert told.clears == "it answers"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parts", "status", "says"),
    [
        ({"program": {"value": "0" * 64}}, Status.FAIL, "not this release's"),
        ({"program": {"absent": "it is not there"}}, Status.FAIL, "is not there"),
        ({"program": {"error": "permission"}}, Status.UNKNOWN, "permission"),
        ({"expect": {"value": {**TOLD, "gpus": {"count": 7}}}}, Status.FAIL, "gpus differs"),
        ({"expect": {"value": []}}, Status.FAIL, "not what is declared now"),
        ({"platform": {"value": {"el": "9", "arch": "x86_64"}}}, Status.FAIL, "el9-x86_64"),
        ({"result": {"error": "older than the audit"}}, Status.UNKNOWN, "older"),
        ({"result": {"value": "{}"}}, Status.UNKNOWN, "not a result"),
        ({"result": {"value": ""}}, Status.UNKNOWN, "not a result"),
    ],
)
def test_what_cannot_be_believed_proves_nothing(result, parts, status, says):
    told = found(seen(result, **parts))
    assert told[RAN].status is status
    assert says in told[RAN].seen
    assert "audit install" in told[RAN].action
    assert {f.status for c, f in told.items() if c != RAN} == {Status.UNKNOWN}
    assert set(told) >= CHECKS


@pytest.mark.slow
def test_a_result_of_another_node_is_not_believed(result):
    told = found(seen({**result, "node": "n2"}))
    assert told[RAN].status is Status.UNKNOWN
    assert "n2" in told[RAN].seen


@pytest.mark.slow
def test_a_check_that_the_audit_says_nothing_of_is_unknown(result):
    less = json.loads(json.dumps(result))
    gone = less["findings"].pop(0)
    less["counts"][gone["status"]] -= 1
    told = found(seen(less))
    assert told[RAN].status is Status.PASS
    assert told[f"audit.{gone['check']}"].status is Status.UNKNOWN


def test_a_node_that_cannot_be_reached():
    pulled = believed(NODE, Sight(unreachable="no route"), {})
    assert pulled.unreachable == "no route"
    told = judged(pulled)
    assert {f.status for f in told} == {Status.UNKNOWN}
    assert "no route" in told[0].seen


class Unit:
    """systemd, as far as the probe asks it: each start writes what `answers` say next."""

    def __init__(self, place: Path, *answers: dict[str, Any] | str | None) -> None:
        self.place = place
        self.answers = list(answers)
        self.started = 0

    def __call__(self, argv: list[str], timeout: float = 60.0) -> str:
        assert argv == ["systemctl", "start", "holdfast-health.service"]
        self.started += 1
        answer = self.answers.pop(0)
        if answer is None:
            raise probe.Unseen("systemctl start ended with 1")
        text = answer if isinstance(answer, str) else json.dumps(answer)
        self.place.write_text(text)
        return ""


def an_answer(status: str = "pass", age: float = 0.0) -> dict[str, Any]:
    return {"started": time.time() - age, "findings": [{"status": status}]}


def look(folder: Path, *answers: Any, monkeypatch: Any) -> tuple[dict[str, Any], int]:
    """What the probe says of the result, and how often it let the audit run."""
    (folder / "program").write_text("x")
    (folder / "expect").write_text("{}")
    unit = Unit(folder / "result", *answers)
    monkeypatch.setattr(probe, "run", unit)
    said = probe.look(
        {
            "unit": "holdfast-health.service",
            "program": str(folder / "program"),
            "expect": str(folder / "expect"),
            "result": str(folder / "result"),
            "seconds": 5,
            "pause": 0.01,
        }
    )
    return said["result"], unit.started


def test_a_fresh_result_is_brought(tmp_path, monkeypatch):
    said, times = look(tmp_path, an_answer(), monkeypatch=monkeypatch)
    assert json.loads(said["value"])["findings"] == [{"status": "pass"}]
    assert times == 1


def test_one_that_ran_already_is_not_believed_and_another_is_run(tmp_path, monkeypatch):
    said, times = look(tmp_path, an_answer(age=30), an_answer(), monkeypatch=monkeypatch)
    assert "value" in said
    assert times == 2
    said, times = look(tmp_path, *[an_answer(age=30)] * 3, monkeypatch=monkeypatch)
    assert "older than the audit that was asked for" in said["error"]
    assert times == 3


def test_what_grows_is_known_after_a_second_look(tmp_path, monkeypatch):
    said, times = look(tmp_path, an_answer("unknown"), an_answer(), monkeypatch=monkeypatch)
    assert json.loads(said["value"])["findings"] == [{"status": "pass"}]
    assert times == 2
    answers = (an_answer("unknown"), an_answer("unknown"))
    said, times = look(tmp_path, *answers, monkeypatch=monkeypatch)
    assert json.loads(said["value"])["findings"] == [{"status": "unknown"}]
    assert times == 2


@pytest.mark.parametrize(
    ("answer", "says"),
    [(None, "ended with 1"), ("{", "cannot be read"), ('{"started": 1}', "cannot be read")],
)
def test_a_run_without_a_result_is_an_error(tmp_path, monkeypatch, answer, says):
    said, _ = look(tmp_path, answer, monkeypatch=monkeypatch)
    assert says in said["error"]


def test_the_program_is_the_same_each_time_and_runs_alone(tmp_path):
    target = tmp_path / "holdfast-health.pyz"
    target.write_bytes(program().data)
    argv = [sys.executable, "-I", str(target), "--list", "--format", "json"]
    done = subprocess.run(argv, capture_output=True, check=True, cwd=tmp_path)
    assert {f"audit.{c['id']}" for c in json.loads(done.stdout)} == CHECKS
    audited.program.cache_clear()
    assert program().data == target.read_bytes()
