"""Whether the driver wrote an XID that says that hardware or driver failed."""

from __future__ import annotations

from provision.health import kernel_log
from provision.health.case import Case
from provision.health.words import Check, Outcome


def judge(case: Case) -> Outcome:
    """Judge every XID of this boot by the table."""
    case.need_gpus()
    return kernel_log.judge(case, "xid", "no XID of this boot that needs a reset or a person")


CHECK = Check(
    id="log.xid",
    title="no XID of this boot needs a reset or a person",
    what="Reads the kernel's log of this boot, counts XIDs by code and GPU, and judges each by the"
    " table. Codes that only say that a program was at fault are shown and do not count as a"
    " failure. A code that is not in the table is unknown.",
    why="The driver says in the log what it no longer shows once a job has ended: a GPU that"
    " corrupted data may answer every other question well.",
    signal="journalctl -k -b: NVRM: Xid (PCI:...): CODE",
    severity="high",
    action="inspect",
    advice="do what the action says, with the code's own words as the reason",
    clears="a restart of the node; for codes that a reset repairs also a reload of the driver, or"
    " an XID 154 that says that the GPU needs no action any more",
    judge=judge,
    needs=("log.events",),
)
