"""Whether the driver is the declared one."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import Check, Outcome, decide


def judge(case: Case) -> Outcome:
    """Compare the running driver with the declared version."""
    case.need_gpus()
    wanted = str(case.expected.said("gpus", "driver"))
    found = str(case.part("driver.loaded")["version"])
    return decide(found == wanted, found, wanted)


CHECK = Check(
    id="gpu.driver.version",
    title="the running driver is the declared one",
    what="Compares the version of the loaded kernel module with the declared one.",
    why="Kernel, module, library and fabric manager are tested and locked as one unit.",
    signal="/proc/driver/nvidia/version",
    severity="high",
    action="reboot",
    advice="install the locked unit, then drain and restart the node",
    clears="the declared version runs",
    judge=judge,
    needs=("driver",),
)
