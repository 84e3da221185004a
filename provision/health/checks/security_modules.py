"""Whether unsigned kernel modules are loaded."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import Check, NotMeant, Outcome, decide, listed


def judge(case: Case) -> Outcome:
    """Look for loaded modules that are unsigned or were forced."""
    if case.expected.kind == "container":
        raise NotMeant("a container has its host's kernel")
    allowed = case.expected.said("security", "unsigned_modules")
    told = case.part("security.modules")
    odd = {n: f for n, f in told.items() if ("E" in f or "F" in f) and n not in allowed}
    bad = [f"{name} ({'forced' if 'F' in f else 'unsigned'})" for name, f in sorted(odd.items())]
    kernel = case.part("system.kernel")["tainted"]
    # Bit 1: a module was forced; bit 13: an unsigned one was loaded and may be gone again.
    if not bad and kernel & (1 << 13) and not any("E" in f for f in told.values()):
        bad.append("an unsigned module was loaded and is gone again")
    seen = listed(bad) or f"none; built elsewhere: {listed(sorted(told)) or 'none'}"
    return decide(not bad, seen, "no unsigned module, but those declared")


CHECK = Check(
    id="security.modules",
    title="no unsigned kernel module is loaded, but those declared",
    what="Reads the taint flags of loaded modules and of the kernel.",
    why="A module has all rights. Without Secure Boot an unsigned one loads with no more than a"
    " line in the log.",
    signal="/proc/modules, /proc/sys/kernel/tainted",
    severity="high",
    action="inspect",
    advice="find out where the module came from; sign it, or declare it with a reason",
    clears="a restart without the module, or its declaration",
    judge=judge,
    needs=("security.modules", "system.kernel"),
)
