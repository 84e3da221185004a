"""Whether the PCI bus shows every declared GPU."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import Check, Outcome, counted, fails, holds


def judge(case: Case) -> Outcome:
    """Compare the declared GPUs with those on the PCI bus."""
    wanted = case.declared_count
    buses = [g["bus"] for g in case.part("pci.gpus")]
    expected = f"{counted(wanted, 'GPU')} on the PCI bus"
    declared = case.expected.gpus.get("buses", [])
    gone = sorted(set(declared) - set(buses))
    if gone:
        return fails(f"not on the bus: {', '.join(gone)}", expected)
    if len(buses) != wanted:
        return fails(f"{counted(len(buses), 'GPU')}: {', '.join(buses) or 'none'}", expected)
    return holds(f"{counted(len(buses), 'GPU')}: {', '.join(buses)}", expected)


CHECK = Check(
    id="gpu.presence.pci",
    title="every declared GPU is on the PCI bus",
    what="Counts the display and 3D controllers of NVIDIA on the PCI bus and compares them with"
    " the declaration, by address where the declaration names addresses.",
    why="A GPU that the bus does not show is a matter of hardware: no driver can bring it back.",
    signal="/sys/bus/pci/devices/*/vendor and class",
    severity="critical",
    action="inspect",
    advice="drain the node, power it off and on; if the GPU stays away, look at its seat, power"
    " and baseboard",
    clears="the bus shows as many GPUs as are declared, at the declared addresses",
    judge=judge,
    needs=("pci.gpus",),
)
