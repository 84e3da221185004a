"""Whether Slurm hears what the audit finds."""

from __future__ import annotations

import time

from provision.health.case import Case
from provision.health.words import Check, Limit, NotMeant, Outcome, Unseen, fails, holds


def judge(case: Case) -> Outcome:
    """Judge what the adapters did last: whether they run, reach Slurm, and were held back."""
    if not case.expected.said("slurm", "drain"):
        raise NotMeant("the declaration does not ask for drains (slurm.drain)")
    most = case.limit("scheduler.slurm.age")
    young = case.part("scheduler.uptime") < most
    try:
        kept = case.part("scheduler.slurm")
    except Unseen as error:
        if error.kind == "missing" and young:
            return holds("the node has just started; no adapter has run yet")
        raise
    age = time.time() - float(kept["ran"])
    said = str(kept["said"])
    expected = "HealthCheckProgram runs, reaches Slurm's controller, and is not held back"
    if not -60 <= age <= most and not young:
        text = f"HealthCheckProgram last ran {age:.0f} s ago; slurmd does not call it"
        return fails(text, expected, severity="medium", action="inspect")
    if kept["outcome"] == "tripped":
        return fails(said, expected)
    if kept["outcome"] == "unreachable":
        raise Unseen(said, "error")
    return holds(said or "it ran", expected)


CHECK = Check(
    id="scheduler.slurm",
    title="Slurm hears what the audit finds, and the breaker has not tripped",
    what="Reads what HealthCheckProgram, prolog and epilog did last, where drains are asked for.",
    why="A breaker that tripped leaves sick nodes in service, so that a mistake of ours does not"
    " empty the cluster: a person must look at once. An adapter that does not run, because"
    " slurm.conf does not name it, protects nobody.",
    signal="/var/lib/holdfast/health/slurm.json",
    severity="critical",
    action="inspect",
    advice="see what so many nodes have in common; is it the check that is wrong? Then lift the"
    " drains, or raise slurm.max_drained",
    clears="HealthCheckProgram runs again and finds room for a drain, or nothing to drain",
    judge=judge,
    needs=("scheduler.slurm", "scheduler.uptime"),
    limits=(
        Limit(
            "scheduler.slurm.age", "s", 900, 60, 86400,
            "three runs of the timer, and of HealthCheckProgram, every five minutes: one may be"
            " late, one may be lost",
        ),
        Limit(
            "scheduler.slurm.strikes", "results", 2, 1, 10,
            "our choice: critical failures drain at once; everything else is seen twice, since"
            " rates and services are unknown for one result after a restart",
        ),
        Limit(
            "scheduler.slurm.clean", "results", 2, 1, 100,
            "our choice: as many as it takes to be drained",
        ),
        Limit(
            "scheduler.slurm.hold", "s", 600, 0, 86400,
            "the time that peers watch for a fault that comes back: gpud keeps a dropped link ten"
            " minutes, NVSentinel counts a fabric's flaps over 600 s",
        ),
        Limit(
            "scheduler.slurm.flaps", "drains", 3, 1, 100,
            "NVSentinel and azure's healthagent call three a flap; gpud asks for hands on the"
            " machine after two restarts did not help",
        ),
        Limit(
            "scheduler.slurm.window", "s", 86400, 3600, 2592000,
            "our choice: a day, so that a fault that comes with the afternoon's heat is one fault",
        ),
    ),
)  # fmt: skip
