"""Whether the NVSwitches of the baseboard are on the PCI bus."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.data_files import model_of
from provision.health.words import Check, NotMeant, Outcome, counted, fails, holds

_BASEBOARD = 8


def judge(case: Case) -> Outcome:
    """Compare the NVSwitches on the bus with those declared, else with the baseboard's."""
    case.need_gpus()
    wanted = _wanted(case)
    buses = [s["bus"] for s in case.part("pci.switches")]
    expected = f"{counted(wanted, 'NVSwitch').replace('NVSwitchs', 'NVSwitches')} on the PCI bus"
    seen = f"{len(buses)}: {', '.join(buses) or 'none'}"
    return holds(seen, expected) if len(buses) == wanted else fails(seen, expected)


def _wanted(case: Case) -> int:
    declared = case.expected.gpus.get("switches")
    if declared == 0:
        raise NotMeant("the declaration says that there is no NVSwitch")
    if declared is not None:
        return int(declared)
    model = model_of(str(case.expected.gpus.get("model", "")))
    whole = case.expected.kind == "metal" and case.declared_count == _BASEBOARD
    if not (model and model.switches and whole):
        raise NotMeant("neither the declaration nor the model says how many NVSwitches there are"
                       " (gpus.switches)")  # fmt: skip
    return model.switches


CHECK = Check(
    id="gpu.switches",
    title="every NVSwitch of the baseboard is on the PCI bus",
    what="Counts NVIDIA's bridges on the PCI bus and compares them with the declaration, else with"
    " the number on a baseboard of the declared model with eight GPUs.",
    why="With a switch less the fabric runs on fewer links or does not start, and GPUs show that"
    " only when the fabric manager starts again.",
    signal="/sys/bus/pci/devices/*/vendor and class 0x0680",
    severity="high",
    action="inspect",
    advice="drain the node, power it off and on; if the switch stays away, look at the baseboard",
    clears="the bus shows as many NVSwitches as are declared",
    judge=judge,
    needs=("pci.switches",),
)
