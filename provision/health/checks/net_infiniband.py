"""Whether the declared InfiniBand ports are up at their speed."""

from __future__ import annotations

from typing import Any

from provision.health.case import Case
from provision.health.words import FAIL, PASS, Check, Outcome, Part, counted, together


def judge(case: Case) -> Outcome:
    """Compare every declared port with what sysfs says of it."""
    wanted = case.expected.list_of("infiniband")
    found = {(p["device"], p["port"]): p for p in case.part("net.infiniband")}
    parts = []
    for port in wanted:
        key = (port["device"], port.get("port", 1))
        parts.append(_one(f"{key[0]}/{key[1]}", found.get(key), port.get("rate_gbps", 0)))
    return together(
        parts,
        "every declared port active at its rate",
        f"{counted(len(parts), 'port')}: " + "; ".join(sorted({p.seen for p in parts})),
    )


def _one(name: str, seen: Any, rate: float) -> Part:
    if seen is None:
        return Part(name, FAIL, "it is not there")
    text = f"{seen['state']}, {seen['physical']}, {seen['rate_gbps']:g} Gb/s"
    well = seen["state"] == "ACTIVE" and seen["physical"] == "LinkUp" and seen["rate_gbps"] >= rate
    return Part(name, PASS if well else FAIL, text + (f" of {rate:g}" if rate else ""))


CHECK = Check(
    id="net.infiniband.state",
    title="every declared InfiniBand port is up at its rate",
    what="Reads state, physical state and rate of every declared port.",
    why="A port at half its rate, or one that is down, slows every job over several nodes.",
    signal="/sys/class/infiniband/*/ports/*/state, phys_state, rate",
    severity="high",
    action="inspect",
    advice="look at cable, transceiver and switch port; compare the firmware with its neighbours'",
    clears="every declared port is active at the declared rate",
    judge=judge,
    needs=("net.infiniband",),
)
