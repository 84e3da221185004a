"""Whether the kernel had to kill processes for lack of memory."""

from __future__ import annotations

from provision.health import kernel_log
from provision.health.case import Case
from provision.health.words import Check, Outcome


def judge(case: Case) -> Outcome:
    """Look for processes that were killed for lack of memory."""
    return kernel_log.others(
        case, {"out_of_memory": "killed for lack of memory"}, "no process was killed for memory"
    )


CHECK = Check(
    id="log.memory",
    title="no process was killed for lack of memory",
    what="Reads the kernel's log of this boot for processes killed for lack of memory.",
    why="What the kernel killed may be a service that nothing has started again.",
    signal="journalctl -k -b",
    severity="low",
    action="restart_application",
    advice="see which process was killed, start it again, limit the one that took the memory",
    clears="a restart of the node",
    judge=judge,
    needs=("log.events",),
)
