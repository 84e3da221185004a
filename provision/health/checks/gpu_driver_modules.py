"""Whether the right kernel modules are loaded, and nouveau is not."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import Check, Outcome, fails, holds


def judge(case: Case) -> Outcome:
    """Look for the modules that compute needs, and for the one that must not be there."""
    case.need_gpus()
    found = case.part("driver.modules")
    expected = "nvidia and nvidia_uvm, and no nouveau"
    if "nouveau" in found:
        return fails("nouveau is loaded and may hold the GPUs", expected)
    absent = [name for name in ("nvidia", "nvidia_uvm") if name not in found]
    if absent:
        return fails(f"not loaded: {', '.join(absent)}", expected)
    return holds(", ".join(sorted(n for n in found if n.startswith("nvidia"))), expected)


CHECK = Check(
    id="gpu.driver.modules",
    title="the driver's modules are loaded, and nouveau is not",
    what="Reads the list of loaded kernel modules.",
    why="Without nvidia_uvm no CUDA program starts, though NVML answers; nouveau takes the GPUs"
    " before the driver can.",
    signal="/proc/modules",
    severity="critical",
    action="reboot",
    advice="load the missing module; with nouveau, blacklist it in the initramfs and restart",
    clears="nvidia and nvidia_uvm are loaded and nouveau is not",
    judge=judge,
    needs=("driver.modules",),
)
