"""Whether InfiniBand links go down and come back."""

from __future__ import annotations

from typing import Any

from provision.health.case import Case
from provision.health.words import (
    FAIL,
    PASS,
    UNKNOWN,
    Check,
    Limit,
    Outcome,
    Part,
    Unseen,
    together,
)


def judge(case: Case) -> Outcome:
    """Compare how often each port's link was lost with the audit before."""
    wanted = case.expected.list_of("infiniband")
    found = {(p["device"], p["port"]): p for p in case.part("net.infiniband")}
    parts = []
    for port in wanted:
        key = (port["device"], port.get("port", 1))
        parts.append(_one(case, f"{key[0]}/{key[1]}", found.get(key)))
    return together(parts, "links that stay up", "; ".join(sorted({p.seen for p in parts})))


def _one(case: Case, name: str, seen: Any) -> Part:
    if seen is None or not {"link_downed", "link_error_recovery"} <= set(seen["counters"]):
        return Part(name, UNKNOWN, "it has no counters")
    count = seen["counters"]["link_downed"] + seen["counters"]["link_error_recovery"]
    limit = case.limit("net.infiniband.flaps.per_hour") / 60
    try:
        well, text = case.per_minute(f"flaps.{name}", count, limit, "losses of the link")
    except Unseen as error:
        return Part(name, UNKNOWN, str(error))
    return Part(name, PASS if well else FAIL, text)


CHECK = Check(
    id="net.infiniband.flaps",
    title="InfiniBand links stay up",
    what="Compares the counters of lost and recovered links with those of the audit before.",
    why="A link that comes and goes looks well each time somebody looks, and ends jobs in between.",
    signal="/sys/class/infiniband/*/ports/*/counters/link_downed, link_error_recovery, twice",
    severity="high",
    action="inspect",
    advice="look at cable, transceiver and switch port",
    clears="the links were not lost more often than the limit between two audits",
    judge=judge,
    needs=("net.infiniband",),
    limits=(
        Limit(
            "net.infiniband.flaps.per_hour",
            "losses an hour",
            1,
            0,
            1000,
            "our choice, on the strict side of the peers' 3 in 3 h and 5 in 24 h",
        ),
    ),
)
