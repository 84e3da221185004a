"""The base system: units, firewall rules in the kernel, listening ports, hardware, SELinux."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from provision.checks.probes.common import (
    Unseen,
    gather,
    listeners,
    read,
    read_own,
    run,
    run_json,
    unit,
)

_HEALTH_CHECK = re.compile(r"([0-9a-f]{64})-[0-9a-f]+\.service")
"""The unit that podman starts for each single run of a container's health check."""


def _failed() -> list[str]:
    text = run(["systemctl", "list-units", "--failed", "--plain", "--no-legend", "--full"])
    units = [line.split()[0] for line in text.splitlines() if line.strip()]
    return [unit for unit in units if not _one_late_answer(unit)]


def _one_late_answer(unit: str) -> bool:
    """Whether it is one run of a container's health check, and podman, which repeats it before it
    says so, does not hold the container for unhealthy.
    """
    found = _HEALTH_CHECK.fullmatch(unit)
    if found is None:
        return False
    wanted = ["--format", "{{.State.Health.Status}}", found[1]]
    try:
        return run(["podman", "container", "inspect", *wanted]).strip() == "healthy"
    except Unseen:
        return False


def _reboot() -> dict[str, str]:
    folder = Path("/run/holdfast/reboot-required")
    if not folder.is_dir():
        return {}
    return {entry.name: read(entry)[:200] for entry in sorted(folder.iterdir())}


def _firewall() -> dict[str, Any]:
    """The unit, and what the kernel's packet filter holds, whoever wrote it."""
    return {
        "unit": unit("firewalld.service"),
        "ruleset": run_json(["nft", "-j", "list", "ruleset"]).get("nftables", []),
    }


def _journal() -> list[str]:
    """The journal files that journald holds open now."""
    pid = run(["systemctl", "show", "--value", "--property=MainPID", "systemd-journald.service"])
    opened = {str(fd.readlink()) for fd in Path(f"/proc/{pid.strip()}/fd").iterdir()}
    return sorted(path for path in opened if path.endswith("/system.journal"))


def _record() -> Any:
    return json.loads(read_own("/etc/holdfast/stack.json"))


def _selinux() -> dict[str, str]:
    if not Path("/sys/fs/selinux/enforce").exists():
        return {"mode": "Disabled", "configured": ""}
    mode = "Enforcing" if read("/sys/fs/selinux/enforce").strip() == "1" else "Permissive"
    lines = read_own("/etc/selinux/config").splitlines()
    configured = [x.partition("=")[2].strip() for x in lines if x.startswith("SELINUX=")]
    return {"mode": mode, "configured": "".join(configured[-1:])}


def _hardware() -> dict[str, Any]:
    lines = read("/proc/meminfo").splitlines()
    memory = next(int(line.split()[1]) for line in lines if line.startswith("MemTotal"))
    return {"memory_kib": memory, "cores": len(os.sched_getaffinity(0)), "gpus": _gpus()}


def _gpus() -> list[dict[str, str]]:
    found = []
    for device in sorted(Path("/sys/bus/pci/devices").glob("*")):
        try:
            kind = read(device / "class").strip()
            parts = [read(device / name).strip()[2:] for name in ("vendor", "device")]
        except Unseen:  # a device that went away while it was read
            continue
        if kind.startswith("0x03"):
            found.append({"address": device.name, "id": ":".join(parts)})
    return found


def look(_ask: dict[str, Any]) -> dict[str, Any]:
    """Look at the base system."""
    return gather(
        {
            "failed": _failed,
            "reboot": _reboot,
            "firewall": _firewall,
            "journal": _journal,
            "record": _record,
            "listeners": listeners,
            "selinux": _selinux,
            "hardware": _hardware,
        }
    )
