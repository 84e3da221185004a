"""Kernel, services and time."""

from __future__ import annotations

from typing import Any

from provision.health.probes.ask import Ask, Failed

_UNIT_PARTS = ("Id", "LoadState", "ActiveState", "SubState", "Result", "NRestarts", "Type")


def look(ask: Ask) -> None:
    """Say what runs."""
    ask.see("system.kernel", lambda: {
        "release": ask.text("/proc/sys/kernel/osrelease"),
        "arguments": ask.text("/proc/cmdline").split(),
        "tainted": int(ask.text("/proc/sys/kernel/tainted")),
    })  # fmt: skip
    ask.see("system.uptime", lambda: float(ask.text("/proc/uptime").split()[0]))
    units = list(ask.declared.get("services", ()))
    ask.see("system.services", lambda: _services(ask, units))
    ask.see("system.failed", lambda: _failed(ask))
    ask.see("system.time", lambda: _time(ask))
    ask.see("system.clock", lambda: ask.maybe(
        "/sys/devices/system/clocksource/clocksource0/current_clocksource"))  # fmt: skip


def _services(ask: Ask, units: list[str]) -> dict[str, dict[str, str]]:
    if not units:
        return {}
    told = ask.run(["systemctl", "show", "--no-pager", "-p", ",".join(_UNIT_PARTS), "--", *units])
    found = {}
    # One block a unit, in the order asked; a block's Id may be another name of the unit.
    blocks = told.strip().split("\n\n")
    if len(blocks) != len(units):
        raise Failed("truncated", f"systemctl spoke of {len(blocks)} units, not of {len(units)}")
    for unit, block in zip(units, blocks):
        found[unit] = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
    return found


def _failed(ask: Ask) -> list[str]:
    told = ask.run(["systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager"])
    return sorted(line.split()[0] for line in told.splitlines() if line.strip())


def _time(ask: Ask) -> dict[str, Any]:
    """What chrony says: its source, its stratum, and how far off the clock is, in seconds."""
    told = ask.run(["chronyc", "-c", "-n", "tracking"]).strip()
    parts = told.split(",")
    if len(parts) < 14:
        raise Failed("truncated", f"chronyc gave an answer of {len(parts)} parts: {told[:80]!r}")
    return {
        "source": parts[1],
        "stratum": int(parts[2]),
        "offset_s": abs(float(parts[4])),
        "delay_s": float(parts[10]),
        "dispersion_s": float(parts[11]),
        "leap": parts[13],
    }
