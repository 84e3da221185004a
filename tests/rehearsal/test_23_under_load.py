"""A node under load, by request: tested where nobody computes, and only what was tested counts.

As an administrator I want to put a node under load before I give it back, to be refused while
somebody uses it, and to read what was not tested as not tested. The programs are simulated ones,
laid on the node by this journey.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from provision.rehearsal import node as nodes
from provision.rehearsal.gpu import onnode, state, under_load
from provision.rehearsal.gpu.state import Fault

if TYPE_CHECKING:
    from tests.rehearsal.conftest import SimulatedRack

pytestmark = [pytest.mark.soak, pytest.mark.together("audit")]

PROGRAMS = ("dcgmi", "nvbandwidth", "all_reduce_perf")
PROGRAM = "/usr/libexec/holdfast/holdfast-health.pyz"
EXPECT = "/etc/holdfast/health/expect.json"


@pytest.fixture(scope="module")
def equipped(audit_rack: SimulatedRack) -> Iterator[SimulatedRack]:
    """The rack, with simulated programs on its node."""
    source = Path(under_load.__file__).read_text()
    places = " ".join(f"/usr/local/bin/{name}" for name in PROGRAMS)
    audit_rack.ssh(
        "n1",
        f"cat >/root/program <<'END'\n#!/usr/bin/python3\n{source}\nEND\n"
        f"for at in {places}; do install -m 0755 /root/program $at; done\n",
    )
    yield audit_rack
    audit_rack.ssh("n1", f"rm -f /root/program {places}")


def changed(rack: SimulatedRack, changes: dict[str, Any], *faults: Fault) -> None:
    """Change what the node's simulated GPUs and programs say."""
    node = rack.node("n1")
    now = state.struck(state.changed(onnode.current(node.folder), changes), *faults)
    nodes.show_gpus(node, now)
    rack.ssh("n1", "systemctl start holdfast-simulated-gpus.service")


def audited(rack: SimulatedRack) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """One audit under load: exit code, the node, and its load checks."""
    ran = rack.holdfast("audit", "run", rack.inventory, "--under-load", "--json")
    (node,) = ran.document["nodes"]
    found = {f["check"]: f["status"] for f in node["findings"] if f["check"].startswith("load.")}
    return ran.code, node, found


def test_without_the_programs_nothing_was_tested(audit_rack: SimulatedRack) -> None:
    code, node, found = audited(audit_rack)
    assert (code, node["outcome"], set(found.values())) == (1, "fresh", {"unknown"})
    assert len(found) == 4


def test_a_node_that_is_well_passes_and_the_report_says_what_was_tested(
    equipped: SimulatedRack,
) -> None:
    before = equipped.ssh("n1", "ls -a /run /tmp").out
    code, node, _ = audited(equipped)
    assert (code, node["outcome"], node["status"]) == (0, "fresh", "pass"), node
    assert equipped.ssh("n1", "ls -a /run /tmp").out == before
    ran = equipped.holdfast("audit", "report", equipped.inventory, "--offline")
    assert "Tested under load: load.compute on 1 node, load.memory on 1 node" in ran.out
    ran = equipped.holdfast("audit", "run", equipped.inventory)
    assert "not tested under load" in ran.out


def test_a_gpu_that_is_slow_or_wrong_is_named(equipped: SimulatedRack) -> None:
    slow = {"gpus.5.load.memory": 0.5, "gpus.2.load.compute": "Fail"}
    changed(equipped, slow)
    try:
        code, node, found = audited(equipped)
    finally:
        changed(equipped, {"gpus.5.load.memory": 1, "gpus.2.load.compute": "Pass"})
    assert (code, found) == (1, {"load.compute": "fail", "load.memory": "fail"})
    seen = {f["check"]: f["seen"] for f in node["findings"]}
    assert node["gpus"][5]["bus"] in seen["load.memory"]
    assert node["gpus"][2]["bus"] in seen["load.compute"]
    ran = equipped.holdfast("audit", "history", equipped.inventory, "--check", "load.memory",
                            "--json")  # fmt: skip
    (spell,) = ran.document["spells"]
    assert (spell["board"], spell["ended"]) == (node["gpus"][5]["serial"], None)
    code, node, _ = audited(equipped)
    assert (code, node["status"]) == (0, "pass")


@pytest.mark.parametrize("fault", [{"truncate": 300}, {"bytes": "fffe80"}, {"signal": 9}])
def test_an_answer_that_cannot_be_read_is_unknown(
    equipped: SimulatedRack, fault: dict[str, Any]
) -> None:
    changed(equipped, {}, *(Fault(id=name, call=name, **fault) for name in PROGRAMS))
    try:
        code, _, found = audited(equipped)
    finally:
        equipped.broken("n1", "none")
    assert (code, set(found.values())) == (1, {"unknown"})


@pytest.mark.parametrize("hang", ["sleep", "unkillable"])
def test_a_program_that_hangs_is_cut_off(equipped: SimulatedRack, hang: str) -> None:
    changed(equipped, {}, Fault.model_validate({"id": "h", "call": PROGRAMS[2], "hang": hang}))
    try:
        ran = equipped.ssh(
            "n1",
            f"python3 -I {PROGRAM} --expect {EXPECT} --under-load --only load. --patience 0.1"
            " --json; pgrep -f all_reduce_perf",
            check=False,
            timeout=200,
        )
    finally:
        equipped.broken("n1", "none")
    told, end = json.JSONDecoder().raw_decode(ran.out)
    assert ran.out[end:].strip() == ""
    found = {f["check"]: f["status"] for f in told["findings"]}
    assert found == {"load.compute": "pass", "load.memory": "pass", "load.nvlink": "pass",
                     "load.nccl": "unknown"}  # fmt: skip


def test_a_node_that_is_used_is_refused(equipped: SimulatedRack) -> None:
    changed(equipped, {"gpus.2.processes": [{"pid": 4711, "name": "train"}]})
    try:
        code, node, _ = audited(equipped)
    finally:
        changed(equipped, {"gpus.2.processes": []})
    assert (code, node["outcome"], node["status"]) == (1, "not_run", "unknown")
    assert "the GPUs are in use: train (4711); drain the node first" in node["why"]
