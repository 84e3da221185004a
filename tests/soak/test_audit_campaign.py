"""The fault campaign over the node audit as it ships: every fault found, and nothing else.

Each fault is put into a recorded node, and the whole program looks: one file, child processes,
deadlines, the simulated NVML behind the unmodified nvidia-ml-py. HOLDFAST_SOAK_TABLE names a file
that gets the table of all faults.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from provision.health.probes.nvml import CODES, explain
from provision.health.words import FAIL, UNKNOWN
from provision.rehearsal.gpu.state import Fault
from tests.soak import audit_table
from tests.soak.audit_faults import INJECTED, NOT_ASKED, PRESENCE, Injected
from tests.soak.auditing import Ground, Seen, packed, traces, without_finding
from tests.unit.health_support import XID, Recorded

pytestmark = pytest.mark.soak
TABLE = os.environ.get("HOLDFAST_SOAK_TABLE", "")
MODELS = ("h100-sxm", "a100-sxm", "b200", "l40s")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    folder = tmp_path_factory.mktemp("campaign")
    return Ground(folder, packed(folder))


def judged(told: Seen, injected: Injected, found: dict[str, str]) -> None:
    """What every audit of a sick node has to be."""
    assert told.errors == ""
    assert traces(told) == []
    assert told.found == found
    assert told.code == (1 if found else 0)
    for check in found:
        finding = told.finding(check)
        assert finding["seen"], check
        assert finding["advice"], check
        assert finding["clears"], check
    if injected.shown and not found:
        check, entity = injected.shown
        assert entity in told.parts(check)


@pytest.mark.parametrize("injected", INJECTED, ids=lambda i: i.id)
def test_a_fault_is_found_where_it_is(ground: Ground, injected: Injected) -> None:
    node = ground.node()
    if injected.primed:
        assert without_finding(ground.run(node))
        node.later()
    injected.change(node)
    told = ground.run(node, injected.more)
    judged(told, injected, injected.found)
    if TABLE:
        audit_table.note(Path(TABLE), injected, told.found)
    if injected.says:
        assert injected.says in told.lead()["seen"]
    for step in injected.then:
        node.later()
        step.change(node)
        judged(ground.run(node, injected.more), injected, step.found)


def test_there_are_enough_faults() -> None:
    assert len({i.id for i in INJECTED}) == len(INJECTED)
    detected = [i for i in INJECTED if i.found]
    assert len(detected) >= 60
    quiet = {i.id for i in INJECTED if not i.found and not i.shown and not i.then}
    assert quiet == {*NOT_ASKED, "xid-then-reload"}


CALLS: dict[str, tuple[str, ...]] = {
    "nvmlDeviceGetName": ("gpu.identity",),
    "nvmlDeviceGetUUID": ("gpu.identity",),
    "nvmlDeviceGetMemoryInfo_v2": ("gpu.identity",),
    "nvmlDeviceGetVbiosVersion": ("gpu.vbios",),
    "nvmlDeviceGetGspFirmwareVersion": ("gpu.gsp",),
    "nvmlDeviceGetPersistenceMode": ("gpu.persistence",),
    "nvmlDeviceGetEccMode": ("gpu.ecc.mode",),
    "nvmlDeviceGetTotalEccErrors": ("gpu.ecc.uncorrected", "gpu.ecc.corrected"),
    "nvmlDeviceGetRemappedRows": ("gpu.rows.pending", "gpu.rows.failure"),
    "nvmlDeviceGetRowRemapperHistogram": ("gpu.rows.spares",),
    "nvmlDeviceGetUnrepairableMemoryFlag_v1": ("gpu.rows.failure",),
    "nvmlDeviceGetRepairStatus": ("gpu.repair",),
    "nvmlDeviceGetTemperatureV": ("gpu.temperature.core",),
    "nvmlDeviceGetCurrentClocksEventReasons": ("gpu.clocks",),
    "nvmlDeviceGetPowerUsage": ("gpu.power",),
    "nvmlDeviceGetEnforcedPowerLimit": ("gpu.power",),
    "nvmlDeviceGetPowerManagementDefaultLimit": ("gpu.power",),
    "nvmlDeviceGetCurrPcieLinkWidth": ("gpu.pcie.width", "gpu.pcie.replay"),
    "nvmlDeviceGetMaxPcieLinkGeneration": ("gpu.pcie.speed", "gpu.pcie.replay"),
    "nvmlDeviceGetGpuMaxPcieLinkGeneration": ("gpu.pcie.speed",),
    "nvmlDeviceGetPcieReplayCounter": ("gpu.pcie.replay",),
    "nvmlDeviceGetSramEccErrorStatus": ("gpu.ecc.sram",),
    "field:82": ("gpu.temperature.memory",),
    "field:230": ("gpu.recovery",),
    "nvmlDeviceGetMigMode": ("gpu.mig",),
    "nvmlDeviceGetNvLinkState": ("gpu.nvlink.state", "gpu.nvlink.errors"),
    "nvmlDeviceGetNvLinkErrorCounter": ("gpu.nvlink.errors",),
    "nvmlDeviceGetGpuFabricInfoV": ("gpu.fabric",),
    "nvmlDeviceGetP2PStatus": ("gpu.nvlink.p2p",),
}
"""Every call that a check depends on, and the checks."""
INSTEAD = {"nvmlDeviceGetUnrepairableMemoryFlag_v1", "nvmlDeviceGetNvLinkErrorCounter"}
"""Calls for which there is another way where the library does not support them."""


def product() -> list[list[tuple[int, str, int]]]:
    """Every call with every code, eight at a time: one on each GPU."""
    pairs = [(c, k) for k in sorted(CODES) for c in CALLS]
    random.Random(7).shuffle(pairs)
    return [
        [(g, *pair) for g, pair in enumerate(eight)]
        for eight in (pairs[at : at + 8] for at in range(0, len(pairs), 8))
    ]


@pytest.mark.parametrize("struck", product(), ids=lambda s: f"{s[0][1]}-{s[0][2]}")
def test_no_code_of_any_call_passes(ground: Ground, struck: list[tuple[int, str, int]]) -> None:
    node = ground.node()
    node.strike(*(Fault(id=f"{g}", call=c, gpu=g, answer=k) for g, c, k in struck))
    told = ground.run(node)
    assert (told.errors, traces(told), told.code) == ("", [], 1)
    buses = [g.pci.address for g in node.gpus.gpus]
    blinded: dict[str, set[str]] = {}
    gone = set()
    for g, called, code in struck:
        kind = explain(code)[0]
        if kind == "gone":
            gone.add(buses[g])
        if called in INSTEAD and kind == "not_supported":
            continue
        for check in CALLS[called]:
            blinded.setdefault(check, set()).add(buses[g])
    assert set(told.found) == set(blinded) | ({PRESENCE} if gone else set())
    for check, where in blinded.items():
        assert told.finding(check)["status"] == UNKNOWN
        if check != "gpu.vbios":  # it compares all of them, so one that is missing is all
            unknown = {e for e, s in told.parts(check).items() if s == UNKNOWN}
            assert unknown == where, check
    for bus in gone:
        assert bus in told.finding(PRESENCE)["seen"]


@pytest.mark.parametrize("call", ["nvmlInit*", "nvmlDeviceGetCount*"])
@pytest.mark.parametrize("code", sorted(CODES))
def test_no_code_of_the_start_passes(ground: Ground, call: str, code: int) -> None:
    node = ground.node()
    node.strike(Fault(id="a", call=call, answer=code))
    told = ground.run(node)
    assert (told.errors, traces(told), told.code) == ("", [], 1)
    finding = told.finding(PRESENCE)
    certain = explain(code)[0] in ("missing", "mismatch", "gone")
    assert finding["status"] == (FAIL if certain else UNKNOWN)
    assert f"NVML {code}:" in finding["seen"]
    assert "gpu.power" in told.found


@pytest.mark.parametrize("code", sorted(CODES))
def test_no_code_of_a_handle_passes(ground: Ground, code: int) -> None:
    node = ground.node()
    node.strike(Fault(id="a", call="nvmlDeviceGetHandleByIndex*", gpu=5, answer=code))
    told = ground.run(node)
    assert (told.errors, traces(told), told.code) == ("", [], 1)
    assert f"GPU 5: NVML {code}:" in told.finding(PRESENCE)["seen"]
    assert told.finding("gpu.power")["status"] == UNKNOWN


def usual(node: Recorded, chance: random.Random) -> None:
    """Readings as a node in use gives them: none of this is a finding."""
    changes: dict[str, Any] = {}
    for index, gpu in enumerate(node.gpus.gpus):
        at = f"gpus.{index}"
        slow = gpu.temperature.slowdown
        most = min(80, int(slow) - 5 if isinstance(slow, int) else 80)
        watts = gpu.power.enforced_mw
        changes |= {
            f"{at}.temperature.gpu": chance.randrange(24, most),
            f"{at}.clocks.reasons": chance.choice([0, 1, 2, 4, 0x10, 5]),
            f"{at}.power.draw_mw": int(chance.uniform(0.1, 1.05) * int(str(watts))),
            f"{at}.ecc.volatile.corrected.dram": 0,
        }
        if gpu.remapped is not None:
            changes[f"{at}.remapped.corrected"] = chance.randrange(3)
        if gpu.nvlink is not None:
            changes[f"{at}.nvlink.links.{chance.randrange(4)}.state"] = chance.choice([1, 1, 2])
    node.gpu(changes)
    lines = (
        "13, pid=9, name=python3, Graphics SM Warp Exception",
        "31, pid=9, name=python3, MMU",
        "43, pid=9, name=python3, Ch 00000008",
        "45, pid=9, name=python3, Ch 00000008",
        "94, pid=9, name=python3, Contained",
        "63, pid='<unknown>', name=<unknown>, Row",
    )
    node.log += [XID + line for line in chance.sample(lines, chance.randrange(3))]


CLEAN = int(os.environ.get("HOLDFAST_SOAK_CLEAN", "500"))


@pytest.mark.parametrize("model", MODELS)
def test_audits_of_a_clean_node_find_nothing(ground: Ground, model: str) -> None:
    chance = random.Random(model)
    node = ground.node(model)
    found: list[Any] = []
    for number in range(CLEAN // len(MODELS)):
        usual(node, chance)
        told = ground.run(node)
        if not without_finding(told):
            found.append((number, told.found, told.errors))
        node.later()
        if number % 25 == 24:
            node.log = node.log[:1]
            node.clean()
    assert found == []
