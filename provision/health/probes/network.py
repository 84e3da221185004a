"""InfiniBand ports and Ethernet interfaces, out of sysfs."""

from __future__ import annotations

from typing import Any

from provision.health.probes.ask import Ask, Failed

IB = "/sys/class/infiniband"
NET = "/sys/class/net"
_IB_COUNTERS = ("link_downed", "link_error_recovery", "symbol_error", "port_rcv_errors")


def look(ask: Ask) -> None:
    """Say every port and interface."""
    ask.see("net.infiniband", lambda: [
        _port(ask, device, port)
        for device in ask.names(IB)
        for port in ask.names(f"{IB}/{device}/ports")
    ])  # fmt: skip
    ask.see("net.ethernet", lambda: {
        name: _interface(ask, name) for name in ask.names(NET) if name != "lo"
    })  # fmt: skip


def _port(ask: Ask, device: str, port: str) -> dict[str, Any]:
    at = f"{IB}/{device}/ports/{port}"
    ask.progress.doing(f"reading {at}")
    counters = {}
    for name in _IB_COUNTERS:
        text = ask.maybe(f"{at}/counters/{name}")
        if text.isdigit():
            counters[name] = int(text)
    return {
        "device": device,
        "port": int(port),
        "state": ask.text(f"{at}/state").partition(":")[2].strip(),
        "physical": ask.text(f"{at}/phys_state").partition(":")[2].strip(),
        "rate_gbps": float(ask.text(f"{at}/rate").split()[0]),
        "layer": ask.maybe(f"{at}/link_layer"),
        "firmware": ask.maybe(f"{IB}/{device}/fw_ver"),
        "counters": counters,
    }


def _interface(ask: Ask, name: str) -> dict[str, Any]:
    at = f"{NET}/{name}"
    ask.progress.doing(f"reading {at}")
    return {
        "state": ask.maybe(f"{at}/operstate"),
        "speed_mbps": _number(ask, f"{at}/speed"),
        "lost_carrier": _number(ask, f"{at}/carrier_down_count"),
    }


def _number(ask: Ask, name: str) -> int | None:
    """A number, or None where the interface has none: reading fails while it is down."""
    try:
        text = ask.maybe(name)
    except Failed:
        return None
    return int(text) if text.lstrip("-").isdigit() else None
