"""Whether a bad memory row could not be replaced."""

from __future__ import annotations

from provision.health.case import Case, Gpu
from provision.health.words import Check, Outcome


def judge(case: Case) -> Outcome:
    """Read the failure bit of row remapping."""

    def one(gpu: Gpu) -> tuple[bool, str]:
        failed = bool(gpu.trait("remapped", "remap", "row remapping")[3])
        return not failed, "a remapping failed" if failed else "no failure"

    return case.each_gpu(one, "no row remapping has failed")


CHECK = Check(
    id="gpu.rows.failure",
    title="no row remapping has failed",
    what="Reads whether a row could not be remapped.",
    why="The bank has no spare row left, or the row had been replaced before: the next"
    " uncorrected error will hit the same place.",
    signal="nvmlDeviceGetRemappedRows, fourth value",
    severity="critical",
    action="return",
    advice="drain the node, run the field diagnostics, return the board",
    clears="the board is replaced",
    judge=judge,
    needs=("nvml", "gpu"),
)
