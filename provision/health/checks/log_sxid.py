"""Whether an NVSwitch wrote an SXid that says that it failed."""

from __future__ import annotations

from provision.health import kernel_log
from provision.health.case import Case
from provision.health.words import Check, Outcome


def judge(case: Case) -> Outcome:
    """Judge every SXid of this boot by the table."""
    case.need_gpus()
    return kernel_log.judge(case, "sxid", "no SXid of this boot that needs a reset")


CHECK = Check(
    id="log.sxid",
    title="no SXid of this boot needs a reset",
    what="Reads the kernel's log of this boot, counts the codes of the NVSwitches and judges each"
    " by the table; for many codes the word Fatal in the line decides.",
    why="NVSwitch errors appear nowhere else: NVML of the GPUs does not have them.",
    signal="journalctl -k -b: nvidia-nvswitchN: SXid (PCI:...): CODE",
    severity="critical",
    action="reset_gpu",
    advice="drain the node, reset all GPUs and switches of the baseboard; inspect it on repeat",
    clears="a restart of the node or a reload of the driver",
    judge=judge,
    needs=("log.events",),
)
