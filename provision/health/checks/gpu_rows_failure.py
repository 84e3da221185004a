"""Whether a bad memory row could not be replaced."""

from __future__ import annotations

from provision.health.case import Case, Gpu
from provision.health.words import Check, Outcome, Unseen


def judge(case: Case) -> Outcome:
    """Read the failure bit of row remapping."""

    def one(gpu: Gpu) -> tuple[bool, str]:
        failed = bool(gpu.trait("remapped", "remap", "row remapping")[3])
        if _unrepairable(gpu):
            return False, "it has memory that cannot be repaired"
        return not failed, "a remapping failed" if failed else "no failure"

    return case.each_gpu(one, "no row remapping has failed")


def _unrepairable(gpu: Gpu) -> bool:
    """The flag of newer drivers; older ones have only the failure bit."""
    try:
        return bool(gpu.read("unrepairable"))
    except Unseen as error:
        if error.kind == "not_supported":
            return False
        raise


CHECK = Check(
    id="gpu.rows.failure",
    title="no row remapping has failed",
    what="Reads whether a row could not be remapped.",
    why="The bank has no spare row left, or the row had been replaced before: the next"
    " uncorrected error will hit the same place.",
    signal="nvmlDeviceGetRemappedRows, fourth value; nvmlDeviceGetUnrepairableMemoryFlag_v1",
    severity="critical",
    action="return",
    advice="drain the node, run the field diagnostics, return the board",
    clears="the board is replaced",
    judge=judge,
    needs=("nvml", "gpu"),
)
