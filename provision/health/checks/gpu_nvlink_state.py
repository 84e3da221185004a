"""Whether every NVLink link is up."""

from __future__ import annotations

from provision.health.case import Case, Gpu, links_of
from provision.health.words import Check, Outcome, listed


def judge(case: Case) -> Outcome:
    """Count links that are up, against the declared number or the model's."""
    declared = case.expected.gpus.get("nvlinks")

    def one(gpu: Gpu) -> tuple[bool, str]:
        wanted = links_of(gpu, declared)
        states = gpu.read("links")
        up = sum(1 for s in states if s in (1, 2))
        down = [str(i) for i, s in enumerate(states) if s not in (1, 2)]
        text = f"{up} of {wanted} links up" + (f", down: {listed(down, 18)}" if down else "")
        return up >= wanted, text

    return case.each_gpu(one, "every NVLink link is up")


CHECK = Check(
    id="gpu.nvlink.state",
    title="every NVLink link is up",
    what="Reads the state of each link and compares the number that is up with the declared one,"
    " else with the model's. A link that sleeps counts as up.",
    why="A GPU with a link less slows every collective operation of all GPUs.",
    signal="nvmlDeviceGetNvLinkState",
    severity="critical",
    action="reset_gpu",
    advice="drain the node, reset all GPUs and switches; if the link stays down, inspect the board",
    clears="as many links are up as are declared",
    judge=judge,
    needs=("nvml", "gpu"),
)
