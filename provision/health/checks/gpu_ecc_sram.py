"""Whether a GPU's caches had more uncorrected errors than NVIDIA accepts."""

from __future__ import annotations

from provision.health.case import Case, Gpu
from provision.health.words import Check, Outcome


def judge(case: Case) -> Outcome:
    """Read the flag that the firmware sets by itself."""

    def one(gpu: Gpu) -> tuple[bool, str]:
        told = gpu.trait("sram", "sram", "SRAM error threshold")
        total = told["aggregate"]
        word = "is exceeded" if told["exceeded"] else "is not exceeded"
        return not told["exceeded"], f"the threshold {word}, {total} in its life"

    return case.each_gpu(one, "the threshold of uncorrected SRAM errors is not exceeded")


CHECK = Check(
    id="gpu.ecc.sram",
    title="no GPU exceeds the threshold of uncorrected SRAM errors",
    what="Reads the flag by which the firmware says that caches and registers had more"
    " uncorrected errors than it accepts. Needs root.",
    why="SRAM cannot be remapped: past this point NVIDIA takes the board back.",
    signal="nvmlDeviceGetSramEccErrorStatus, bThresholdExceeded",
    severity="critical",
    action="return",
    advice="drain the node, run the field diagnostics, return the board",
    clears="the board is replaced: the flag counts over the board's life",
    judge=judge,
    needs=("nvml", "gpu"),
)
