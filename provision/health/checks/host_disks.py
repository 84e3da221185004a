"""Whether the node has its disks, all of them working."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import Check, Outcome, counted, decide, listed


def judge(case: Case) -> Outcome:
    """Compare the number of disks with the declaration and look at their states."""
    wanted = case.expected.section("disks")
    told = case.part("storage.disks")
    nvme = [name for name in told if name.startswith("nvme")]
    bad = []
    if "count" in wanted and len(told) != wanted["count"]:
        bad.append(f"{counted(len(told), 'disk')} of {wanted['count']}")
    if "nvme" in wanted and len(nvme) != wanted["nvme"]:
        bad.append(f"{counted(len(nvme), 'NVMe disk')} of {wanted['nvme']}")
    for name, disk in told.items():
        if disk["state"] and disk["state"] not in ("live", "running"):
            bad.append(f"{name} is {disk['state']}")
        if not disk["gib"]:
            bad.append(f"{name} has no size")
    return decide(not bad, "; ".join(bad) or listed(sorted(told)), "disks as declared, all working")


CHECK = Check(
    id="host.disks",
    title="the disks are as declared and work",
    what="Counts disks and reads their size and the state that the kernel gives them.",
    why="A disk that dropped off leaves its model or scratch space missing or on another disk.",
    signal="/sys/block/*/size, device/state",
    severity="high",
    action="inspect",
    advice="look at the disk's own log, reseat or replace it",
    clears="as many disks as declared, each with a size and in a working state",
    judge=judge,
    needs=("storage.disks",),
)
