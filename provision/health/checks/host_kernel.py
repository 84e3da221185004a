"""Whether the declared kernel runs, with the declared arguments."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import Check, Outcome, decide


def judge(case: Case) -> Outcome:
    """Compare release and command line with the declaration."""
    wanted = case.expected.section("kernel")
    told = case.part("system.kernel")
    bad = []
    if "release" in wanted and told["release"] != wanted["release"]:
        bad.append(f"{told['release']}, not {wanted['release']}")
    bad += [f"without {a}" for a in wanted.get("arguments", []) if a not in told["arguments"]]
    return decide(not bad, "; ".join(bad) or told["release"], "kernel and arguments as declared")


CHECK = Check(
    id="host.kernel",
    title="the declared kernel runs, with the declared arguments",
    what="Compares the running kernel's release and its command line with the declaration.",
    why="Driver and kernel are locked together; another kernel may start without a driver.",
    signal="/proc/sys/kernel/osrelease, /proc/cmdline",
    severity="high",
    action="reboot",
    advice="make the declared kernel the default, drain and restart the node",
    clears="the declared kernel runs with the declared arguments",
    judge=judge,
    needs=("system.kernel",),
)
