"""Whether the driver stays loaded while nobody uses it."""

from __future__ import annotations

from provision.health.case import Case, Gpu
from provision.health.words import Check, Outcome


def judge(case: Case) -> Outcome:
    """Compare persistence mode with the declaration."""
    wanted = bool(case.expected.gpus.get("persistence", True))

    def one(gpu: Gpu) -> tuple[bool, str]:
        found = bool(gpu.read("persistence"))
        return found == wanted, "on" if found else "off"

    return case.each_gpu(one, f"persistence {'on' if wanted else 'off'}")


CHECK = Check(
    id="gpu.persistence",
    title="persistence mode is as declared",
    what="Reads the persistence mode.",
    why="Without it the driver gives up each GPU when its last user ends: the next start takes"
    " seconds, and limits and counters are forgotten.",
    signal="nvmlDeviceGetPersistenceMode",
    severity="low",
    action="none",
    advice="start nvidia-persistenced",
    clears="persistence mode is on, where nothing else is declared",
    judge=judge,
    needs=("nvml", "gpu"),
)
