"""The simulated NVML, call by call, through nvidia-ml-py as it is pinned."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from provision.rehearsal.gpu import models, state
from tests.unit import gpus_support as gpus

pytestmark = [pytest.mark.slow, pytest.mark.together("gpusim")]

NOT_SUPPORTED = {"error": 3}
INVALID = {"error": 2}

CALLS = Path(__file__).parents[1] / "data/nvml_calls.yml"
EXPRESSIONS: dict[str, str] = yaml.safe_load(CALLS.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def library():
    return gpus.built()


def _busy():
    """An H100 node on which almost every value is another than usual."""
    model = models.load("h100-sxm")
    shown = models.partitioned(model, models.fresh(model), models.Cut(7, ["3g.40gb", "1g.10gb"]))
    return state.changed(
        shown,
        {
            "gpus.1.pci.width": 8,
            "gpus.1.pci.counters.replays": 12,
            "gpus.1.ecc.volatile.uncorrected.dram": 2,
            "gpus.1.ecc.aggregate.corrected.sram": 40,
            "gpus.1.sram.threshold_exceeded": True,
            "gpus.1.sram.aggregate_parity": 5,
            "gpus.1.remapped.uncorrected": 3,
            "gpus.1.remapped.pending": True,
            "gpus.1.repair.tpc_pending": True,
            "gpus.1.temperature.gpu": 91,
            "gpus.1.clocks.reasons": 0x48,
            "gpus.1.violations.power": 17,
            "gpus.1.nvlink.links.3.state": 0,
            "gpus.1.nvlink.links.3.replay": 9,
            "gpus.1.fabric.state": 2,
            "gpus.1.fabric.cluster": "0a" * 16,
            "gpus.1.recovery_action": 2,
            "gpus.1.modes.persistence": False,
            "gpus.1.firmware.inforom_valid": False,
            "gpus.1.fields.300": 123,
            "gpus.1.processes": [{"pid": 4711, "name": "/usr/bin/train", "memory": 1 << 30}],
            "gpus.0.retired": {"single": [4096, 8192], "double": [], "pending": True},
            "gpus.0.platform": {"chassis": "C123", "slot": 4, "tray": 1, "host": 0, "peer": 0},
            "peers.exceptions": [{"a": 4, "b": 1, "capability": 2, "status": 5}],
        },
    )


@pytest.fixture(scope="module")
def shown():
    return _busy()


@pytest.fixture(scope="module")
def answers(library, shown, tmp_path_factory):
    path = gpus.write(tmp_path_factory.mktemp("h100"), shown)
    listed = ",\n".join(f"{name!r}: {code}" for name, code in EXPRESSIONS.items())
    return gpus.ask(library, path, f"""
early = tried(n.nvmlDeviceGetCount)
n.nvmlInit()
a, h, c, g = (n.nvmlDeviceGetHandleByIndex(i) for i in (0, 1, 4, 7))
m = n.nvmlDeviceGetMigDeviceHandleByIndex(g, 0)
s = n.nvmlEventSetCreate()
n.nvmlDeviceRegisterEvents(h, n.nvmlEventTypeXidCriticalError, s)
answer = {{'early': early, {listed}}}
n.nvmlEventSetFree(s)
n.nvmlShutdown()
answer['late'] = tried(n.nvmlDeviceGetCount)
""")  # fmt: skip


def expected(shown):
    """What the busy node must answer, out of its state."""
    gpu, mig = shown.gpus[1], shown.gpus[7].mig.devices[0]
    memory, power, pci = gpu.memory, gpu.power, gpu.pci
    counters = dict.fromkeys((
        "aggregateUncSecDed", "aggregateCor", "volatileUncParity", "volatileUncSecDed",
        "volatileCor", "aggregateUncBucketL2", "aggregateUncBucketSm", "aggregateUncBucketPcie",
        "aggregateUncBucketMcu", "aggregateUncBucketOther"), 0)  # fmt: skip
    fabric = {"clusterUuid": [10] * 16, "status": 0, "cliqueId": 0, "state": 2}
    address = {
        "domain": 0, "bus": 0x29, "device": 0, "pciDeviceId": 0x233010DE,
        "pciSubSystemId": 0x16C110DE, "busId": "00000000:29:00.0",
    }  # fmt: skip
    return {
        "early": {"error": 1}, "late": {"error": 1},
        "driver": "580.105.08", "nvml": "13.580.105.08", "cuda": [13000, 13000],
        "branch": {"version": 0x1000054, "branch": "r580_00"},
        "confidential": {"environment": 0, "ccFeature": 0, "devToolsMode": 0},
        "process": ["/usr/bin/train", {"error": 6}], "count": 8, "beyond": INVALID,
        "by_uuid": 1, "by_bus": 1, "by_serial": 1, "by_nothing": {"error": 6},
        "no_handle": INVALID, "name": "NVIDIA H100 80GB HBM3", "uuid": gpu.uuid,
        "serial": gpu.serial, "part": gpu.part_number,
        "numbers": [1, 1, 14, 9, 16896, gpu.board_id, 0], "module": [2, 4],
        "capability": [9, 0], "memory_node": [1, 0],
        "pci": {"busIdLegacy": "0000:29:00.0", **address},
        "pci_ext": [None, {"version": 0x1000040, **address, "baseClass": 3, "subClass": 2}],
        "wrong_version": {"error": 25}, "vbios": gpu.firmware.vbios,
        "inforom": [gpu.firmware.inforom_image, "2.1", "7.16", NOT_SUPPORTED, INVALID],
        "inforom_valid": [None, {"error": 14}], "checksum": gpu.firmware.inforom_checksum,
        "gsp": ["580.105.08", [1, 1]],
        "memory": {"total": memory.total, "free": memory.total - memory.reserved,
                   "used": memory.reserved},
        "memory_v2": {"version": 0x2000028, "total": memory.total, "reserved": memory.reserved,
                      "free": memory.total - memory.reserved, "used": 0},
        "bar1": {"bar1Total": memory.bar1_total, "bar1Free": memory.bar1_total - 2**20,
                 "bar1Used": 2**20},
        "utilization": {"gpu": 0, "memory": 0},
        "processes": [{"pid": 4711, "usedGpuMemory": 2**30, "gpuInstanceId": 2**32 - 1,
                       "computeInstanceId": 2**32 - 1}],
        "no_processes": [], "modes": [0, 0, [1, 1], [1], [0, 0]], "ecc": [[0, 40], [2, 0]],
        "ecc_places": [NOT_SUPPORTED, NOT_SUPPORTED, 2, *[NOT_SUPPORTED] * 4, 0, INVALID],
        "ecc_detailed": NOT_SUPPORTED,
        "sram": {"version": 0x1000068, "aggregateUncParity": 5, **counters,
                 "bThresholdExceeded": 1},
        "remapped": [0, 3, 1, 0],
        "remapped_v2": {"corrActiveRemaps": 0, "corrInactiveRemaps": 0, "uncActiveRemaps": 3,
                        "uncInactiveRemaps": 0, "bPending": 1, "bfailureOccurred": 0},
        "banks": {"max": 2560, "high": 0, "partial": 0, "low": 0, "none": 0},
        "repair": [[0, 1], 0], "retired": [NOT_SUPPORTED, [4096, 8192], [], 1],
        "temperature": [91, 91, INVALID, 54], "thresholds": [95, 89, 95, 87, NOT_SUPPORTED],
        "thermal": {"controller": 1, "defaultMinTemp": 0, "defaultMaxTemp": 95,
                    "currentTemp": 91, "target": 1},
        "fans": [0, NOT_SUPPORTED],
        "clocks": [[1980, 1980, 2619, 1545, INVALID], [1980, 1980, 2619, 1545, INVALID],
                   [1980, 1980, 2619, NOT_SUPPORTED, INVALID]],
        "reasons": [0x48, 0x48, 0x1FF], "violations": [17, INVALID, NOT_SUPPORTED],
        "states": [0, 0],
        "power": [power.draw_mw, 1, 700000, 700000, 700000, [200000, 700000], power.energy_mj],
        "pcie": [8, 16, 5, 5, 5, 12, 5, 32000], "throughput": [0, 0, INVALID],
        "links": [1, 1, 1, 0, *[1] * 14, INVALID, INVALID], "link": [6, 1, INVALID, 2],
        "link_errors": [9, 0, 0, NOT_SUPPORTED, NOT_SUPPORTED, INVALID],
        "link_remote": "00000000:08:00.0", "peers": [[0, 0, 0, 0, 0, INVALID], 5, INVALID],
        "ancestor": [40, 50],
        "fabric": fabric, "fabric_v2": {"version": 0x2000024, **fabric, "healthMask": 0x1AA},
        "fabric_v3": {"version": 0x3000028, **fabric, "healthMask": 0x1AA, "healthSummary": 1},
        "platform": [{"version": 0x200002C, "ibGuid": "", "chassisSerialNumber": "C123",
                      "slotNumber": "\4", "trayIndex": "\1", "hostId": "\0", "peerType": "\0",
                      "moduleId": "\2"}, NOT_SUPPORTED],
        "fields": [[0, 1, 1], [0, 3, 2], [0, 1, 41], [0, 1, pci.counters.replays], [0, 3, 9],
                   [0, 1, 0], [2, 0, 0], [0, 1, 2], [0, 3, 0], [0, 3, 123], [2, 0, 0]],
        "signed_field": [-8, -2],
        "mig_count": [7, {"error": 6}, {"error": 6}],
        "mig": [mig.uuid, "NVIDIA H100 80GB HBM3 MIG 3g.40gb", 1, 0, 1, NOT_SUPPORTED,
                NOT_SUPPORTED],
        "mig_parent": 7, "mig_memory": 40448,
        "mig_attributes": [{"multiprocessorCount": 60, "sharedCopyEngineCount": 0,
                            "sharedDecoderCount": 0, "sharedEncoderCount": 0,
                            "sharedJpegCount": 0, "sharedOfaCount": 0, "gpuInstanceSliceCount": 3,
                            "computeInstanceSliceCount": 3, "memorySizeMB": 40448},
                           NOT_SUPPORTED],
        "events": 0xFE9F, "quiet": {"error": 10}, "lacking": {"error": 13},
    }  # fmt: skip


@pytest.mark.parametrize("name", ["early", "late", *EXPRESSIONS])
def test_a_call_answers_what_the_state_says(answers, shown, name):
    assert answers[name] == expected(shown)[name]


def test_the_library_is_read_through_the_package_that_is_pinned():
    """Another package of the name pynvml installs a module of the same name."""
    files = importlib.metadata.files("nvidia-ml-py") or []
    assert "pynvml.py" in {str(path) for path in files}


# What a node without NVLink, MIG and fabric does not have.
ABSENT = {
    "links": "tried(n.nvmlDeviceGetNvLinkState, h, 0)",
    "errors": "tried(n.nvmlDeviceGetNvLinkErrorCounter, h, 0, 0)",
    "fabric": "filled(n.c_nvmlGpuFabricInfo_v2_t, n.nvmlDeviceGetGpuFabricInfoV, h)",
    "mig": "tried(n.nvmlDeviceGetMigMode, h)",
    "module": "tried(n.nvmlDeviceGetModuleId, h, pointer(c_uint())) and {'error': 3}",
    "hbm": "{'error': n.nvmlDeviceGetFieldValues(h, [82])[0].nvmlReturn}",
    "link_field": "{'error': n.nvmlDeviceGetFieldValues(h, [(165, 0)])[0].nvmlReturn}",
}


@pytest.mark.parametrize("name", models.names())
def test_every_model_answers_by_its_own_numbers(name, tmp_path):
    shown = gpus.healthy(name)
    listed = ", ".join(f"{key!r}: {code}" for key, code in ABSENT.items())
    path = gpus.write(tmp_path, shown)
    found = gpus.ask(gpus.built(name), path, f"""
n.nvmlInit()
answer = []
for i in range(n.nvmlDeviceGetCount()):
    h = n.nvmlDeviceGetHandleByIndex(i)
    answer.append([n.nvmlDeviceGetUUID(h), n.nvmlDeviceGetPciInfo(h).busId.lower(),
                   n.nvmlDeviceGetMemoryInfo(h).total, tried(n.nvmlDeviceGetRemappedRows, h),
                   n.nvmlDeviceGetEnforcedPowerLimit(h), {{{listed}}}])
""")  # fmt: skip
    for gpu, (uuid, bus, total, remapped, limit, absent) in zip(shown.gpus, found, strict=True):
        assert (uuid, bus) == (gpu.uuid, f"0000{gpu.pci.address}")
        assert (total, limit) == (gpu.memory.total, gpu.power.enforced_mw)
        assert remapped == [0, 0, 0, 0]
        wanted = dict.fromkeys(ABSENT, NOT_SUPPORTED)
        assert (absent == wanted) == (gpu.nvlink is None)


def test_the_library_is_the_one_of_its_time(tmp_path):
    """A function that a driver does not have is not exported."""
    old = gpus.build.build("535.183.01", lacks=["nvmlDeviceGetTemperatureV", "nvmlInit_v2"])
    shown = state.changed(gpus.healthy(), {"module.version": "535.183.01"})
    found = gpus.ask(old, gpus.write(tmp_path, shown), """
n.nvmlInit()
h = n.nvmlDeviceGetHandleByIndex(0)
answer = [tried(n.nvmlSystemGetDriverVersion), tried(n.nvmlDeviceGetTemperatureV, h, 0),
          tried(n.nvmlDeviceGetTemperature, h, 0)]
""")  # fmt: skip
    assert found == ["535.183.01", {"error": 13}, 33]


def test_nothing_but_its_interface_is_exported(library):
    for path, prefix in ((library.nvml, "nvml"), (library.cuda, "cu")):
        done = subprocess.run(["nm", "-D", "--defined-only", path], capture_output=True, text=True,
                              check=True)  # fmt: skip
        names = [line.split()[-1] for line in done.stdout.splitlines()]
        assert names
        assert all(name.startswith(prefix) for name in names)


def test_changes_are_seen_by_a_process_that_runs(library, tmp_path):
    path = gpus.write(tmp_path)
    code = """
n.nvmlInit()
h = n.nvmlDeviceGetHandleByIndex(2)
answer = []
for line in sys.stdin:
    answer.append(tried(n.nvmlDeviceGetTemperatureV, h, 0))
    print(flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", f"{gpus.FRAME}{code}\nprint(answer)"], text=True, bufsize=1,
        env=gpus.environment(library, path), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        for celsius in (40, 41, None, 300):
            state.write(path, state.changed(gpus.healthy(), {"gpus.2.temperature.gpu": celsius}))
            process.stdin.write("\n")
            process.stdout.readline()
        out, _ = process.communicate()
    assert out.strip() == "[40, 41, {'error': 3}, 300]"


def test_an_event_reaches_whoever_waits(library, tmp_path):
    path = gpus.write(tmp_path)
    later = gpus.write(tmp_path, state.changed(gpus.healthy(), {
        "events": [{"gpu": 1, "type": 8, "data": 79}, {"gpu": 2, "type": 8, "data": 31}],
    }), "later.json")  # fmt: skip
    found = gpus.ask(library, path, f"""
n.nvmlInit()
s = n.nvmlEventSetCreate()
n.nvmlDeviceRegisterEvents(n.nvmlDeviceGetHandleByIndex(1), n.nvmlEventTypeXidCriticalError, s)
use({str(later)!r})
answer = [n.nvmlEventSetWait_v2(s, 1000).eventData, tried(n.nvmlEventSetWait_v2, s, 10)]
""")  # fmt: skip
    assert found == [79, {"error": 10}]


COUNTED = {
    82: "temperature.memory", 83: "power.energy_mj", 94: "pci.counters.replays",
    95: "pci.counters.replay_rollovers", 142: "remapped.corrected", 143: "remapped.uncorrected",
    161: "nvlink.links.0.replay", 162: "nvlink.links.0.recovery", 163: "nvlink.links.0.crc_flit",
    164: "nvlink.speed_mbps", 165: "nvlink.links.0.state", 173: "pci.counters.correctable",
    174: "pci.counters.naks_received", 175: "pci.counters.receiver_errors",
    176: "pci.counters.bad_tlps", 177: "pci.counters.naks_sent", 178: "pci.counters.bad_dllps",
    179: "pci.counters.non_fatal", 180: "pci.counters.fatal",
    181: "pci.counters.unsupported_requests", 182: "pci.counters.lcrc_errors",
    183: "pci.counters.lane_errors", 185: "power.average_mw", 186: "power.draw_mw",
    187: "power.min_mw", 188: "power.max_mw", 189: "power.default_mw", 190: "power.limit_mw",
    230: "recovery_action", 269: "violations.sw_thermal", 270: "violations.hw_thermal",
    271: "violations.power_brake", 301: "remapped.corrected_inactive",
    302: "remapped.uncorrected_inactive", 74: "violations.power", 75: "violations.thermal",
    12: "ecc.volatile.uncorrected.dram", 11: "ecc.volatile.corrected.dram",
    23: "ecc.aggregate.uncorrected.dram", 24: "ecc.aggregate.corrected.registers",
    17: "ecc.volatile.uncorrected.cbu", 28: "ecc.aggregate.uncorrected.cbu",
}  # fmt: skip
"""NVML's number of a field, and the value of the state that it shows."""
FLAGS = {
    1: "modes.ecc", 2: "modes.ecc_pending", 31: "retired.pending", 144: "remapped.pending",
    145: "remapped.failed",
}  # fmt: skip


def test_every_field_shows_its_own_value(library, tmp_path):
    shown = state.changed(gpus.healthy(), {"gpus.0.retired": {}})
    shown = state.changed(shown, {f"gpus.0.{path}": 500 + field for field, path in COUNTED.items()})
    found = gpus.ask(library, gpus.write(tmp_path, shown), f"""
n.nvmlInit()
h = n.nvmlDeviceGetHandleByIndex(0)
answer = [f.value.ullVal for f in n.nvmlDeviceGetFieldValues(h, {list(COUNTED)})]
""")  # fmt: skip
    wanted = {field: 500 + field for field in COUNTED}
    assert dict(zip(COUNTED, found, strict=True)) == wanted


def test_every_flag_shows_its_own_value(library, tmp_path):
    off = {f"gpus.0.{path}": False for path in FLAGS.values()}
    healthy = state.changed(gpus.healthy(), {"gpus.0.retired": {}})
    paths = {
        field: str(gpus.write(tmp_path, state.changed(healthy, {**off, f"gpus.0.{path}": True}),
                              f"{field}.json"))
        for field, path in FLAGS.items()
    }  # fmt: skip
    found = gpus.ask(library, gpus.write(tmp_path), f"""
n.nvmlInit()
h = n.nvmlDeviceGetHandleByIndex(0)
answer = []
for path in {list(paths.values())}:
    use(path)
    answer.append([f.value.uiVal for f in n.nvmlDeviceGetFieldValues(h, {list(FLAGS)})])
""")  # fmt: skip
    assert found == [[int(one == other) for other in FLAGS] for one in FLAGS]
