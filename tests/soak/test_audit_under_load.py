"""Audits under load, at length: programs that do not answer well, other models, Slurm."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from provision.health.checks.all import load_checks
from provision.health.probes import load
from provision.health.words import NOT_APPLICABLE, PASS, UNKNOWN, NotIdle
from provision.rehearsal.gpu.state import Fault
from tests.unit.health_support import Recorded, one, recorded
from tests.unit.test_health_load import OF, PROGRAMS, answer, found, gpu_result, installed, under

pytestmark = pytest.mark.soak
CHECKS = {check.id: check for check in load_checks()}


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    return tmp_path_factory.mktemp("node"), {}


@pytest.fixture
def node(ground: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Recorded:
    made = recorded(ground[0], laid=ground[1])
    monkeypatch.setenv("HOLDFAST_GPUS_STATE", str(made.state_file))
    return installed(made, *PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    "fault",
    [{"hang": "sleep"}, {"hang": "unkillable"}, {"signal": 11}, {"answer": 3, "truncate": 0},
     {"truncate": 0}, {"truncate": 90}, {"truncate": 500}, {"bytes": "fffe80ff7b22"},
     {"bytes": "7b7d"}, {"bytes": "5b315d"}],
    ids=lambda f: "-".join(f"{k}={v}" for k, v in f.items()),
)  # fmt: skip
def test_a_program_that_does_not_answer_well_is_no_result(
    node: Recorded, monkeypatch: pytest.MonkeyPatch, program: str, fault: dict[str, Any]
) -> None:
    for name in ("DCGMI_S", "BANDWIDTH_S", "NCCL_S"):
        monkeypatch.setattr(load, name, 2.0)
    monkeypatch.setattr(load, "_GRACE_S", 0.3)
    node.strike(Fault(id="a", call=program, **fault))
    result = under(node)
    assert found(result) == {c: UNKNOWN if c in OF[program] else PASS for c in CHECKS}
    for check in OF[program]:
        assert "not tested under load" in one(result, check).seen


@pytest.mark.parametrize("program", ["nvbandwidth", "all_reduce_perf"])
def test_a_program_that_fails_after_a_good_answer_is_no_result(
    node: Recorded, program: str
) -> None:
    node.strike(Fault(id="a", call=program, answer=9))
    assert {c for c, s in found(under(node)).items() if s == UNKNOWN} == OF[program]


@pytest.mark.parametrize(
    ("state", "says"),
    [("IDLE", "drain it first"), ("IDLE+DRAIN", ""), ("DOWN", ""), ("", "nobody can tell"),
     ("MIXED+DRAIN", "still run"), ("IDLE+COMPLETING+DRAIN", "still run")],
)  # fmt: skip
def test_slurm_must_keep_jobs_away(
    node: Recorded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: str, says: str
) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f"#!/bin/sh\nprintf 'NodeName=node01 Arch=x\\n   State={state}\\n'\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURMD_NODENAME", "node01" if state else "node02")
    node.expected["slurm"] = {"drain": True}
    if not says:
        assert set(found(under(node)).values()) == {PASS}
        return
    with pytest.raises(NotIdle, match=says):
        under(node)


def test_another_number_of_gpus_has_no_bandwidth_unless_a_site_says_one(node: Recorded) -> None:
    node.expected["gpus"]["count"] = 4
    node.gpu({f"gpus.{n}.enumerated": False for n in range(4, 8)})
    result = under(node)
    assert one(result, "load.nccl").status == UNKNOWN
    assert "nobody said" in one(result, "load.nccl").seen
    assert one(result, "load.memory").status == PASS
    node.expected["limits"] = {"load.nccl.bus": 300}
    assert found(under(node)) == dict.fromkeys(CHECKS, PASS)


@pytest.mark.parametrize(("model", "nvlink"), [("l40s", NOT_APPLICABLE), ("b200", PASS)])
def test_other_models(
    ground: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, model: str, nvlink: str
) -> None:
    made = installed(recorded(ground[0], model, ground[1]), *PROGRAMS)
    monkeypatch.setenv("HOLDFAST_GPUS_STATE", str(made.state_file))
    made.expected["gpus"] |= {"count": len(made.gpus.gpus), "model": made.gpus.gpus[0].name}
    statuses = found(under(made))
    assert statuses["load.nvlink"] == nvlink
    assert (statuses["load.compute"], statuses["load.memory"]) == (PASS, PASS)


@pytest.mark.parametrize("status", ["Skip", "Not Run", ""])
def test_a_test_that_dcgm_left_out_is_unknown(node: Recorded, status: str) -> None:
    node.commands["dcgmi"] = answer(
        *({"name": name, "results": [gpu_result(status=status, entity_id=n) for n in range(8)]}
          for name in load.DIAG)
    )  # fmt: skip
    del node.files["@commands/dcgmi"]
    result = under(node, "load.compute", "load.memory")
    assert set(found(result).values()) == {UNKNOWN}
