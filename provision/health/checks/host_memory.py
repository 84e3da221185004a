"""Whether the node has its memory."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import Check, Limit, Outcome, Unseen, decide


def judge(case: Case) -> Outcome:
    """Compare size, huge pages and swap with the declaration."""
    wanted = case.expected.section("memory")
    told = case.part("machine.memory")
    bad = []
    total = told["MemTotal"] >> 10
    slack = case.limit("host.memory.slack")
    if "mib" in wanted and total < wanted["mib"] * (1 - slack / 100):
        bad.append(f"{total} MiB of {wanted['mib']}")
    if "hugepages" in wanted:
        if "HugePages_Total" not in told:
            raise Unseen("/proc/meminfo does not say how many huge pages there are", "truncated")
        if told["HugePages_Total"] != wanted["hugepages"]:
            bad.append(f"{told['HugePages_Total']} huge pages of {wanted['hugepages']}")
    if wanted.get("swap") is False and told.get("SwapTotal", 0):
        bad.append(f"{told['SwapTotal'] >> 10} MiB of swap, none is declared")
    if told.get("HardwareCorrupted", 0):
        bad.append(f"{told['HardwareCorrupted']} KiB taken out of use by the kernel")
    least = case.limit("host.memory.available")
    if told["MemAvailable"] >> 10 < least:
        bad.append(f"{told['MemAvailable'] >> 10} MiB available")
    return decide(
        not bad, "; ".join(bad) or f"{total} MiB", "memory as declared, and some of it free"
    )


CHECK = Check(
    id="host.memory",
    title="the memory is as declared",
    what="Reads how much memory the kernel has, huge pages, swap, and pages taken out of use.",
    why="A module that failed its test at power-on is left out silently.",
    signal="/proc/meminfo",
    severity="high",
    action="inspect",
    advice="look at the machine's own event log for the module that is missing",
    clears="size, huge pages and swap are as declared and memory is available",
    judge=judge,
    needs=("machine.memory",),
    limits=(
        Limit(
            "host.memory.slack",
            "%",
            5,
            0,
            50,
            "as other node checks have it: firmware and kernel keep a few percent",
        ),
        Limit("host.memory.available", "MiB", 512, 0, 1048576, "our choice: enough to log in"),
    ),
)
