"""Audits under load: each check passes and fails, and nothing that was not tested counts as tested.

The programs are simulated ones, which answer in the form of the real ones from the state of the
simulated GPUs; the audit reads them as it would the real ones.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from provision.checks import audit_result
from provision.fleet import pull
from provision.health import cli, under_load
from provision.health.audit import Result
from provision.health.checks.all import checks, load_checks
from provision.health.data_files import text
from provision.health.limits import lint
from provision.health.probes import load, load_said
from provision.health.probes.ask import Failed
from provision.health.render import as_text
from provision.health.state import Busy
from provision.health.words import ACTIONS, FAIL, NOT_APPLICABLE, PASS, SEVERITIES, UNKNOWN, NotIdle
from provision.rehearsal.gpu import under_load as simulated
from tests.unit.health_fixtures import UNDER_LOAD, Failing
from tests.unit.health_support import XID, Recorded, one, recorded

pytestmark = pytest.mark.slow
CHECKS = {check.id: check for check in load_checks()}
PROGRAMS = ("dcgmi", "nvbandwidth", "all_reduce_perf")
OF = {"dcgmi": {"load.compute", "load.memory"}, "nvbandwidth": {"load.nvlink"},
      "all_reduce_perf": {"load.nccl"}}  # fmt: skip
SOURCE = Path(simulated.__file__).read_text()
SCHEMA = json.loads(text("result.schema.json"))


@pytest.fixture(scope="module")
def ground(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    return tmp_path_factory.mktemp("node"), {}


def installed(made: Recorded, *programs: str) -> Recorded:
    program = f"#!/usr/bin/env python3\n{SOURCE.replace(simulated.PLACE, str(made.state_file))}"
    made.files |= {f"@commands/{name}": program for name in programs}
    made.files |= {f"@commands/{name}": None for name in set(PROGRAMS) - set(programs)}
    return made


@pytest.fixture
def node(ground, monkeypatch) -> Recorded:
    made = recorded(ground[0], laid=ground[1])
    monkeypatch.setenv("HOLDFAST_GPUS_STATE", str(made.state_file))
    return installed(made, *PROGRAMS)


def under(node: Recorded, *only: str) -> Result:
    node.lay()
    return node.audit(*(only or ("load.",)), under_load=True)


def found(result: Result) -> dict[str, str]:
    return {f.check: f.status for f in result.findings}


def test_a_healthy_node_passes_and_says_what_was_tested(node):
    node.lay()
    result = node.audit(under_load=True)
    bad = {f.check: f.seen for f in result.findings if f.status not in (PASS, NOT_APPLICABLE)}
    assert bad == {}
    assert set(CHECKS) <= {f.check for f in result.findings if f.status == PASS}
    told = result.to_json()
    jsonschema.validate(told, SCHEMA)
    assert told["under_load"] is True
    assert audit_result.read(json.dumps(told).encode(), "node01").missing == ()
    assert "Tested under load: load.compute, load.memory, load.nvlink, load.nccl." in as_text(told)


def test_a_result_that_contradicts_itself_about_load_is_refused(node):
    told = under(node).to_json()
    for lie in ({**told, "under_load": False}, {**told, "findings": [], "status": "unknown",
                "counts": dict.fromkeys(told["counts"], 0)}):  # fmt: skip
        with pytest.raises(audit_result.Refused, match="under load"):
            audit_result.read(json.dumps(lie).encode(), "node01")


def test_an_audit_that_nobody_asked_to_put_load_on_the_node_does_not(node):
    node.lay()
    result = node.audit("gpu.power")
    assert not {r.name for r in result.probes} & {p.name for p in load.PROBES}
    assert result.to_json()["under_load"] is False


@pytest.mark.parametrize("failing", UNDER_LOAD, ids=lambda f: f.id)
def test_a_sick_node_fails_and_nothing_else_is_blamed(node, failing: Failing):
    failing.change(node)
    result = under(node)
    finding = one(result, failing.check)
    assert (finding.status, finding.seen) == (FAIL, finding.seen)
    assert failing.says in finding.seen
    assert finding.action == (failing.action or CHECKS[failing.check].action)
    assert {c for c, s in found(result).items() if s != PASS} == {failing.check}


def test_who_waits_for_a_node_waits_longer_than_its_programs_may_take():
    assert load.LONGEST_S < pull.LOAD_S


def test_no_check_is_without_a_fixture():
    assert {f.check for f in UNDER_LOAD} == set(CHECKS)
    assert lint([*checks(), *load_checks()]) == []
    for check in CHECKS.values():
        assert (check.severity in SEVERITIES, check.action in ACTIONS) == (True, True)


@pytest.mark.parametrize("gone", [{"dcgmi"}, {"nvbandwidth"}, {"all_reduce_perf"}, set(PROGRAMS)])
def test_what_is_not_installed_was_not_tested(node, gone):
    installed(node, *(set(PROGRAMS) - gone))
    result = under(node)
    untested = set().union(*(OF[name] for name in gone))
    assert found(result) == {c: UNKNOWN if c in untested else PASS for c in CHECKS}
    for check in untested:
        assert "not tested under load" in one(result, check).seen
        assert "is not there" in one(result, check).seen
    assert result.to_json()["under_load"] is (untested != set(CHECKS))


def test_a_process_on_a_gpu_refuses(node):
    (node.root / "proc/77/fd").mkdir(parents=True, exist_ok=True)
    holder = node.root / "proc/77/fd/3"
    node.files["proc/77/comm"] = "train\n"
    group = node.root / "proc/77/cgroup"
    group.write_text("0::/user.slice/user-1000.slice\n")
    holder.symlink_to("/dev/nvidia3")
    try:
        with pytest.raises(NotIdle, match=r"train \(77\); drain the node first"):
            under(node)
        group.write_text("0::/system.slice/holdfast-inference.service/payload\n")
        with pytest.raises(NotIdle, match="of holdfast-inference"):
            under(node)
        group.write_text("0::/system.slice/nvidia-dcgm.service\n")
        assert set(found(under(node)).values()) == {PASS}
    finally:
        holder.unlink()


def test_nothing_counts_when_somebody_used_a_gpu_meanwhile(node):
    """A job that starts while the programs work makes a healthy GPU slow, unseen before."""
    began = node.root / "began"
    node.commands["nvidia-smi"] = f"!test -e {began} && echo '4711, train'; true"
    node.files["@commands/nvbandwidth"] = node.files["@commands/nvbandwidth"].replace(
        "import json\n", f"import json\nopen({str(began)!r}, 'w')\n", 1
    )
    result = under(node)
    assert found(result) == dict.fromkeys(CHECKS, UNKNOWN)
    assert "the GPUs are in use: train (4711)" in one(result, "load.compute").seen
    assert result.to_json()["under_load"] is False
    began.unlink()


def test_a_process_that_nvidia_smi_lists_refuses(node):
    node.commands["nvidia-smi"] = "4711, /usr/bin/python3\n"
    with pytest.raises(NotIdle, match=r"python3 \(4711\)"):
        under(node)


def test_a_node_that_cannot_be_told_to_be_idle_refuses(node, monkeypatch):
    def blind(ask):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(load, "_clients", blind)
    with pytest.raises(NotIdle, match="nobody can tell"):
        under(node)


def test_only_one_at_a_time():
    with under_load.alone(Path("/")):
        with pytest.raises(Busy), under_load.alone(Path("/")):
            pass
        with under_load.alone(Path("/recorded")):
            pass
    with under_load.alone(Path("/")):
        pass


def test_what_load_brings_to_light_is_found_by_the_usual_checks(node):
    """The driver writes a line while a program works: only a look afterwards finds it."""
    line = {"MESSAGE": f"{XID}94, pid=9, name=x, Contained", "__CURSOR": "z",
            "__REALTIME_TIMESTAMP": "1763894999000000"}  # fmt: skip
    line["MESSAGE"] = f"{XID}48, pid='<unknown>', name=<unknown>, DBE"
    node.lay()
    log = node.root / "log.jsonl"
    node.commands["nvbandwidth"] = f"!echo '{json.dumps(line)}' >>{log}; false".replace(
        "'<unknown>'", "unknown"
    )
    del node.files["@commands/nvbandwidth"]
    result = under(node, "load.", "log.xid")
    assert one(result, "log.xid").status == FAIL
    assert one(result, "load.nvlink").status == UNKNOWN


def test_a_site_says_its_own_numbers(node):
    node.expected["limits"] = {"load.memory.bandwidth": 2_600_000, "load.nccl.bus": 480}
    result = under(node)
    assert found(result) == {"load.compute": PASS, "load.memory": FAIL, "load.nvlink": PASS,
                             "load.nccl": FAIL}  # fmt: skip


def test_gpus_divided_by_mig_are_not_tested(node):
    node.expected["gpus"]["mig"] = [["1g.10gb"]]
    assert set(found(under(node)).values()) == {NOT_APPLICABLE}


def test_the_command_refuses_and_runs(node, monkeypatch, capsys):
    node.lay()
    (node.root / "@expect.json").write_text(json.dumps(node.expected))
    words = ["--root", str(node.root), "--nvml", str(node.library.nvml), "--journal", "/log.jsonl",
             "--expect", str(node.root / "@expect.json"), "--json", "--only", "load."]  # fmt: skip
    assert cli.main(words) == cli.BAD_INPUT
    assert cli.main([*words, "--under-load"]) == cli.OK
    node.commands["nvidia-smi"] = "4711, train\n"
    node.lay()
    capsys.readouterr()
    assert cli.main([*words, "--under-load"]) == cli.NOT_RUN
    assert "the GPUs are in use: train (4711)" in capsys.readouterr().err


def gpu_result(**more: Any) -> dict[str, Any]:
    return {"entity_group": "GPU", "entity_id": 0, "status": "Pass", **more}


def answer(*tests: dict[str, Any], **more: Any) -> str:
    body = {"test_categories": [{"category": "Stress", "tests": list(tests)}], **more}
    return json.dumps({"DCGM Diagnostic": body})


def test_what_dcgmi_says_is_read():
    result = gpu_result(status="Fail", info=["a"],
                        warnings=[{"warning": "too\nslow", "error_severity": 2}])  # fmt: skip
    switch = {"entity_group": "Switch", "entity_id": 0, "status": "Pass"}
    said = answer({"name": "Memory Bandwidth", "results": [switch, result]})
    told = load_said.diag(f"remark\n{said}", ["memory_bandwidth"])
    assert told["tests"] == {"memory_bandwidth": {"0": ["Fail", "too slow; a"]}}
    assert told["serials"] == {}


@pytest.mark.parametrize(
    ("said", "kind", "says"),
    [
        ("", "error", "said no JSON: nothing"),
        ("Error: no connection\n", "error", "Error: no connection"),
        (answer(runtime_error="busy"), "error", "busy"),
        (answer(), "error", "says nothing of the test diagnostic"),
        (json.dumps({"DCGM GPU Diagnostic": {}}), "error", "DCGM 4 is meant"),
        (answer()[:-1], "truncated", "not whole"),
    ],
)
def test_what_dcgmi_says_is_refused(said, kind, says):
    with pytest.raises(Failed, match=says) as raised:
        load_said.diag(said, ["diagnostic"])
    assert raised.value.kind == kind


def matrix(status: str = "Passed", name: str = load.PAIRS, **more: Any) -> str:
    test = {"name": name, "status": status, "bandwidth_matrix": [["N/A", "1.5"], ["2", "N/A"]]}
    return json.dumps({"nvbandwidth": {"testcases": [test], **more}})


def test_what_nvbandwidth_says_is_read():
    assert load_said.bandwidths(matrix(), load.PAIRS) == [[None, 1.5], [2.0, None]]
    for bad, kind in [(matrix("Waived"), "not_supported"), (matrix("Error"), "error"),
                      (matrix("Not Found"), "error"), (matrix(error="x"), "error"),
                      (matrix(name="other"), "error")]:  # fmt: skip
        with pytest.raises(Failed) as raised:
            load_said.bandwidths(bad, load.PAIRS)
        assert raised.value.kind == kind
    with pytest.raises(ValueError, match="nan"):
        load_said.bandwidths(matrix().replace("1.5", "nan"), load.PAIRS)


HEAD = "#  size  count  type  redop  root  time  algbw  busbw  #wrong"
END = "# Out of bounds values : 0 OK\n# Avg bus bandwidth    : 400\n"
ROW = " 4294967296 1073741824 float sum -1 9000 240 420 0"


def test_what_all_reduce_perf_says_is_read():
    ranks = "#   Rank  0 Group  0 Pid 1 on n device  0 [0x1b] H100\n# Rank 1 Group 0\n"
    twice = f"{ranks}{HEAD}  time  algbw  busbw  #wrong\n{ROW} 9100 239 418.5 2\n{END}"
    assert load_said.reduced(twice) == {"ranks": 2, "bus": 418.5, "wrong": 2}
    once = f"{HEAD}\n{ROW}\n{END.replace(': 0 OK', ': 3 FAILED')}"
    assert load_said.reduced(once) == {"ranks": 0, "bus": 420, "wrong": 3}


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ("node: NCCL failure common.cu:1 'unhandled cuda error'\n", "unhandled cuda error"),
        (f"{HEAD}\n{ROW}\n", "ends early"),
        (f"{HEAD}\n{END}", "other columns"),
        (f"{HEAD}\n{ROW} 7\n{END}", "other columns"),
        (f"{HEAD.replace('busbw', 'speed')}\n{ROW}\n{END}", "other columns"),
        (f"{HEAD}\n{ROW[:-1]}N/A\n{END}", "did not compare"),
        (f"{HEAD}\n{ROW.replace('240 420', 'inf inf')}\n{END}", "says 'inf' for a bandwidth"),
        (f"{HEAD}\n{ROW.replace('240 420', 'nan nan')}\n{END}", "says 'nan' for a bandwidth"),
    ],
)
def test_what_all_reduce_perf_says_is_refused(said, says):
    with pytest.raises((Failed, ValueError), match=says):
        load_said.reduced(said)
