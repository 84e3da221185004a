"""Whether the driver shows every declared GPU, and each of them answers."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import Check, Outcome, Unseen, counted, fails, holds


def judge(case: Case) -> Outcome:
    """Compare the declared GPUs, those on the bus and those that NVML can use."""
    case.need_gpus()
    wanted = case.declared_count
    expected = f"{counted(wanted, 'GPU')} that answer"
    try:
        case.part("nvml.init")
    except Unseen as error:
        if error.kind in ("missing", "mismatch", "gone"):
            return fails(f"the driver shows no GPU: {error}", expected, action="reboot")
        raise
    shown = case.part("nvml.gpus")
    broken = [f"GPU {g['index']}: {g['reason']}" for g in shown if g["code"]]
    usable = [g["bus"] for g in shown if not g["code"]]
    lost = _silent(case, usable)
    missing = sorted(_on_bus(case) - set(usable))
    if broken or lost:
        return fails("; ".join(broken + lost), expected, action="reset_gpu")
    if len(usable) < wanted and missing:
        text = f"on the bus, but not shown by the driver: {', '.join(missing)}"
        return fails(text, expected, action="reboot")
    if len(usable) != wanted:
        return fails(f"{counted(len(usable), 'GPU')}: {', '.join(usable)}", expected)
    return holds(f"{counted(len(usable), 'GPU')}: {', '.join(usable)}", expected)


def _silent(case: Case, usable: list[str]) -> list[str]:
    """GPUs whose handle was given, but whose readings say that they are gone."""
    found = []
    for bus in usable:
        reasons = [
            reason
            for part, (kind, reason) in case.sight.missing.items()
            if part.startswith(f"gpu.{bus}.") and kind == "gone"
        ]
        culprit = case.sight.missing.get(f"culprit.gpu:{bus}")
        if reasons:
            found.append(f"{bus}: {reasons[0]}")
        elif culprit:
            found.append(f"{bus}: {culprit[1]}")
    return found


def _on_bus(case: Case) -> set[str]:
    try:
        return {str(g["bus"]) for g in case.part("pci.gpus")}
    except Unseen:
        return set()


CHECK = Check(
    id="gpu.presence.driver",
    title="the driver shows every declared GPU, and each answers",
    what="Asks NVML for a handle of every GPU and for its readings, and compares those that"
    " answer with the declaration and with the PCI bus.",
    why="NVML counts GPUs whose handle then fails: a job that gets one of them dies, and a"
    " scheduler that believes the count keeps sending jobs.",
    signal="nvmlDeviceGetCount, nvmlDeviceGetHandleByIndex, codes 14, 15, 16, 28 of any call",
    severity="critical",
    action="reset_gpu",
    advice="drain the node, then reset the GPU that the evidence names; restart the node where"
    " the reset fails",
    clears="as many GPUs as are declared answer",
    judge=judge,
    needs=("nvml", "gpu", "pci.gpus"),
)
