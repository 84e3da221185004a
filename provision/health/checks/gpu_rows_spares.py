"""Whether memory banks still have spare rows."""

from __future__ import annotations

from provision.health.case import Case, Gpu
from provision.health.words import Check, Limit, Outcome, Unseen


def judge(case: Case) -> Outcome:
    """Count banks that have few or no spare rows."""

    def one(gpu: Gpu) -> tuple[bool, str]:
        told = gpu.trait("spares", "remap", "row remapping")
        total = sum(told.values())
        spent = told["none"]
        text = f"{spent} banks without a spare row, {told['low']} with few, of {total}"
        if total == 0:
            raise Unseen("the GPU names no memory bank", "missing")
        return spent <= case.limit("gpu.rows.spares.banks", gpu), text

    return case.each_gpu(one, "every memory bank has a spare row")


CHECK = Check(
    id="gpu.rows.spares",
    title="every memory bank has spare rows",
    what="Reads how many memory banks have all, many, some, few or no spare rows.",
    why="A bank without spares makes the next bad row a failure of the board.",
    signal="nvmlDeviceGetRowRemapperHistogram",
    severity="high",
    action="inspect",
    advice="plan the board's replacement; run the field diagnostics",
    clears="the board is replaced",
    judge=judge,
    needs=("nvml", "gpu"),
    limits=(
        Limit(
            "gpu.rows.spares.banks",
            "banks",
            0,
            0,
            64,
            "our choice: one bank without a spare row is the last warning before a failure",
        ),
    ),
)
