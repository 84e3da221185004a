"""Whether the right kernel modules are loaded, and nouveau is not."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import Check, Outcome, fails, holds, listed


def judge(case: Case) -> Outcome:
    """Look for the modules that compute needs, and for the one that must not be there."""
    case.need_gpus()
    found = case.part("driver.modules")
    expected = "nvidia and nvidia_uvm, no nouveau, and a device file for every GPU"
    if "nouveau" in found:
        return fails("nouveau is loaded and may hold the GPUs", expected)
    absent = [name for name in ("nvidia", "nvidia_uvm") if name not in found]
    if absent:
        return fails(f"not loaded: {', '.join(absent)}", expected)
    nodes = set(case.part("driver.nodes"))
    wanted = {f"nvidia{minor}": f" of {bus}" for bus, minor in case.part("driver.minors").items()}
    lost = [f"/dev/{n}{wanted.get(n, '')}" for n in sorted({"nvidiactl", *wanted} - nodes)]
    if lost:
        return fails(f"no device file: {listed(lost)}", expected)
    return holds(", ".join(sorted(n for n in found if n.startswith("nvidia"))), expected)


CHECK = Check(
    id="gpu.driver.modules",
    title="the driver's modules are loaded with their device files, and nouveau is not",
    what="Reads the list of loaded kernel modules, and compares the device files in /dev with the"
    " GPUs that the module names.",
    why="Without nvidia_uvm no CUDA program starts, though NVML answers; nouveau takes the GPUs"
    " before the driver can. A GPU without its device file is shown and cannot be opened.",
    signal="/proc/modules, /proc/driver/nvidia/gpus/*/information, /dev/nvidia*",
    severity="critical",
    action="reboot",
    advice="load the missing module, or make the device file with nvidia-modprobe; with nouveau,"
    " blacklist it in the initramfs and restart",
    clears="nvidia and nvidia_uvm are loaded, nouveau is not, and every GPU has its device file",
    judge=judge,
    needs=("driver.modules", "driver.nodes", "driver.minors"),
)
