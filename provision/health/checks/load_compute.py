"""Whether GPUs multiply matrices without an error, for minutes."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.loaded import by_dcgm
from provision.health.words import Check, Outcome


def judge(case: Case) -> Outcome:
    """Take DCGM's word for each GPU."""
    return by_dcgm(case, "diagnostic", "DCGM's test 'diagnostic' passes on every GPU")


CHECK = Check(
    id="load.compute",
    title="every GPU multiplies matrices for minutes without an error",
    what="Lets DCGM multiply large matrices on all GPUs at once and compare the results, while it"
    " watches errors, heat and clocks.",
    why="A GPU that computes wrongly, or slows down, shows it under load only: a training run"
    " with it ends in numbers that are none, or waits for the slowest.",
    signal="dcgmi diag -j -r memory_bandwidth,diagnostic",
    severity="critical",
    action="drain",
    advice="read what DCGM says, reset the GPU and test again; if it stays, have it replaced",
    clears="the test passes on an idle node",
    judge=judge,
    needs=("nvml", "gpu", "dcgmi"),
)
