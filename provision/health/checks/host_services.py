"""Whether the declared services run."""

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
    listed,
    together,
)


def judge(case: Case) -> Outcome:
    """Look at every declared unit."""
    wanted = case.expected.list_of("services")
    told = case.part("system.services")
    parts = [_one(case, unit, told.get(unit)) for unit in wanted]
    return together(parts, "every declared service runs", listed([p.entity for p in parts], 20))


def _one(case: Case, unit: str, seen: Any) -> Part:
    if not seen or "ActiveState" not in seen:
        return Part(unit, UNKNOWN, "systemd says nothing of it")
    text = f"{seen['ActiveState']} ({seen.get('SubState', '')})"
    once = seen.get("Type") == "oneshot"
    ran = once and seen["ActiveState"] in ("active", "inactive") and seen.get("Result") == "success"
    if seen.get("LoadState") != "loaded" or not (seen["ActiveState"] == "active" or ran):
        return Part(unit, FAIL, f"{seen.get('LoadState', '')}, {text}")
    restarts = int(seen.get("NRestarts") or 0)
    if restarts:
        limit = case.limit("host.services.restarts_per_hour") / 60
        try:
            well, often = case.per_minute(f"restarts.{unit}", restarts, limit, "restarts")
        except Unseen:
            return Part(unit, PASS, f"{text}, restarted {restarts} times by systemd")
        if not well:
            return Part(unit, FAIL, f"{text}, {often}")
    return Part(unit, PASS, text)


CHECK = Check(
    id="host.services",
    title="every declared service runs, and does not keep restarting",
    what="Asks systemd for the state of every declared unit and how often it restarted it.",
    why="A service that systemd starts again and again is active at most moments.",
    signal="systemctl show: LoadState, ActiveState, Result, NRestarts",
    severity="high",
    action="restart_application",
    advice="look at the unit's log, then start it again",
    clears="every declared unit is active and was not restarted more often than the limit",
    judge=judge,
    needs=("system.services",),
    limits=(
        Limit(
            "host.services.restarts_per_hour",
            "restarts an hour",
            3,
            0,
            1000,
            "our choice: more than a chance failure",
        ),
    ),
)
