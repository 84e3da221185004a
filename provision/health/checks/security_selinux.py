"""Whether SELinux is in the declared mode, or a stricter one."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import Check, Outcome, decide

_STRICTER = ("disabled", "permissive", "enforcing")


def judge(case: Case) -> Outcome:
    """Compare the mode with the declaration, which says what the least is."""
    wanted = str(case.expected.said("security", "selinux"))
    found = str(case.part("security.selinux"))
    well = _STRICTER.index(found) >= _STRICTER.index(wanted)
    return decide(well, found, wanted if wanted == "enforcing" else f"at least {wanted}")


CHECK = Check(
    id="security.selinux",
    title="SELinux is in the declared mode, or a stricter one",
    what="Reads from the kernel whether SELinux enforces.",
    why="It is often switched off to make something work, and stays off.",
    signal="/sys/fs/selinux/enforce, /sys/kernel/security/lsm",
    severity="high",
    action="inspect",
    advice="setenforce 1; from disabled it takes a restart with relabelling",
    clears="the kernel says the declared mode, or a stricter one",
    judge=judge,
    needs=("security.selinux",),
)
