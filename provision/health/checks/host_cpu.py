"""Whether the node has its processors, and they run at full speed."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import UNKNOWN, Check, Outcome, counted, decide


def judge(case: Case) -> Outcome:
    """Compare sockets, cores and governor with the declaration."""
    wanted = case.expected.section("cpu")
    told = case.part("machine.cpu")
    bad = [
        f"{counted(told[what], what[:-1])} of {wanted[what]}"
        for what in ("sockets", "cores")
        if what in wanted and told[what] != wanted[what]
    ]
    if told["offline"]:
        bad.append(f"{counted(told['offline'], 'thread')} offline")
    governor = wanted.get("governor")
    if governor and not told["governors"]:
        return Outcome(UNKNOWN, "the kernel shows no governor", str(governor), reason="no cpufreq")
    if governor and told["governors"] != [governor]:
        bad.append(f"governor {', '.join(told['governors'])}, not {governor}")
    seen = f"{counted(told['sockets'], 'socket')}, {counted(told['cores'], 'core')}"
    return decide(not bad, "; ".join(bad) or seen, "processors as declared, none offline")


CHECK = Check(
    id="host.cpu",
    title="the processors are as declared",
    what="Counts sockets and cores that are online and reads the frequency governor.",
    why="A socket that a failed memory test switched off takes its PCIe slots and half the"
    " memory with it.",
    signal="/sys/devices/system/cpu/*/topology, online, cpufreq",
    severity="high",
    action="inspect",
    advice="look at the machine's own event log; set the governor again",
    clears="sockets, cores and governor are as declared",
    judge=judge,
    needs=("machine.cpu",),
)
