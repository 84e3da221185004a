"""Processors, memory and memory errors."""

from __future__ import annotations

from typing import Any

from provision.health.probes.ask import Ask, Failed

CPUS = "/sys/devices/system/cpu"
EDAC = "/sys/devices/system/edac/mc"


def look(ask: Ask) -> None:
    """Say what the machine has."""
    ask.see("machine.cpu", lambda: _cpu(ask))
    ask.see("machine.memory", lambda: _memory(ask))
    ask.see("machine.edac", lambda: _edac(ask))


def _cpu(ask: Ask) -> dict[str, Any]:
    online = [n for n in ask.names(CPUS) if n[:3] == "cpu" and n[3:].isdigit()]
    if not online:
        raise Failed("missing", f"{CPUS} names no processor")
    cores, governors, offline = set(), set(), 0
    for name in online:
        if ask.maybe(f"{CPUS}/{name}/online", "1") != "1":
            offline += 1
            continue
        topology = f"{CPUS}/{name}/topology"
        package = ask.text(f"{topology}/physical_package_id")
        cores.add((package, ask.text(f"{topology}/core_id")))
        governor = ask.maybe(f"{CPUS}/{name}/cpufreq/scaling_governor")
        governors |= {governor} if governor else set()
    return {
        "sockets": len({package for package, _ in cores}),
        "cores": len(cores),
        "threads": len(online) - offline,
        "offline": offline,
        "governors": sorted(governors),
    }


def _memory(ask: Ask) -> dict[str, int]:
    found = {}
    for line in ask.text("/proc/meminfo").splitlines():
        key, _, value = line.partition(":")
        found[key] = int(value.split()[0])
    wanted = ("MemTotal", "MemAvailable", "SwapTotal", "HugePages_Total", "HardwareCorrupted")
    lost = [key for key in wanted[:3] if key not in found]
    if lost:  # every kernel has them, so the file was cut
        raise Failed("truncated", f"/proc/meminfo does not say {', '.join(lost)}")
    return {key: found[key] for key in wanted if key in found}


def _edac(ask: Ask) -> dict[str, dict[str, int]]:
    """Corrected and uncorrected errors of every memory controller."""
    found = {}
    for name in ask.names(EDAC):
        if name[:2] == "mc" and name[2:].isdigit():
            at = f"{EDAC}/{name}"
            found[name] = {
                "corrected": int(ask.text(f"{at}/ce_count")),
                "uncorrected": int(ask.text(f"{at}/ue_count")),
            }
    if not found:
        raise Failed("missing", "the kernel has no driver for the memory controller (EDAC)")
    return found
