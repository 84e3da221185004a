"""The table check x fixture: for every check at least one node in which it fails.

Each fixture changes a healthy node (and, for a rate, changes it again a minute later), and says
what the evidence has to name.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from provision.health.checks.all import known
from provision.health.slurm.record import Record
from provision.rehearsal.gpu import models
from provision.rehearsal.gpu.state import Fault
from tests.unit.health_support import DRIVER, SECURE_BOOT, SXID, UNIT, XID, Recorded, specification

Change = Callable[[Recorded], object]


@dataclass(frozen=True)
class Failing:
    """A node in which `check` fails, and a word of its evidence."""

    check: str
    name: str
    change: Change
    says: str
    later: Change | None = None
    action: str = ""

    @property
    def id(self) -> str:
        """What pytest calls it."""
        return f"{self.check}-{self.name}"


def gpu(**changes: object) -> Change:
    """Change the simulated driver; a double underscore stands for a dot."""
    return lambda n: n.gpu({k.replace("__", "."): v for k, v in changes.items()})


def call(name: str, answer: int, which: int | None = None) -> Change:
    """Let a call of the simulated driver answer with an error."""
    return lambda n: n.strike(Fault(id=name, call=name, gpu=which, answer=answer))


def file(name: str, text: str | bytes | None) -> Change:
    """Change a file, or remove it."""
    return lambda n: n.files.update({name: text})


def command(name: str, text: str) -> Change:
    """Change what a command answers."""
    return lambda n: n.commands.update({name: text})


def address(which: int, bus: str) -> Change:
    """Let the driver give another address for a GPU than it has."""
    told = f"0000{bus}".encode().hex()
    return lambda n: n.strike(Fault(id="address", call="nvmlDeviceGetPciInfo*", gpu=which,
                                    bytes=told))  # fmt: skip


def log(*lines: str) -> Change:
    """More lines of the kernel."""
    return lambda n: n.log.extend(lines)


def declare(section: str, **values: object) -> Change:
    """Change the declaration."""
    return lambda n: n.expected[section].update(values)


def service(name: str, old: str, new: str) -> Change:
    """Change what systemd says of a unit."""
    return lambda n: n.services.update({name: n.services[name].replace(old, new)})


def several(*changes: Change) -> Change:
    """Make all of these changes."""
    return lambda n: [change(n) for change in changes]


def older_gpus(node: Recorded) -> None:
    """Make the node's GPUs ones that retire pages."""
    node.gpu({
        "gpus.*.name": "Tesla T4", "gpus.*.remapped": None, "gpus.*.repair": None,
        "gpus.*.retired": {"single": [4096, 8192], "double": [], "pending": False},
    })  # fmt: skip
    node.expected["gpus"]["model"] = "Tesla T4"


_MIG = ["1g.10gb"] * 7
_IB = "sys/class/infiniband/mlx5_1/ports/1"
_EDAC = "sys/devices/system/edac/mc/mc1"
_AER = "sys/bus/pci/devices/0000:1b:00.0/aer_dev_correctable"


def partitioned(profiles: list[str]) -> Change:
    """Cut every GPU into MIG instances, and declare seven small ones."""

    def change(node: Recorded) -> None:
        cuts = [models.Cut(n, profiles) for n in range(8)]
        node.gpus = models.partitioned(models.load("h100-sxm"), node.gpus, *cuts)
        node.expected["gpus"]["mig"] = [_MIG]

    return change


def adapter(outcome: str, age: float = 60, uptime: float = 86400) -> Change:
    """Ask for drains, and let Slurm's adapter have run."""

    def change(node: Recorded) -> None:
        node.expected["slurm"] = {"drain": True}
        kept = Record(ran=time.time() - age, outcome=outcome, said=f"it is {outcome}")
        node.files["var/lib/holdfast/health/slurm.json"] = json.dumps(kept.to_json())
        node.files["proc/uptime"] = f"{uptime} 1.0"

    return change


def cut_short(node: Recorded) -> None:
    """Take a GPU off the bus and from the driver."""
    node.gpu({"gpus.7.on_bus": False, "gpus.7.enumerated": False})


FAILING = (
    Failing("scheduler.slurm", "breaker", adapter("tripped"), "it is tripped", action="inspect"),
    Failing("scheduler.slurm", "not-called", adapter("well", 1000), "slurmd does not call it"),
    Failing("gpu.presence.pci", "off-the-bus", gpu(gpus__3__on_bus=False), "7 GPUs"),
    Failing("gpu.presence.pci", "another-address", declare("gpus", buses=["0000:ff:00.0"]),
            "0000:ff:00.0"),
    Failing("gpu.presence.driver", "not-enumerated", gpu(gpus__3__enumerated=False),
            "not shown by the driver: 0000:4e:00.0", action="reboot"),
    Failing("gpu.presence.driver", "handle-lost",
            call("nvmlDeviceGetHandleByIndex_v2", 15, 2), "is lost",
            action="reboot"),
    Failing("gpu.presence.driver", "calls-say-lost", call("nvmlDeviceGet*Temperature*", 15, 5),
            "0000:ab:00.0", action="reboot"),
    Failing("gpu.presence.driver", "power-cable", call("nvmlDeviceGetEccMode", 8, 1),
            "power cable", action="inspect"),
    Failing("gpu.presence.driver", "interrupt", call("nvmlDeviceGetEccMode", 11, 1),
            "interrupt", action="reboot"),
    Failing("gpu.presence.driver", "one-address-twice", address(3, "0000:1b:00.0"),
            "one address to several GPUs: 0000:1b:00.0", action="reboot"),
    Failing("gpu.presence.driver", "another-address", address(3, "0000:ee:00.0"),
            "not on the bus: 0000:ee:00.0", action="reboot"),
    Failing("gpu.presence.driver", "reset-required", call("nvmlDeviceGetEccMode", 16, 1),
            "must be reset", action="reset_gpu"),
    Failing("gpu.presence.driver", "gone-everywhere", cut_short, "7 GPUs", action="inspect"),
    Failing("gpu.presence.driver", "not-loaded", gpu(module__loaded=False), "NVML 9",
            action="reboot"),
    Failing("gpu.presence.driver", "no-library", lambda n: setattr(n, "nvml", "/none.so"),
            "cannot open", action="reboot"),
    Failing("gpu.switches", "one-less", gpu(switches__0__on_bus=False), "3: 0000:06:00.0",
            action="inspect"),
    Failing("gpu.switches", "declared", declare("gpus", switches=6), "4: 0000:05:00.0"),
    Failing("gpu.identity", "another-model", gpu(gpus__2__name="NVIDIA H100 PCIe"), "PCIe"),
    Failing("gpu.identity", "less-memory", gpu(gpus__2__memory__total=42949672960), "40960 MiB"),
    Failing("gpu.identity", "stranger", declare("gpus", uuids=["GPU-0"]), "not declared"),
    Failing("gpu.driver.agreement", "library-newer", gpu(library__version="590.44.01"),
            "different versions"),
    Failing("gpu.driver.agreement", "waits-for-restart", command("modinfo", "590.44.01"),
            "waits for a restart", action="reboot"),
    Failing("gpu.driver.version", "another", gpu(module__version="575.57.08"), "575.57.08"),
    Failing("gpu.driver.modules", "nouveau", file("proc/modules", "nouveau 1 0 - Live 0x0\n"),
            "nouveau"),
    Failing("gpu.driver.modules", "no-uvm", file("proc/modules", "nvidia 1 0 - Live 0x0\n"),
            "nvidia_uvm"),
    Failing("gpu.driver.modules", "no-device-file", gpu(gpus__3__device_node=False),
            "/dev/nvidia3 of 0000:4e:00.0"),
    Failing("gpu.recovery", "reset", gpu(gpus__4__recovery_action=1), "reset of the GPU",
            action="reset_gpu"),
    Failing("gpu.recovery", "reboot", gpu(gpus__4__recovery_action=2), "restart of the node",
            action="reboot"),
    Failing("gpu.recovery", "drain", gpu(gpus__4__recovery_action=3), "peer-to-peer",
            action="drain"),
    Failing("gpu.recovery", "new-number", gpu(gpus__4__recovery_action=42), "unknown number 42",
            action="inspect"),
    Failing("gpu.ecc.mode", "off", gpu(gpus__0__modes__ecc=False,
            gpus__0__modes__ecc_pending=False),
            "off"),
    Failing("gpu.ecc.mode", "off-after-restart", gpu(gpus__0__modes__ecc_pending=False),
            "off after a restart"),
    Failing("gpu.ecc.uncorrected", "one", gpu(gpus__6__ecc__volatile__uncorrected__dram=1),
            "1 since"),
    Failing("gpu.ecc.corrected", "storm", gpu(gpus__6__ecc__volatile__corrected__dram=1000),
            "49000 corrected", gpu(gpus__6__ecc__volatile__corrected__dram=50000)),
    Failing("gpu.ecc.sram", "exceeded", gpu(gpus__1__sram__threshold_exceeded=True), "is exceeded",
            action="return"),
    Failing("gpu.rows.pending", "pending", gpu(gpus__1__remapped__pending=True), "waits",
            action="reset_gpu"),
    Failing("gpu.rows.failure", "failed", gpu(gpus__1__remapped__failed=True), "failed",
            action="return"),
    Failing("gpu.rows.failure", "unrepairable", gpu(gpus__1__repair__unrepairable=True),
            "cannot be repaired", action="return"),
    Failing("gpu.rows.spares", "spent", gpu(gpus__1__remapped__banks=[2558, 0, 0, 0, 2]),
            "2 banks without"),
    Failing("gpu.repair", "channel", gpu(gpus__1__repair__channel_pending=True), "memory channel"),
    Failing("gpu.pages", "waits", several(older_gpus, gpu(gpus__1__retired__pending=True)),
            "waits"),
    Failing("gpu.pages", "many", several(older_gpus, gpu(gpus__1__retired__double=[*range(70)])),
            "72 pages"),
    Failing("gpu.clocks", "thermal", gpu(gpus__2__clocks__reasons=0x48), "thermal slowdown"),
    Failing("gpu.clocks", "brake", gpu(gpus__2__clocks__reasons=0x80), "power brake"),
    Failing("gpu.temperature.core", "hot", gpu(gpus__2__temperature__gpu=88), "88"),
    Failing("gpu.temperature.memory", "hot", gpu(gpus__2__temperature__memory=94), "94"),
    Failing("gpu.power", "lowered", gpu(gpus__2__power__enforced_mw=500000), "limit 500 W"),
    Failing("gpu.power", "no-draw", gpu(gpus__2__power__draw_mw=0), "draw 0 W"),
    Failing("gpu.power", "far-over", gpu(gpus__2__power__draw_mw=900000), "draw 900 W"),
    Failing("gpu.pcie.width", "half", gpu(gpus__2__pci__width=8), "x8 of x16"),
    Failing("gpu.pcie.speed", "slot", gpu(gpus__2__pci__max_generation=4), "generation 4 of 5"),
    Failing("gpu.pcie.replay", "often", gpu(gpus__2__pci__counters__replays=10),
            "9990 replays", gpu(gpus__2__pci__counters__replays=10000)),
    Failing("gpu.pcie.aer", "fatal", gpu(gpus__2__pci__aer__fatal=1), "1 fatal"),
    Failing("gpu.pcie.aer", "often", gpu(gpus__2__pci__aer__correctable=5), "995 corrected",
            gpu(gpus__2__pci__aer__correctable=1000)),
    Failing("gpu.nvlink.state", "down", gpu(gpus__2__nvlink__links__11__state=0), "down: 11"),
    Failing("gpu.nvlink.errors", "replays", gpu(gpus__2__nvlink__links__11__replay=1),
            "replays and recoveries", gpu(gpus__2__nvlink__links__11__replay=11)),
    Failing("gpu.nvlink.errors", "crc", gpu(gpus__2__nvlink__links__0__crc_flit=1),
            "CRC", gpu(gpus__2__nvlink__links__0__crc_flit=10001)),
    Failing("gpu.nvlink.p2p", "one-pair", gpu(peers__exceptions=[
        {"a": 1, "b": 6, "capability": 2, "status": 3}]), "0000:bb:00.0: no way"),
    Failing("gpu.fabric", "in-progress", gpu(gpus__2__fabric__state=2), "in progress"),
    Failing("gpu.fabric", "error", gpu(gpus__2__fabric__status=999), "error 999"),
    Failing("gpu.fabric", "degraded", gpu(gpus__2__fabric__health=0x01A9), "degraded"),
    Failing("gpu.fabric", "misconfigured", gpu(gpus__2__fabric__health=0x02AA), "configuration"),
    Failing("gpu.mig", "on", gpu(gpus__2__modes__mig=True, gpus__2__modes__mig_pending=True),
            "MIG on"),
    Failing("gpu.mig", "off-after-reset", gpu(gpus__2__modes__mig_pending=True),
            "on after a reset"),
    Failing("gpu.mig", "another-layout", partitioned(["3g.40gb", "3g.40gb"]), "3g.40gb"),
    Failing("gpu.mig", "lost", declare("gpus", mig=[_MIG]), "MIG off"),
    Failing("gpu.persistence", "off", gpu(gpus__2__modes__persistence=False), "off"),
    Failing("gpu.vbios", "mixed", gpu(gpus__2__firmware__vbios="96.00.74.00.01"), "96.00.74"),
    Failing("gpu.vbios", "not-declared", declare("gpus", vbios=["96.00.99.00.01"]), "96.00.89"),
    Failing("gpu.gsp", "another", gpu(gpus__2__firmware__gsp="570.00"), "570.00"),
    Failing("log.xid", "79", log(XID + "79, pid='<unknown>', name=<unknown>, GPU has fallen off"
            " the bus."), "XID 79", action="reboot"),
    Failing("log.xid", "several", log(XID + "31, pid=1, name=a", XID + "63, x", XID + "64, x"),
            "XID 64", action="inspect"),
    Failing("log.xid", "nvlink5-fatal", log(XID + "149, NETIR_LINK_EVT  Fatal   XC0 i0 Link 01"),
            "XID 149", action="reset_gpu"),
    Failing("log.xid", "after-reset", log(XID + "95, x", XID + "154, GPU recovery action changed"
            " from 0x1 (GPU Reset Required) to 0x0 (None)", XID + "95, again"), "XID 95"),
    Failing("log.xid", "no-code", log("NVRM: GPU 0000:29:00.0: GPU has fallen off the bus."),
            "0000:29:00.0"),
    Failing("log.sxid", "fatal", log(SXID + "20034, Fatal, Link 30 LTSSM Fault Up"), "SXid 20034",
            action="reset_gpu"),
    Failing("log.sxid", "always", log(SXID + "12020, egress sequence"), "SXid 12020"),
    Failing("log.kernel", "oops", log("BUG: kernel NULL pointer dereference, address: 00"),
            "kernel fault"),
    Failing("log.kernel", "lockup", log("watchdog: BUG: soft lockup - CPU#3 stuck for 26s!"),
            "processor stuck"),
    Failing("log.kernel", "hung", log("INFO: task kworker/3:1 blocked for more than 122 seconds."),
            "task stuck"),
    Failing("log.kernel", "mce", log("mce: [Hardware Error]: Machine check events logged"),
            "hardware error"),
    Failing("log.storage", "io", log("blk_update_request: I/O error, dev sda, sector 5 op 0x0"),
            "sda"),
    Failing("log.storage", "nvme", log("nvme0: I/O 12 QID 3 timeout, aborting", "nvme nvme1: x"),
            "NVMe"),
    Failing("log.storage", "xfs", log("XFS (nvme1n1): Corruption of in-memory data detected."),
            "filesystem"),
    Failing("log.storage", "raid", log("md/raid1:md0: Disk failure on sdb1, disabling device."),
            "RAID"),
    Failing("log.memory", "killed", log("Out of memory: Killed process 99 (python)"), "killed"),
    Failing("container.cdi", "none", file("var/run/cdi/nvidia.yaml", None), "0 specifications"),
    Failing("container.cdi", "two", file("etc/cdi/nvidia.yaml", specification()), "2 spec"),
    Failing("container.cdi", "old", several(file("var/run/cdi/nvidia.yaml", specification("570.1")),
            file("usr/lib64/libcuda.so.570.1", "")), "driver 570.1"),
    Failing("container.cdi", "dangling", file(f"usr/lib64/libcuda.so.{DRIVER}", None),
            "not there"),
    Failing("container.cdi", "seven", file("var/run/cdi/nvidia.yaml", specification(gpus=7)),
            "the devices"),
    Failing("container.cdi", "cut", file("var/run/cdi/nvidia.yaml",
            specification().split("    mounts:")[0]), "no library of the driver"),
    Failing("container.toolkit", "old",
            command("nvidia-ctk", "NVIDIA Container Toolkit CLI version 1.17.8"), "1.17.8"),
    Failing("container.gpu", "no-device", lambda n: n.files.update(
        {f"proc/4242/root/dev/nvidia{i}": None for i in range(8)}), "no GPU"),
    Failing("container.gpu", "old-library", file("proc/4242/maps",
            "7f r-xp 0 fd:00 1 /usr/lib64/libcuda.so.570.86.15 (deleted)\n"),
            "570.86.15 (deleted)"),
    Failing("container.gpu", "not-running",
            file(f"sys/fs/cgroup/system.slice/{UNIT}/libpod-payload-1/cgroup.procs", ""),
            "no process"),
    Failing("net.infiniband.state", "down", file(f"{_IB}/state", "1: DOWN"), "DOWN"),
    Failing("net.infiniband.state", "slow", file(f"{_IB}/rate", "200 Gb/sec (4X HDR)"), "200 Gb/s"),
    Failing("net.infiniband.state", "absent", (lambda n: n.expected["infiniband"]
            .append({"device": "mlx5_9"})), "mlx5_9"),
    Failing("net.infiniband.flaps", "flapping", file(f"{_IB}/counters/link_downed", "2"),
            "losses", file(f"{_IB}/counters/link_downed", "9")),
    Failing("net.ethernet", "down", file("sys/class/net/eno1/operstate", "down"), "down"),
    Failing("net.ethernet", "slow", file("sys/class/net/eno1/speed", "1000"), "1000 Mb/s"),
    Failing("host.cpu", "socket", declare("cpu", sockets=4), "2 sockets of 4"),
    Failing("host.cpu", "offline", file("sys/devices/system/cpu/cpu3/online", "0"), "1 thread"),
    Failing("host.cpu", "governor",
            file("sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "powersave"), "powersave"),
    Failing("host.memory", "module", declare("memory", mib=4128768), "of 4128768"),
    Failing("host.memory", "pages", declare("memory", hugepages=64), "huge pages"),
    Failing("host.memory", "bad-page", file("proc/meminfo", "MemTotal: 2113929216 kB\n"
            "MemAvailable: 2000000000 kB\nSwapTotal: 0 kB\nHugePages_Total: 0\n"
            "HardwareCorrupted: 4 kB\n"), "out of use"),
    Failing("host.edac", "uncorrected", file(f"{_EDAC}/ue_count", "1"), "1 uncorrected"),
    Failing("host.edac", "often", file(f"{_EDAC}/ce_count", "3"), "997 corrected",
            file(f"{_EDAC}/ce_count", "1000")),
    Failing("host.disks", "missing", declare("disks", count=3), "2 disks of 3"),
    Failing("host.disks", "dead", file("sys/block/nvme1n1/device/state", "dead"), "dead"),
    Failing("host.disks", "no-size", file("sys/block/nvme1n1/size", "0"), "no size"),
    Failing("host.mounts", "absent", file("proc/mounts", "/dev/nvme0n1p2 / xfs rw 0 0\n"),
            "not mounted"),
    Failing("host.mounts", "read-only", file("proc/mounts", "/dev/nvme0n1p2 / xfs ro 0 0\n"
            "/dev/nvme1n1 /srv/models xfs rw,nosuid,nodev 0 0\n"), "read-only"),
    Failing("host.mounts", "options", file("proc/mounts", "/dev/nvme0n1p2 / xfs rw 0 0\n"
            "/dev/nvme1n1 /srv/models xfs rw,nosuid 0 0\n"), "nodev"),
    Failing("host.space", "full", file("@space/srv/models/space", "1000 40 1000 900"), "96 %"),
    Failing("host.space", "inodes", file("@space/space", "1000 400 1000 9"), "99 % of inodes"),
    Failing("host.kernel", "another", file("proc/sys/kernel/osrelease", "5.14.0-1.el9"),
            "not 5.14"),
    Failing("host.kernel", "argument", file("proc/cmdline", "root=/dev/sda1"), "nouveau"),
    Failing("host.time", "off", command("chronyc", "A,10.0.0.1,3,1.0,0.9,0,0,0,0,0,0.001,0.001,1,"
            "Normal"), "within 901"),
    Failing("host.time", "unsynchronised", command("chronyc", "7F7F0101,,0,0,0.0,0,0,0,0,0,1,1,0,"
            "Not synchronised"), "not synchronised"),
    Failing("host.services", "failed", service("chronyd.service", "ActiveState=active",
            "ActiveState=failed"), "failed"),
    Failing("host.services", "absent", service("chronyd.service", "LoadState=loaded",
            "LoadState=not-found"), "not-found"),
    Failing("host.services", "restarting", service("chronyd.service", "NRestarts=0", "NRestarts=2"),
            "38 restarts", service("chronyd.service", "NRestarts=2", "NRestarts=40")),
    Failing("host.units", "failed", command("systemctl list-units",
            "sssd.service loaded failed failed System Security\n"), "sssd.service"),
    Failing("security.selinux", "permissive", file("sys/fs/selinux/enforce", "0"), "permissive"),
    Failing("security.selinux", "disabled", several(file("sys/fs/selinux/enforce", None),
            file("sys/kernel/security/lsm", "lockdown,capability")), "disabled"),
    Failing("security.fips", "off", file("proc/sys/crypto/fips_enabled", "0"), "off"),
    Failing("security.secure_boot", "off", file(SECURE_BOOT, b"\x06\0\0\0\0"), "off"),
    Failing("security.audit", "off", command("auditctl -s", "enabled 0\npid 0\nlost 0\n"),
            "switched off"),
    Failing("security.audit", "no-rules", command("auditctl -l", "No rules\n"), "no rule"),
    Failing("security.audit", "changeable", command("auditctl -s", "enabled 1\npid 9\nlost 0\n"),
            "can be changed"),
    Failing("security.audit", "lost", command("auditctl -s", "enabled 2\npid 9\nlost 3\n"),
            "5 records lost", command("auditctl -s", "enabled 2\npid 9\nlost 8\n")),
    Failing("security.crypto_policy", "lowered", file("etc/crypto-policies/state/current",
            "LEGACY\n"), "LEGACY"),
    Failing("security.modules", "unsigned", file("proc/modules",
            "nvidia 1 0 - Live 0x0 (OE)\n"), "nvidia (unsigned)"),
    Failing("security.modules", "gone-again", file("proc/sys/kernel/tainted", "12288"),
            "gone again"),
    Failing("security.sysctl", "drift", file("proc/sys/kernel/kptr_restrict", "0"), "0, not 1"),
)  # fmt: skip

UNDER_LOAD = (
    Failing("load.compute", "wrong-results", gpu(gpus__2__load__compute="Fail"), "differ"),
    Failing("load.compute", "warned", gpu(gpus__2__load__compute="Warn"), "Warn"),
    Failing("load.memory", "slow", gpu(gpus__5__load__memory=0.7), "below the minimum of 1905000"),
    Failing("load.nvlink", "slow", gpu(gpus__1__load__nvlink=0.5), "191 GB/s"),
    Failing("load.nccl", "slow", gpu(load__bus=0.5), "235 GB/s on 8 GPUs"),
    Failing("load.nccl", "wrong-sums", gpu(load__wrong=3), "values of the sums are wrong"),
)
"""Nodes in which a check fails when they are put under load."""

PASSING: dict[str, Change] = {
    "scheduler.slurm": adapter("well"),
    "gpu.pages": older_gpus,
    "gpu.mig": partitioned(_MIG),
}
"""Changes for checks that the usual healthy node passes only as not applicable, and extra ones."""


_ABOUT = """\
Every check of the audit fails on at least one recorded node and passes on one;
`tests/unit/test_health_checks.py` and, under load, `tests/unit/test_health_load.py` run them,
through the unmodified nvidia-ml-py and the simulated NVML where a GPU is asked. A rate is seen on
the second of two audits.
"""


def page() -> str:
    """The table as a page: each check, and the nodes in which it is seen to fail and to pass."""
    rows = [
        "# Where each check is seen to fail\n",
        _ABOUT,
        "| check | it fails on these nodes | it passes on |",
        "|---|---|---|",
    ]
    for check in known():
        failing = [
            f.name + (" (a rate)" if f.later else "")
            for f in (*FAILING, *UNDER_LOAD)
            if f.check == check.id
        ]
        passing = "a node of another kind" if check.id in PASSING else "the healthy node"
        rows.append(f"| [{check.id}]({check.id}.md) | {', '.join(failing)} | {passing} |")
    return "\n".join(rows) + "\n"
