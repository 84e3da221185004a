"""Whether SELinux is in the declared mode."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import Check, Outcome, decide


def judge(case: Case) -> Outcome:
    """Compare the mode with the declaration."""
    wanted = str(case.expected.said("security", "selinux"))
    found = str(case.part("security.selinux"))
    return decide(found == wanted, found, wanted)


CHECK = Check(
    id="security.selinux",
    title="SELinux is in the declared mode",
    what="Reads from the kernel whether SELinux enforces.",
    why="It is often switched off to make something work, and stays off.",
    signal="/sys/fs/selinux/enforce, /sys/kernel/security/lsm",
    severity="high",
    action="inspect",
    advice="setenforce 1; from disabled it takes a restart with relabelling",
    clears="the kernel says the declared mode",
    judge=judge,
    needs=("security.selinux",),
)
