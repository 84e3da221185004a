"""Whether a channel or processor repair waits for a reset."""

from __future__ import annotations

from provision.health.case import Case, Gpu
from provision.health.words import Check, Outcome


def judge(case: Case) -> Outcome:
    """Read the two repair bits."""

    def one(gpu: Gpu) -> tuple[bool, str]:
        channel, processor = gpu.trait("repair", "repair", "repair status")
        waits = [n for n, x in (("memory channel", channel), ("processor cluster", processor)) if x]
        return not waits, f"waiting: {', '.join(waits)}" if waits else "no repair waits"

    return case.each_gpu(one, "no repair waits for a reset")


CHECK = Check(
    id="gpu.repair",
    title="no repair of a channel or processor cluster waits",
    what="Reads whether the GPU waits for a reset to take a broken part out of use.",
    why="Until the reset the broken part is still used.",
    signal="nvmlDeviceGetRepairStatus",
    severity="high",
    action="reset_gpu",
    advice="drain the node and reset the GPU",
    clears="both bits are 0 after the reset",
    judge=judge,
    needs=("nvml", "gpu"),
)
