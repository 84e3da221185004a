"""What the PCI bus shows: GPUs and NVSwitches, their links and their error counters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from provision.health.probes.ask import Ask, Failed

DEVICES = "/sys/bus/pci/devices"
NVIDIA = "0x10de"
_GPU_CLASSES = ("0x0300", "0x0302")
_BRIDGE = "0x0680"


def look(ask: Ask) -> None:
    """Say which devices of NVIDIA are there."""
    found: list[dict[str, Any]] = []

    def all_of_them() -> list[dict[str, Any]]:
        if not ask.path(DEVICES).is_dir():
            raise Failed("missing", f"{DEVICES} is not there")
        found.extend(_device(ask, bus) for bus in ask.names(DEVICES) if _nvidia(ask, bus))
        return [d for d in found if d["class"][:6] in _GPU_CLASSES]

    def switches() -> list[dict[str, Any]]:
        if seen is None:
            raise Failed("not_looked", f"{DEVICES} could not be read to its end")
        return [d for d in found if d["class"][:6] == _BRIDGE]

    seen = ask.see("pci.gpus", all_of_them)
    ask.see("pci.switches", switches)


def _nvidia(ask: Ask, bus: str) -> bool:
    return ask.maybe(f"{DEVICES}/{bus}/vendor") == NVIDIA


def _device(ask: Ask, bus: str) -> dict[str, Any]:
    at = f"{DEVICES}/{bus}"
    ask.progress.doing(f"reading {at}")
    driver = ask.path(f"{at}/driver")
    return {
        "bus": bus,
        "device": ask.maybe(f"{at}/device"),
        "class": ask.maybe(f"{at}/class"),
        "driver": Path(str(driver.readlink())).name if driver.is_symlink() else "",
        "width": _number(ask, f"{at}/current_link_width"),
        "width_max": _number(ask, f"{at}/max_link_width"),
        "speed_max": ask.maybe(f"{at}/max_link_speed"),
        "aer": {kind: _aer(ask, f"{at}/aer_dev_{kind}") for kind in
                ("correctable", "nonfatal", "fatal")},
    }  # fmt: skip


def _number(ask: Ask, name: str) -> int | None:
    text = ask.maybe(name)
    return int(text) if text.isdigit() else None


def _aer(ask: Ask, name: str) -> dict[str, int] | None:
    """The counters of one kind that are not zero, and their sum; None where there are none."""
    text = ask.maybe(name)
    if not text:
        return None
    pairs = (line.rsplit(None, 1) for line in text.splitlines() if line.strip())
    counts = {key: int(value) for key, value in pairs}
    kind = name.rsplit("_", 1)[-1].upper().replace("CORRECTABLE", "COR")
    total = counts.pop(f"TOTAL_ERR_{kind}", None)
    if total is None:  # the kernel writes it last
        raise Failed("truncated", f"{name} ends before its sum")
    told = {k: v for k, v in counts.items() if v and not k.startswith("TOTAL")}
    return {**told, "total": total}
