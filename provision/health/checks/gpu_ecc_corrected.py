"""Whether memory is corrected unusually often."""

from __future__ import annotations

from provision.health.case import Case, Gpu
from provision.health.words import Check, Limit, Outcome


def judge(case: Case) -> Outcome:
    """Compare the rate of corrected errors with a limit."""

    def one(gpu: Gpu) -> tuple[bool, str]:
        count = int(gpu.trait("ecc_corrected", "ecc", "ECC"))
        limit = case.limit("gpu.ecc.corrected.per_minute", gpu)
        return case.per_minute(f"ecc_corrected.{gpu.bus}", count, limit, "corrected errors")

    return case.each_gpu(one, "corrected memory errors are rare")


CHECK = Check(
    id="gpu.ecc.corrected",
    title="memory errors are corrected rarely",
    what="Compares the volatile count of corrected ECC errors with that of the audit before.",
    why="Corrected errors do no harm, but a storm of them slows the GPU and comes before"
    " uncorrected ones. It stops when the GPU is idle, so an idle node shows none.",
    signal="nvmlDeviceGetTotalEccErrors(corrected, volatile), twice",
    severity="medium",
    action="inspect",
    advice="run the memory test of the field diagnostics on the idle GPU",
    clears="the rate between two audits is below the limit",
    judge=judge,
    needs=("nvml", "gpu"),
    limits=(
        Limit(
            "gpu.ecc.corrected.per_minute",
            "errors a minute",
            600,
            1,
            100000,
            "our choice: ten a second; a failing stack was reported with thousands a second",
        ),
    ),
)
