"""Whether memory had errors that could not be corrected."""

from __future__ import annotations

from provision.health.case import Case, Gpu
from provision.health.words import Check, Limit, Outcome


def judge(case: Case) -> Outcome:
    """Count uncorrected errors since the driver was loaded."""

    def one(gpu: Gpu) -> tuple[bool, str]:
        count = int(gpu.trait("ecc_uncorrected", "ecc", "ECC"))
        return count <= case.limit(
            "gpu.ecc.uncorrected.most", gpu
        ), f"{count} since the driver was loaded"

    return case.each_gpu(one, "no uncorrected memory error since the driver was loaded")


CHECK = Check(
    id="gpu.ecc.uncorrected",
    title="no memory error went uncorrected since the driver was loaded",
    what="Reads the volatile count of uncorrected ECC errors of all memories of a GPU.",
    why="An uncorrected error ended a job or left it with wrong data; the row behind it has to be"
    " replaced, which takes a reset.",
    signal="nvmlDeviceGetTotalEccErrors(uncorrected, volatile)",
    severity="critical",
    action="reset_gpu",
    advice="drain the node and reset the GPU, then look at its row remapping",
    clears="the count is 0 again: it is, after a reset of the GPU or a restart",
    judge=judge,
    needs=("nvml", "gpu"),
    limits=(
        Limit(
            "gpu.ecc.uncorrected.most",
            "errors",
            0,
            0,
            1000,
            "none is acceptable: each one is lost or wrong data",
        ),
    ),
)
