"""Whether the declared Ethernet interfaces are up at their speed."""

from __future__ import annotations

from typing import Any

from provision.health.case import Case
from provision.health.words import FAIL, PASS, UNKNOWN, Check, Outcome, Part, together


def judge(case: Case) -> Outcome:
    """Compare every declared interface with what sysfs says of it."""
    wanted = case.expected.list_of("ethernet")
    found = case.part("net.ethernet")
    parts = [_one(x["name"], found.get(x["name"]), x.get("speed_mbps", 0)) for x in wanted]
    return together(
        parts,
        "every declared interface up at its speed",
        "; ".join(f"{p.entity}: {p.seen}" for p in parts),
    )


def _one(name: str, seen: Any, speed: int) -> Part:
    if seen is None:
        return Part(name, FAIL, "it is not there")
    text = seen["state"] + (f", {seen['speed_mbps']} Mb/s" if seen["speed_mbps"] else "")
    if speed and seen["speed_mbps"] is None and seen["state"] == "up":
        return Part(name, UNKNOWN, f"{text}; it does not say its speed")
    well = seen["state"] == "up" and (seen["speed_mbps"] or 0) >= speed
    return Part(name, PASS if well else FAIL, text)


CHECK = Check(
    id="net.ethernet",
    title="every declared Ethernet interface is up at its speed",
    what="Reads state and speed of every declared interface.",
    why="An interface that came up slower makes storage and start-up slow without an error.",
    signal="/sys/class/net/*/operstate, speed",
    severity="medium",
    action="inspect",
    advice="look at cable, transceiver and switch port",
    clears="every declared interface is up at the declared speed",
    judge=judge,
    needs=("net.ethernet",),
)
