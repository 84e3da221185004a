"""Faults of the simulated driver: each surface fails alone, and as it was asked to."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from provision.core.problems import HoldfastError
from provision.rehearsal.gpu import faults, state, tree
from provision.rehearsal.gpu.state import Fault
from tests.unit import gpus_support as gpus

pytestmark = [pytest.mark.slow, pytest.mark.together("gpusim")]

CODES = [*range(1, 31), 999]


@pytest.fixture(scope="module")
def library():
    return gpus.built()


def struck(*all_faults):
    return state.struck(gpus.healthy(), *all_faults)


BEGIN = """
n.nvmlInit()
h = [n.nvmlDeviceGetHandleByIndex(i) for i in range(n.nvmlDeviceGetCount())]
"""


def test_any_call_answers_any_error(library, tmp_path):
    paths = {}
    for code in CODES:
        fault = Fault(id="x", call="nvmlDeviceGetSerial", gpu=2, answer=code)
        paths[code] = str(gpus.write(tmp_path, struck(fault), f"{code}.json"))
    found = gpus.ask(
        library,
        gpus.write(tmp_path),
        f"""{BEGIN}
answer = []
for code, path in {paths}.items():
    use(path)
    other = tried(n.nvmlDeviceGetSerial, h[1])
    answer.append([code, tried(n.nvmlDeviceGetSerial, h[2]), "error" in other])
""",
    )
    assert found == [[code, {"error": code}, False] for code in CODES]


def test_every_exported_call_can_be_struck(library, tmp_path):
    """No function goes round the faults."""
    done = subprocess.run(["nm", "-D", "--defined-only", library.nvml], capture_output=True,
                          text=True, check=True)  # fmt: skip
    names = sorted({line.split()[-1] for line in done.stdout.splitlines()} - {"nvmlErrorString"})
    path = gpus.write(tmp_path, struck(Fault(id="x", call="nvml*", answer=27)))
    code = f"""
import ctypes, json
lib = ctypes.CDLL({str(library.nvml)!r})
room = [ctypes.create_string_buffer(4096) for _ in range(6)]
print(json.dumps([[name, getattr(lib, name)(*room)] for name in {names}]))
"""
    done = subprocess.run([sys.executable, "-c", code], env=gpus.environment(library, path),
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert len(names) > 100
    assert json.loads(done.stdout) == [[name, 27] for name in names]


def test_a_fault_begins_after_some_calls_and_ends_after_others(library, tmp_path):
    fault = Fault(id="x", call="nvmlDeviceGetName", gpu=1, answer=15, after=2, times=3)
    found = gpus.ask(library, gpus.write(tmp_path, struck(fault)), f"""{BEGIN}
answer = [tried(n.nvmlDeviceGetName, h[1]) == {{"error": 15}} for _ in range(7)]
""")  # fmt: skip
    assert found == [False, False, True, True, True, False, False]


def test_one_field_of_many_fails(library, tmp_path):
    fault = Fault(id="x", call="field:230", gpu=0, answer=999)
    found = gpus.ask(library, gpus.write(tmp_path, struck(fault)), f"""{BEGIN}
answer = [[f.nvmlReturn for f in n.nvmlDeviceGetFieldValues(one, [82, 230])] for one in h[:2]]
""")  # fmt: skip
    assert found == [[0, 999], [0, 0]]


def test_what_comes_and_goes(library, tmp_path):
    """A schedule whose time lies within its first seconds, and one whose time has passed."""
    now = time.time()
    found = {}
    for name, since in (("in", now), ("out", now - 500)):
        shown = struck(
            Fault(id="a", gpu=0, path="temperature.gpu", value=99, every_s=1000, on_s=400,
                  since=since),
            Fault(id="b", gpu=1, call="nvmlDeviceGetTemperatureV", answer=15, every_s=1000,
                  on_s=400, since=since),
        )  # fmt: skip
        found[name] = gpus.ask(library, gpus.write(tmp_path, shown), f"""{BEGIN}
answer = [tried(n.nvmlDeviceGetTemperatureV, one, 0) for one in h[:3]]
""")  # fmt: skip
    assert found == {"in": [99, {"error": 15}, 33], "out": [33, 33, 33]}


def test_a_value_of_the_whole_node_can_be_replaced(library, tmp_path):
    shown = struck(Fault(id="a", path="module.loaded", value=False))
    found = gpus.ask(library, gpus.write(tmp_path, shown), "answer = tried(n.nvmlInit)")
    assert found == {"error": 9}


def test_text_is_cut_or_no_text_at_all(library, tmp_path):
    shown = struck(
        Fault(id="a", call="nvmlDeviceGetUUID", gpu=0, truncate=7),
        Fault(id="b", call="nvmlDeviceGetUUID", gpu=1, bytes="fffe80"),
        Fault(id="c", call="nvmlDeviceGetUUID", gpu=2, truncate=0),
    )
    found = gpus.ask(library, gpus.write(tmp_path, shown), f"""{BEGIN}
answer = [tried(n.nvmlDeviceGetUUID, one) for one in h[:3]]
""")  # fmt: skip
    uuid = gpus.healthy().gpus[0].uuid
    assert found == [uuid[:7], {"raised": "UnicodeDecodeError"}, ""]


def test_a_counter_rises(library, tmp_path):
    rising = {"start": 5, "per_s": 1000, "since": time.time() - 10}
    shown = state.changed(gpus.healthy(), {"gpus.0.pci.counters.replays": rising})
    first, second = gpus.ask(library, gpus.write(tmp_path, shown), f"""{BEGIN}
import time
answer = [n.nvmlDeviceGetPcieReplayCounter(h[0])]
time.sleep(0.02)
answer.append(n.nvmlDeviceGetPcieReplayCounter(h[0]))
""")  # fmt: skip
    assert 10_000 < first < second


def test_a_slow_call_is_slow_and_then_right(library, tmp_path):
    shown = struck(Fault(id="x", call="nvmlDeviceGetName", gpu=0, hang="sleep", hang_s=0.2))
    found = gpus.ask(library, gpus.write(tmp_path, shown), f"""{BEGIN}
import time
t = time.monotonic()
answer = [n.nvmlDeviceGetName(h[0]), time.monotonic() - t > 0.19]
""")  # fmt: skip
    assert found == ["NVIDIA H100 80GB HBM3", True]


def _begun(library, path, code):
    """A process that has said that it begins, in a session of its own."""
    process = subprocess.Popen(
        gpus.command(f"{code}"), env=gpus.environment(library, path), stdout=subprocess.PIPE,
        start_new_session=True, cwd=path.parent,
    )  # fmt: skip
    assert process.stdout.readline() == b"now\n"
    return process


def _state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _until(what, seconds=5.0):
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.01)
    return what()


HANG = f"""{BEGIN}
print("now", flush=True)
n.nvmlDeviceGetName(h[0])
answer = "came back"
"""


def test_a_call_that_hangs_is_ended_by_a_signal(library, tmp_path):
    shown = struck(Fault(id="x", call="nvmlDeviceGetName", hang="sleep"))
    with _begun(library, gpus.write(tmp_path, shown), HANG) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == -signal.SIGTERM


def test_one_that_cannot_be_killed_is_in_the_kernel_and_keeps_its_pipe(library, tmp_path):
    shown = struck(Fault(id="x", call="nvmlDeviceGetName", hang="unkillable"))
    process = _begun(library, gpus.write(tmp_path, shown), HANG)
    try:
        assert _until(lambda: _state_of(process.pid) == "D")
        process.send_signal(signal.SIGTERM)
        os.set_blocking(process.stdout.fileno(), False)
        assert _state_of(process.pid) == "D"
        process.kill()
        process.wait(10)
        # Nobody reads the end of it while what it left behind holds the pipe.
        assert process.stdout.read() is None
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()


def test_a_crash_ends_the_process(library, tmp_path):
    shown = struck(Fault(id="x", call="nvmlDeviceGetName", signal=11))
    with _begun(library, gpus.write(tmp_path, shown), HANG) as process:
        assert process.wait(10) == -signal.SIGSEGV


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"module.loaded": False}, 9),
        ({"module.version": "580.95.05"}, 18),
        ({"library.version": "575.57.08"}, 18),
        ({}, None),
    ],
)
def test_module_and_library_must_agree(library, tmp_path, changes, code):
    path = gpus.write(tmp_path, state.changed(gpus.healthy(), changes))
    found = gpus.ask(library, path, "answer = tried(n.nvmlInit)")
    assert found == ({"error": code} if code else None)


@pytest.mark.parametrize("text", ["", "{", "[1,2", '{"a": 1} x', '{"a": "\\ud', "{" * 5000, "nul"])
def test_a_state_that_is_none_is_an_unknown_error(library, tmp_path, text):
    path = tmp_path / "state.json"
    path.write_text(text)
    assert gpus.ask(library, path, "answer = tried(n.nvmlInit)") == {"error": 999}


def test_without_any_state_no_driver_is_loaded(library, tmp_path):
    found = gpus.ask(library, tmp_path / "none.json", "answer = tried(n.nvmlInit)")
    assert found == {"error": 9}


def test_a_library_that_is_empty_is_none(library, tmp_path):
    (tmp_path / "libnvidia-ml.so.1").write_text("")
    path = gpus.write(tmp_path)
    empty = gpus.build.Built(tmp_path, "0")
    assert gpus.ask(empty, path, "answer = tried(n.nvmlInit)") == {"error": 12}


@pytest.mark.needs("root")
def test_only_root_reads_what_is_roots(library, tmp_path):
    path = gpus.write(tmp_path)
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents:
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 1:
            folder.chmod(folder.stat().st_mode | 0o011)
    path.chmod(0o644)
    found = gpus.ask(library, path, f"""{BEGIN}
root = filled(n.c_nvmlEccSramErrorStatus_v1_t, n.nvmlDeviceGetSramEccErrorStatus, h[0])
os.seteuid(65534)
other = filled(n.c_nvmlEccSramErrorStatus_v1_t, n.nvmlDeviceGetSramEccErrorStatus, h[0])
answer = ["error" in root, other]
""")  # fmt: skip
    assert found == [False, {"error": 4}]


def _cuda(library, path):
    code = f"""
import ctypes, json
lib = ctypes.CDLL({str(library.cuda)!r})
version, count, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(96)
print(json.dumps([lib.cuInit(0), lib.cuDriverGetVersion(ctypes.byref(version)), version.value,
    lib.cuDeviceGetCount(ctypes.byref(count)), count.value,
    lib.cuDeviceGetName(name, 96, 7), name.value.decode()]))
"""
    done = subprocess.run([sys.executable, "-c", code], env=gpus.environment(library, path),
                          capture_output=True, text=True, check=True)  # fmt: skip
    return json.loads(done.stdout)


H100 = "NVIDIA H100 80GB HBM3"


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, [0, 0, 13000, 0, 8, 0, H100]),
        ({"module.loaded": False}, [100, 0, 13000, 3, 0, 3, ""]),
        ({"module.version": "580.95.05"}, [803, 0, 13000, 3, 0, 3, ""]),
        ({"gpus.*.fabric.state": 1}, [802, 0, 13000, 3, 0, 3, ""]),
        ({"gpus.2.enumerated": False}, [0, 0, 13000, 0, 7, 101, ""]),
    ],
)
def test_the_cuda_proof(library, tmp_path, changes, found):
    assert _cuda(library, gpus.write(tmp_path, state.changed(gpus.healthy(), changes))) == found


def test_the_cuda_proof_can_be_struck(library, tmp_path):
    path = gpus.write(tmp_path, struck(Fault(id="x", call="cuInit", answer=999)))
    assert _cuda(library, path)[0] == 999


def _smi(library, path, *words):
    done = subprocess.run([library.smi, *words], env=gpus.environment(library, path),
                          capture_output=True, text=True, check=False, timeout=10)  # fmt: skip
    return done.returncode, done.stdout


def test_smi_lists_and_queries(library, tmp_path):
    path = gpus.write(tmp_path)
    listed = gpus.healthy().gpus
    code, text = _smi(library, path, "-L")
    assert (code, len(text.splitlines())) == (0, 8)
    assert text.splitlines()[3] == f"GPU 3: {H100} (UUID: {listed[3].uuid})"
    asked = "--query-gpu=index,uuid,memory.total,power.draw,ecc.mode.current,fabric.state"
    code, text = _smi(library, path, asked, "--format=csv,noheader,nounits", "-i", listed[5].uuid)
    assert (code, text) == (0, f"5, {listed[5].uuid}, 81559, 72.02, Enabled, Completed\n")
    code, text = _smi(library, path, "--query-gpu=name,nothing", "--format=csv")
    assert (code, text) == (2, 'Field "nothing" is not a valid field to query.\n')


def test_smi_lists_what_runs(library, tmp_path):
    running = [{"pid": 4711, "name": "/usr/bin/train", "memory": 1 << 30}]
    path = gpus.write(tmp_path, state.changed(gpus.healthy(), {"gpus.1.processes": running}))
    asked = "--query-compute-apps=pid,process_name,used_memory"
    code, text = _smi(library, path, asked, "--format=csv,noheader")
    assert (code, text) == (0, "4711, /usr/bin/train, 1024 MiB\n")
    assert _smi(library, path, asked, "--format=csv,noheader", "-i", "0") == (0, "")
    code, text = _smi(library, path, "--query-compute-apps=pid,used_memory", "--format=csv")
    assert text.splitlines()[0] == "pid, used_memory [MiB]"
    assert _smi(library, path, "--query-compute-apps=mood", "--format=csv")[0] == 2


def test_smi_writes_xml(library, tmp_path):
    path = gpus.write(tmp_path)
    code, text = _smi(library, path, "-q", "-x", "-i", "00000000:29:00.0")
    root = ET.fromstring(text)
    assert code == 0
    assert [gpu.get("id") for gpu in root.iter("gpu")] == ["00000000:29:00.0"]
    assert root.findtext("gpu/fb_memory_usage/total") == "81559 MiB"
    assert root.findtext("attached_gpus") == "8"


@pytest.mark.parametrize(
    ("name", "words", "ends"),
    [
        ("module-not-loaded", ["-L"], (9, "Failed to initialize NVML")),
        ("module-older", ["-L"], (18, "Driver/library version mismatch")),
        ("gpu-lost", ["-L"], (15, "GPU is lost")),
        ("gpu-missing", ["-L"], (0, "GPU 6:")),
        ("power-unreadable", ["--query-gpu=power.draw", "--format=csv,noheader"], (0, "[N/A]")),
    ],
)
def test_smi_fails_as_the_library_does(library, tmp_path, name, words, ends):
    shown = faults.inject(gpus.healthy(), name, 3, now=time.time())
    found, text = _smi(library, gpus.write(tmp_path, shown), *words)
    assert found == ends[0]
    assert ends[1] in text


def test_smi_ends_as_its_worst_gpu_does(library, tmp_path):
    """The handle can be had, and the UUID of one GPU cannot."""
    path = gpus.write(tmp_path, struck(Fault(id="x", call="nvmlDeviceGetUUID", gpu=3, answer=15)))
    code, text = _smi(library, path, "-L")
    assert (code, len(text.splitlines())) == (15, 8)
    assert "Unable to query GPU 3: GPU is lost" in text


def test_smi_without_a_library_says_so(library, tmp_path):
    (tmp_path / "libnvidia-ml.so.1").write_text("")
    env = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run([library.smi], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, "libnvidia-ml.so.1" in done.stdout) == (12, True)


@pytest.mark.parametrize("name", list(faults.FAULTS))
def test_a_named_fault_shows_on_its_surface(library, tmp_path, name):
    """Each changes what its surface shows, and what it leaves alone stays as it was."""
    fault, before = faults.named(name), gpus.healthy()
    after = faults.inject(before, name, 2, now=time.time())
    trees = {"pci", "module"} & _tops(before, after)
    if fault.surface == "pci" and fault.changes and "replays" not in name:
        assert trees == {"pci"}
    if fault.surface == "log":
        assert after.log
        assert not trees
    if fault.surface in ("nvml", "fabric"):
        assert after != before
    if fault.strikes:
        assert after.faults
    assert fault.says
    state.parse(json.loads(json.dumps(after.to_json())))


def _tops(before, after):
    one, other = tree.entries(before), tree.entries(after)
    return {path.split("/")[0] for path in one.keys() | other.keys()
            if one.get(path) != other.get(path)}  # fmt: skip


def test_faults_are_refused_where_they_cannot_be():
    with pytest.raises(HoldfastError, match="gpu-lost"):
        faults.inject(gpus.healthy(), "gpu-lots", now=0)
    with pytest.raises(HoldfastError, match="no GPU 9"):
        faults.inject(gpus.healthy(), "hot", 9, now=0)
    with pytest.raises(HoldfastError, match="leads nowhere"):
        faults.inject(gpus.healthy("l40s"), "link-down", now=0)


def test_faults_are_mended():
    shown = faults.inject(gpus.healthy(), "gpu-lost", 1, now=0)
    assert state.mended(shown) == gpus.healthy()
    assert len(state.mended(shown, "gpu-lost/1/0").faults) == 1


def test_ctypes_is_all_it_takes(library):
    """The library loads without anything beside libc."""
    done = subprocess.run(["ldd", library.nvml], capture_output=True, text=True, check=True)
    needed = {line.split()[0] for line in done.stdout.splitlines()}
    assert all(
        name.startswith(("linux-vdso", "libc.", "libm.", "libpthread.", "/lib")) for name in needed
    )
    assert ctypes.CDLL(str(library.nvml))
