"""Whether the kernel reported errors of disks or filesystems."""

from __future__ import annotations

from provision.health import kernel_log
from provision.health.case import Case
from provision.health.words import Check, Outcome

_KINDS = {
    "io_error": "disk error",
    "nvme": "NVMe error",
    "filesystem": "filesystem error",
    "raid": "RAID error",
}


def judge(case: Case) -> Outcome:
    """Look for errors of disks, filesystems and RAID in this boot's log."""
    return kernel_log.others(case, _KINDS, "no error of a disk or filesystem in this boot's log")


CHECK = Check(
    id="log.storage",
    title="the kernel reported no error of a disk or filesystem",
    what="Reads the kernel's log of this boot for errors of disks, NVMe controllers, RAID and"
    " filesystems.",
    why="A disk that errs loses models and results, and a job that reads from it hangs.",
    signal="journalctl -k -b",
    severity="high",
    action="inspect",
    advice="drain the node, look at the disk's own log (smartctl, nvme), check the filesystem",
    clears="a restart of the node after the cause was found",
    judge=judge,
    needs=("log.events",),
)
