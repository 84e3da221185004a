"""Whether hardened kernel settings still hold."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import FAIL, PASS, Check, Outcome, Part, counted, together


def judge(case: Case) -> Outcome:
    """Compare every declared setting with the kernel's."""
    wanted = case.expected.said("security", "sysctl")
    told = case.part("security.sysctl")
    parts = []
    for name, value in sorted(wanted.items()):
        seen = told.get(name) or "not there"
        well = seen.split() == value.split()
        parts.append(Part(name, PASS if well else FAIL, seen if well else f"{seen}, not {value}"))
    return together(parts, "kernel settings as hardened", f"{counted(len(parts), 'setting')} hold")


CHECK = Check(
    id="security.sysctl",
    title="hardened kernel settings still hold",
    what="Compares the kernel's running settings with the declared ones.",
    why="What was hardened at installation drifts: a package or a person sets it back.",
    signal="/proc/sys",
    severity="medium",
    action="inspect",
    advice="find out who changed it, then apply the hardening again",
    clears="every declared setting has its value",
    judge=judge,
    needs=("security.sysctl",),
)
