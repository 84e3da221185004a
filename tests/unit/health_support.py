"""A recorded node: the trees, commands and log that the audit reads, and a simulated driver."""

from __future__ import annotations

import contextlib
import functools
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pynvml  # here, so that each probe's child has it already

from provision.health import expect
from provision.health.audit import Finding, Options, Result, audit
from provision.health.checks.all import checks
from provision.health.probes.all import PROBES
from provision.health.state import NAME
from provision.rehearsal.gpu import build, models, state, tree
from provision.rehearsal.gpu.build import Built
from provision.rehearsal.gpu.state import Fault, State

BOOT = "4f1c6a52-0d7e-4a7c-9d5b-1f0f2f3e4d5c"
DRIVER = "580.105.08"
KERNEL = "5.14.0-611.5.1.el9_7.x86_64"
UNIT = "holdfast-inference.service"
SERVICES = ["nvidia-persistenced.service", "nvidia-fabricmanager.service", "chronyd.service"]
SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
XID = "NVRM: Xid (PCI:0000:1b:00): "
SXID = "nvidia-nvswitch0: SXid (PCI:0000:05:00.0): "

EXPECT: dict[str, Any] = {
    "schema": expect.SCHEMA,
    "node": "node01",
    "kind": "metal",
    "gpus": {"count": 8, "model": "NVIDIA H100 80GB HBM3", "driver": DRIVER},
    "cpu": {"sockets": 2, "cores": 4, "governor": "performance"},
    "memory": {"mib": 2064384, "hugepages": 0, "swap": False},
    "infiniband": [{"device": "mlx5_0", "rate_gbps": 400}, {"device": "mlx5_1", "rate_gbps": 400}],
    "ethernet": [{"name": "eno1", "speed_mbps": 25000}],
    "disks": {"count": 2, "nvme": 2},
    "filesystems": [
        {"path": "/", "type": "xfs", "writable": True},
        {"path": "/srv/models", "type": "xfs", "options": ["nodev", "nosuid"]},
    ],
    "kernel": {"release": KERNEL, "arguments": ["rd.driver.blacklist=nouveau"]},
    "services": SERVICES,
    "containers": {"cdi": True, "toolkit": "1.20.0", "gpu_units": [UNIT]},
    "security": {
        "selinux": "enforcing",
        "fips": True,
        "secure_boot": True,
        "audit": True,
        "audit_immutable": True,
        "crypto_policy": "FIPS",
        "unsigned_modules": [],
        "sysctl": {"kernel.kptr_restrict": "1", "net.ipv4.conf.all.rp_filter": "1"},
    },
}

_CHRONY = (
    "C0A80001,192.168.0.1,3,1763894400.1,0.000020,0.00001,0.00002,-4.1,0.0,0.02,0.0008,0.0006,"
    "64.2,Normal"
)
_AUDIT = "enabled 2\nfailure 1\npid 812\nrate_limit 0\nbacklog_limit 8192\nlost 0\nbacklog 0\n"


def _unit(name: str) -> str:
    return (
        f"Type=simple\nId={name}\nLoadState=loaded\nActiveState=active\nSubState=running\n"
        "Result=success\nNRestarts=0\n"
    )


def specification(version: str = DRIVER, gpus: int = 8) -> str:
    """A CDI specification as the toolkit writes it."""
    devices = "".join(
        f'    - name: "{name}"\n      containerEdits:\n        deviceNodes:\n'
        + "".join(f"            - path: /dev/nvidia{n}\n" for n in of)
        for name, of in [
            *[(str(n), [n]) for n in range(gpus)], ("all", list(range(gpus))),
        ]
    )  # fmt: skip
    return (
        f"---\ncdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n{devices}"
        "containerEdits:\n    deviceNodes:\n        - path: /dev/nvidiactl\n    mounts:\n"
        f"        - hostPath: /usr/lib64/libcuda.so.{version}\n"
        f"          containerPath: /usr/lib64/libcuda.so.{version}\n"
        "          options:\n            - ro\n"
    )


def healthy_files() -> dict[str, str | bytes]:
    """Every file of a healthy node, but those of its GPUs."""
    files: dict[str, str | bytes] = {
        "proc/sys/kernel/random/boot_id": BOOT,
        "proc/sys/kernel/osrelease": KERNEL,
        "proc/sys/kernel/tainted": "4096",
        "proc/sys/kernel/kptr_restrict": "1",
        "proc/sys/net/ipv4/conf/all/rp_filter": "1",
        "proc/sys/crypto/fips_enabled": "1",
        "proc/cmdline": "root=/dev/nvme0n1p2 fips=1 rd.driver.blacklist=nouveau",
        "proc/uptime": "86400.00 600000.00",
        "proc/modules": "nvidia_uvm 4096 0 - Live 0x0 (O)\nnvidia 9999 1 nvidia_uvm, Live 0x0 (O)\n"
        "xfs 2048 2 - Live 0x0\n",
        "proc/meminfo": "MemTotal: 2113929216 kB\nMemAvailable: 2000000000 kB\nSwapTotal: 0 kB\n"
        "HugePages_Total: 0\nHardwareCorrupted: 0 kB\n",
        "proc/mounts": "/dev/nvme0n1p2 / xfs rw,relatime 0 0\n"
        "/dev/nvme1n1 /srv/models xfs rw,nosuid,nodev 0 0\nproc /proc proc rw 0 0\n",
        "@space/space": "1000 500 1000 900",
        "@space/srv/models/space": "1000 300 1000 900",
        "sys/fs/selinux/enforce": "1",
        "sys/kernel/security/lsm": "lockdown,capability,selinux",
        SECURE_BOOT: b"\x06\0\0\0\x01",
        "etc/crypto-policies/state/current": "FIPS\n",
        "usr/lib64/libcuda.so." + DRIVER: "",
        "var/run/cdi/nvidia.yaml": specification(),
        f"sys/fs/cgroup/system.slice/{UNIT}/libpod-payload-1/cgroup.procs": "4242\n",
        "proc/4242/maps": f"7f00-7f01 r-xp 0 fd:00 1 /usr/lib64/libcuda.so.{DRIVER}\n",
        "sys/class/net/eno1/operstate": "up",
        "sys/class/net/eno1/speed": "25000",
        "sys/class/net/eno1/carrier_down_count": "1",
    }
    files |= {f"proc/4242/root/dev/nvidia{n}": "" for n in range(8)}
    for number in range(8):
        at = f"sys/devices/system/cpu/cpu{number}"
        files |= {
            f"{at}/online": "1",
            f"{at}/topology/physical_package_id": str(number % 2),
            f"{at}/topology/core_id": str(number // 2 % 2),
            f"{at}/cpufreq/scaling_governor": "performance",
        }
    for name in ("mc0", "mc1"):
        files |= {f"sys/devices/system/edac/mc/{name}/{k}_count": "0" for k in ("ce", "ue")}
    for name in ("nvme0n1", "nvme1n1"):
        at = f"sys/block/{name}"
        files |= {f"{at}/size": "7501476528", f"{at}/device/model": "X", f"{at}/ro": "0",
                  f"{at}/device/state": "live"}  # fmt: skip
    for name in ("mlx5_0", "mlx5_1"):
        at = f"sys/class/infiniband/{name}/ports/1"
        files |= {f"{at}/state": "4: ACTIVE", f"{at}/phys_state": "5: LinkUp",
                  f"{at}/rate": "400 Gb/sec", f"{at}/link_layer": "InfiniBand"}  # fmt: skip
        counters = ("link_downed", "link_error_recovery", "symbol_error", "port_rcv_errors")
        files |= {f"{at}/counters/{c}": "0" for c in counters}
    return files


@dataclass
class Recorded:
    """A node that the audit looks at. Change it, then `audit` it."""

    root: Path
    library: Built
    gpus: State
    expected: dict[str, Any]
    files: dict[str, str | bytes | None] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=lambda: ["Linux version 5.14.0"])
    nvml: str = ""
    laid: dict[str, str | bytes | tree.Link] = field(default_factory=dict)
    services: dict[str, str] = field(default_factory=lambda: {s: _unit(s) for s in SERVICES})

    @property
    def state_file(self) -> Path:
        """Where the simulated driver reads its state."""
        return self.root / "@gpus.json"

    def gpu(self, changes: Mapping[str, Any]) -> None:
        """Change the simulated driver."""
        self.gpus = state.changed(self.gpus, changes)

    def strike(self, *faults: Fault) -> None:
        """Let calls of the simulated driver go wrong."""
        self.gpus = state.struck(self.gpus, *faults)

    def lay(self) -> None:
        """Write down what differs from what lies there."""
        wanted = {**self._gpu_files(), **healthy_files(), **self.files, **self._command_files()}
        wanted["log.jsonl"] = "".join(
            json.dumps({"MESSAGE": line, "__CURSOR": f"c{n}",
                        "__REALTIME_TIMESTAMP": str((1763894400 + n) * 10**6)}) + "\n"
            for n, line in enumerate(self.log)
        )  # fmt: skip
        state.write(self.state_file, self.gpus)
        for name, text in {**dict.fromkeys(self.laid), **wanted}.items():
            if self.laid.get(name) != text:  # what is not there is not looked for: it may hang
                _put(self.root / name, text)
        self.laid.clear()
        self.laid.update({name: text for name, text in wanted.items() if text is not None})

    def clean(self) -> None:
        """Forget what earlier audits kept."""
        for path in (self.root / "@state").glob("*"):
            path.unlink()

    def _gpu_files(self) -> dict[str, str | bytes | tree.Link | None]:
        tops = {"pci": "sys/bus/pci/devices", "module": "sys/module", "driver": "proc/driver",
                "dev": "dev"}  # fmt: skip
        found: dict[str, str | bytes | tree.Link | None] = {}
        for path, entry in tree.entries(self.gpus).items():
            top, _, rest = path.partition("/")
            found[f"{tops[top]}/{rest}"] = "" if isinstance(entry, tree.Device) else entry
        return found

    def _command_files(self) -> dict[str, str]:
        """Commands as they answered on a node, by name and first argument.

        An answer that begins with an exclamation mark is a line of shell.
        """
        told = {
            "modinfo": DRIVER,
            "chronyc": _CHRONY,
            "nvidia-ctk": "NVIDIA Container Toolkit CLI version 1.20.0\ncommit: 0123",
            "auditctl -s": _AUDIT,
            "auditctl -l": "-w /etc/passwd -p wa -k identity\n",
            "systemctl show": "\n".join(self.services.values()),
            "systemctl list-units": "",
            **self.commands,
        }
        found = {}
        for name in {key.split()[0] for key in told}:
            lines = ["#!/bin/sh", 'case "$1" in']
            for key, text in told.items():
                command, _, first = key.partition(" ")
                if command == name:
                    answer = text[1:] if text[:1] == "!" else f"printf %s {shlex.quote(text)}"
                    lines.append(f"{first or '*'}) {answer};;")
            found[f"@commands/{name}"] = "\n".join([*lines, "esac"]) + "\n"
        return found

    def audit(self, *only: str, **options: Any) -> Result:
        """Look at the node as it is laid."""
        assert pynvml.nvmlLib is None, "the library must be loaded in children only"
        chosen = Options(
            root=self.root,
            library=self.nvml or str(self.library.nvml),
            journal="/log.jsonl",
            state=self.root / "@state",
            only=only,
            **options,
        )
        text = json.dumps(self.expected)
        return audit(checks(), PROBES, expect.read(text), chosen)

    def later(self, seconds: float = 60) -> None:
        """Let time pass since the audit before."""
        path = self.root / "@state" / NAME
        told = json.loads(path.read_text())
        for sample in told["samples"].values():
            sample[1] -= seconds
        path.write_text(json.dumps(told))


def _put(target: Path, text: str | bytes | tree.Link | None) -> None:
    target.unlink(missing_ok=True)
    if text is None:
        # A folder of sysfs or proc goes with what it is about.
        with contextlib.suppress(OSError):
            target.parent.rmdir()
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(text, tree.Link):
        target.symlink_to(text.target)
        return
    target.write_bytes(text.encode() if isinstance(text, str) else text)
    if target.parent.name == "@commands":
        target.chmod(0o755)


@functools.cache
def _kind(model: str) -> tuple[Built, State]:
    kind = models.load(model)
    return build.build(kind.driver.version, lacks=kind.driver.lacks), models.fresh(kind)


def recorded(root: Path, model: str = "h100-sxm", laid: dict[str, Any] | None = None) -> Recorded:
    """A healthy node.

    Args:
        root: where it lies.
        model: what its GPUs are.
        laid: what lies there already, from the node that was there before.
    """
    library, gpus = _kind(model)
    root.mkdir(parents=True, exist_ok=True)
    made = Recorded(root, library, gpus, json.loads(json.dumps(EXPECT)))
    made.laid = {} if laid is None else laid
    made.clean()
    return made


def one(result: Result, check: str) -> Finding:
    """The finding of a check."""
    return next(f for f in result.findings if f.check == check)
