"""Simulated GPUs on a node that runs.

As somebody who has no GPU I want a node that looks to every tool as if it had eight, whose driver
comes with its packages and a restart, and of which each part can fail alone while I watch.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.core.events import NullSink
from provision.rehearsal import rack as racks
from provision.rehearsal.gpu import models
from tests.rehearsal.conftest import SimulatedRack

pytestmark = pytest.mark.rehearsal

MODEL = "h100-sxm"
ON_BUS = "grep -l 0x0302 /sys/bus/pci/devices/*/class | wc -l"
CUDA = """python3 -c '
import ctypes
cuda, version = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
print(cuda.cuInit(0), cuda.cuDriverGetVersion(ctypes.byref(version)), version.value)'"""
BOOT = "cat /proc/sys/kernel/random/boot_id"


@pytest.fixture(scope="module")
def one(state_home: Path) -> Iterator[SimulatedRack]:
    """A bare node with eight GPUs and no driver."""
    os.environ["XDG_STATE_HOME"] = os.fspath(state_home)
    built = racks.build(release="10", count=1, events=NullSink(), keep=False, gpus=MODEL)
    yield SimulatedRack(built, state_home)
    built.take_down()


def said(rack: SimulatedRack, script: str) -> str:
    return rack.ssh("n1", script, check=False).out.strip()


def restarted(rack: SimulatedRack) -> None:
    """Restart the node and wait for another start of it."""
    before = said(rack, BOOT)
    rack.ssh("n1", "systemctl reboot", check=False)
    end = time.monotonic() + 60
    while time.monotonic() < end and said(rack, BOOT) in ("", before):
        time.sleep(0.2)
    assert said(rack, BOOT) not in ("", before)


def broken(rack: SimulatedRack, fault: str) -> None:
    """Put a fault in with the command that a person would type, and wait until it shows."""
    ran = rack.holdfast("rehearse", "--fault", fault, "--on", f"{rack.rehearsal.name}/n1")
    assert ran.code == 0, ran.said()
    rack.ssh("n1", "systemctl start holdfast-simulated-gpus.service")


@pytest.fixture(scope="module")
def driven(one: SimulatedRack) -> SimulatedRack:
    """The node with the packages of the lock's unit installed, and started again."""
    lock = json.loads((one.rehearsal.folder / "stack.lock.json").read_text())
    unit = lock["gpu"][0]
    nevras = [*unit["userspace"], unit["kernels"][0]["module"], unit["fabric_manager"],
              *unit["toolkit"]]  # fmt: skip
    files = [nevra.split(":")[0].rpartition("-")[0] + "-" + nevra.split(":")[1] + ".rpm"
             for nevra in nevras]  # fmt: skip
    key = lock["keys"][lock["rpms"][-1]["key"]]["armored"]
    address = lock["origins"]["rehearsal"]["address"]
    path = lock["repositories"][0]["path"]
    fetch = "\n".join(f"curl -sfO {address}/{path}/{name}" for name in files)
    one.ssh("n1", f"set -e\ncd $(mktemp -d)\ncat >key <<'KEY'\n{key}\nKEY\nrpm --import key\n"
                  f"{fetch}\nrpmkeys --checksig *.rpm >/dev/null\nrpm -i *.rpm")  # fmt: skip
    assert said(one, "nvidia-smi -L") == "Failed to initialize NVML: Driver Not Loaded"
    restarted(one)
    return one


def test_before_the_driver_there_is_only_the_bus(one: SimulatedRack) -> None:
    assert said(one, ON_BUS) == "8"
    assert said(one, "ls /proc/driver/nvidia /dev/nvidia0 /sys/module/nvidia 2>/dev/null") == ""
    assert said(one, "systemctl is-system-running --wait") == "running"


def test_the_module_is_read_by_modinfo_and_names_its_signer(driven: SimulatedRack) -> None:
    kernel = "$(rpm -q --qf '%{VERSION}-%{RELEASE}.%{ARCH}' kernel-core)"
    packages = "kmod-nvidia-open libnvidia-ml nvidia-driver-cuda"
    script = f"""
modinfo -k {kernel} -F version nvidia
modinfo -k {kernel} -F signer nvidia-uvm
rpm -V {packages}
"""
    found = said(driven, script)
    assert found.splitlines() == [models.load(MODEL).driver.version, "Holdfast rehearsal"]
    assert "simulation" in said(driven, "rpm -q --qf '%{SUMMARY} %{DESCRIPTION}' libnvidia-ml")


def test_after_a_restart_everything_finds_eight_gpus(driven: SimulatedRack) -> None:
    assert len(said(driven, "nvidia-smi -L").splitlines()) == 8
    assert said(driven, CUDA) == "0 0 13000"
    version = models.load(MODEL).driver.version
    assert version in said(driven, "cat /proc/driver/nvidia/version")
    assert said(driven, "cat /sys/module/nvidia/version") == version
    assert said(driven, "ls -d /dev/nvidia[0-9] | wc -l") == "8"
    ctk = (
        "nvidia-ctk cdi generate --output=/tmp/nvidia.yaml && grep -c '  - name:' /tmp/nvidia.yaml"
    )
    assert said(driven, ctk) == "9"


def test_what_is_shown_opens_nothing_and_cannot_be_changed(driven: SimulatedRack) -> None:
    place = "/var/lib/holdfast-simulated-gpus/state.json"
    tried = driven.ssh("n1", f"cat /dev/nvidia0 && echo x >{place}", check=False)
    assert tried.code != 0
    tried = driven.ssh("n1", f"echo x >{place}", check=False)
    assert tried.code != 0
    assert said(driven, "nvidia-smi -L | wc -l") == "8"


def test_a_gpu_leaves_the_bus_of_a_node_that_runs(driven: SimulatedRack) -> None:
    broken(driven, "pci-gone:2")
    assert said(driven, ON_BUS) == "7"
    assert said(driven, "nvidia-smi -L | wc -l") == "8"
    ran = driven.holdfast("plan", driven.inventory)
    assert ran.code == 3, ran.said()
    assert "expected 8 x NVIDIA H100 80GB HBM3 (10de:2330); seen: 7 x 10de:2330" in ran.err
    broken(driven, "none")
    assert said(driven, ON_BUS) == "8"


def test_the_driver_loses_a_gpu_that_the_bus_has(driven: SimulatedRack) -> None:
    broken(driven, "gpu-lost:5")
    assert said(driven, ON_BUS) == "8"
    assert "GPU5: GPU is lost" in said(driven, "nvidia-smi -L")
    broken(driven, "none")
    broken(driven, "fabric-not-started")
    assert said(driven, CUDA) == "802 0 13000"
    assert said(driven, "nvidia-smi -L | wc -l") == "8"
    broken(driven, "none")
    assert said(driven, CUDA) == "0 0 13000"


def test_a_device_file_goes_and_comes_back(driven: SimulatedRack) -> None:
    broken(driven, "device-node-missing:3")
    assert said(driven, "ls -d /dev/nvidia[0-9] | wc -l; ls /dev/nvidia3 2>/dev/null") == "7"
    broken(driven, "none")
    assert said(driven, "ls -d /dev/nvidia[0-9] | wc -l") == "8"


def test_an_xid_is_in_the_kernels_log_of_its_start_alone(driven: SimulatedRack) -> None:
    broken(driven, "xid-48:1")
    lines = [json.loads(line) for line in said(driven, "journalctl -k -o json").splitlines()]
    banner = f"{models.load(MODEL).driver.version}  Release Build  (simulated)"
    assert any(line["MESSAGE"].startswith("NVRM: loading NVIDIA UNIX Open") for line in lines)
    assert any(line["MESSAGE"].endswith(banner) for line in lines)
    assert lines[-1]["MESSAGE"].startswith("NVRM: Xid (PCI:0000:29:00): 48, ")
    assert {line["_TRANSPORT"] for line in lines} == {"kernel"}
    broken(driven, "none")
    restarted(driven)
    assert "Xid" not in said(driven, "journalctl -k -o cat")
    assert "Xid" in said(driven, "journalctl _TRANSPORT=kernel -o cat")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--fault", "gpu-lots", "--on", "RACK/n1"], "gpu-lost"),
        (["--fault", "hot:12", "--on", "RACK/n1"], "no GPU 12"),
        (["--fault", "hot", "--on", "RACK/n9"], "has no node 'n9'"),
        (["--fault", "hot"], "go together"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(one: SimulatedRack, words: list[str], says: str) -> None:
    ran = one.holdfast("rehearse", *(word.replace("RACK", one.rehearsal.name) for word in words))
    assert ran.code == 2
    assert says in ran.err
