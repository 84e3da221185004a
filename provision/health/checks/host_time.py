"""Whether the clock is right."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import Check, Limit, NotMeant, Outcome, decide, fails


def judge(case: Case) -> Outcome:
    """Judge the worst case that chrony's figures allow."""
    if case.expected.kind == "container":
        raise NotMeant("a container has its host's clock")
    told = case.part("system.time")
    # How far off the clock can be: what is known to be off, and what cannot be known.
    bound = told["offset_s"] + told["dispersion_s"] + told["delay_s"] / 2
    limit = case.limit("host.time.milliseconds")
    seen = f"within {bound * 1000:.2f} ms, source {told['source'] or 'none'}"
    expected = f"within {limit:g} ms of its source"
    if told["leap"] == "Not synchronised" or not 0 < told["stratum"] < 16:
        return fails(f"not synchronised; {seen}", expected)
    wanted = (case.expected.declared.get("time") or {}).get("source")
    if wanted and wanted != told["source"]:
        return fails(f"{seen}; {wanted} is declared", expected)
    return decide(bound * 1000 <= limit, seen, expected)


CHECK = Check(
    id="host.time",
    title="the clock is right",
    what="Asks chrony for its source and computes how far off the clock can be at most.",
    why="Logs, certificates and licences of a node with a wrong clock cannot be trusted, and jobs"
    " over several nodes time out.",
    signal="chronyc tracking: offset + dispersion + half of the delay",
    severity="medium",
    action="none",
    advice="look at chrony's sources; restart chronyd",
    clears="chrony is synchronised and the bound is below the limit",
    judge=judge,
    needs=("system.time",),
    limits=(
        Limit(
            "host.time.milliseconds",
            "ms",
            100,
            0.01,
            60000,
            "our choice: logs of several nodes can still be put in order",
        ),
    ),
)
