"""Whether any unit has failed."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import Check, Outcome, decide, listed


def judge(case: Case) -> Outcome:
    """List failed units."""
    failed = case.part("system.failed")
    return decide(not failed, listed(failed) if failed else "none", "no failed unit")


CHECK = Check(
    id="host.units",
    title="no systemd unit has failed",
    what="Lists all units that systemd counts as failed, declared or not.",
    why="What nobody declared may still be what others depend on.",
    signal="systemctl list-units --failed",
    severity="low",
    action="inspect",
    advice="look at the unit's log; systemctl reset-failed once the cause is known",
    clears="no unit is in the failed state",
    judge=judge,
    needs=("system.failed",),
)
