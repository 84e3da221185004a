"""Whether a GPU without row remapping retired too many pages."""

from __future__ import annotations

from provision.health.case import Case, Gpu
from provision.health.words import Check, Limit, Outcome


def judge(case: Case) -> Outcome:
    """Count retired pages, and look for one that waits."""

    def one(gpu: Gpu) -> tuple[bool, str]:
        single = int(gpu.trait("retired_single", "retired_pages", "page retirement"))
        double = int(gpu.trait("retired_double", "retired_pages", "page retirement"))
        waits = bool(gpu.trait("retired_pending", "retired_pages", "page retirement"))
        most = case.limit("gpu.pages.most", gpu)
        text = f"{single + double} pages retired, {double} of them after double-bit errors"
        return single + double < most and not waits, text + (", one waits" if waits else "")

    return case.each_gpu(one, "few retired pages, and none that waits for a restart")


CHECK = Check(
    id="gpu.pages",
    title="few memory pages are retired, and none waits",
    what="Counts retired pages of GPUs that came before row remapping (Volta, Turing).",
    why="Page retirement is their only repair; near its end the board has to be returned.",
    signal="nvmlDeviceGetRetiredPages (both causes), nvmlDeviceGetRetiredPagesPendingStatus",
    severity="high",
    action="inspect",
    advice="restart the node where a page waits; at the limit return the board",
    clears="fewer pages than the limit are retired and none waits",
    judge=judge,
    needs=("nvml", "gpu"),
    limits=(
        Limit(
            "gpu.pages.most",
            "pages",
            60,
            1,
            64,
            "NVIDIA's dynamic page retirement: a board with 60 retired pages may be returned",
        ),
    ),
)
