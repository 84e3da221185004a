"""Whether the kernel reported a fault of its own."""

from __future__ import annotations

from provision.health import kernel_log
from provision.health.case import Case
from provision.health.words import Check, Outcome

_KINDS = {
    "oops": "kernel fault",
    "lockup": "processor stuck",
    "hung_task": "task stuck",
    "machine_check": "hardware error",
}


def judge(case: Case) -> Outcome:
    """Look for faults, stuck processors and tasks, and machine checks in this boot's log."""
    return kernel_log.others(case, _KINDS, "no fault of the kernel in this boot's log")


CHECK = Check(
    id="log.kernel",
    title="the kernel reported no fault, stuck task or hardware error",
    what="Reads the kernel's log of this boot for faults, lockups, stuck tasks, machine checks.",
    why="A kernel that faulted goes on with locks held for ever; machine checks are the"
    " processor's own report of failing hardware.",
    signal="journalctl -k -b",
    severity="high",
    action="reboot",
    advice="keep the log, restart the node; on hardware errors inspect memory and processor",
    clears="a restart of the node",
    judge=judge,
    needs=("log.events",),
)
