"""Whether a bad memory row waits for its replacement."""

from __future__ import annotations

from provision.health.case import Case, Gpu
from provision.health.words import Check, Outcome


def judge(case: Case) -> Outcome:
    """Read the pending bit of row remapping."""

    def one(gpu: Gpu) -> tuple[bool, str]:
        corrected, uncorrected, pending, _ = gpu.trait("remapped", "remap", "row remapping")
        text = f"{uncorrected} rows remapped after uncorrected errors, {corrected} after corrected"
        return not pending, text + (", one more waits for a reset" if pending else "")

    return case.each_gpu(one, "no row waits to be remapped")


CHECK = Check(
    id="gpu.rows.pending",
    title="no memory row waits to be remapped",
    what="Reads whether a row remapping waits for the next reset.",
    why="Until the reset the bad row is still in use. Work may go on, and the reset may wait for"
    " a convenient moment.",
    signal="nvmlDeviceGetRemappedRows, third value",
    severity="medium",
    action="reset_gpu",
    advice="drain the node at a convenient moment and reset the GPU",
    clears="the reset has been done: the bit is 0",
    judge=judge,
    needs=("nvml", "gpu"),
)
