"""Whether the driver shows every declared GPU, and each of them answers."""

from __future__ import annotations

import re

from provision.health.case import Case
from provision.health.words import ACTIONS, Check, Outcome, Unseen, counted, fails, holds

_ACTIONS = {
    "8": "inspect", "11": "reboot", "14": "inspect", "15": "reboot", "16": "reset_gpu",
    "28": "reboot",
}  # fmt: skip
"""What the codes of NVML that name a broken GPU ask for."""
_PASSING = {4, 10, 27}
"""Codes of a handle that say nothing of the GPU: no permission, a timeout, not ready yet."""


def judge(case: Case) -> Outcome:
    """Compare the declared GPUs, those on the bus and those that NVML can use."""
    case.need_gpus()
    wanted = case.declared_count
    expected = f"{counted(wanted, 'GPU')} that answer"
    try:
        case.part("nvml.init")
        case.part("nvml.count")
    except Unseen as error:
        if error.kind in ("missing", "mismatch", "gone", "hang", "crash"):
            return fails(f"the driver shows no GPU: {error}", expected, action="reboot")
        raise
    shown = case.part("nvml.gpus")
    broken = [f"GPU {g['index']}: {g['reason']}" for g in shown if g["code"]]
    usable = [g["bus"] for g in shown if not g["code"]]
    bad = broken + _silent(case, usable) or _stuck(case)
    missing = sorted(_on_bus(case) - set(usable))
    if broken == bad and {g["code"] for g in shown if g["code"]} & _PASSING:
        raise Unseen("; ".join(bad))
    if bad:
        return fails("; ".join(bad), expected, action=max(map(_action, bad), key=ACTIONS.index))
    strange = _strange(case, usable)
    if strange:
        return fails(strange, expected, action="reboot")
    if len(usable) < wanted and missing:
        text = f"on the bus, but not shown by the driver: {', '.join(missing)}"
        return fails(text, expected, action="reboot")
    if len(usable) != wanted:
        seen = f"{counted(len(usable), 'GPU')}: {', '.join(usable) or 'none'}"
        return fails(seen, expected, action="inspect")  # the bus has no other one to reset
    _heard(case, usable)
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


def _action(reason: str) -> str:
    """What a reason asks for.

    The driver gives up a GPU that is lost until the node restarts; what hangs or crashes in the
    driver is not reset through the same driver.
    """
    code = re.search(r"NVML (\d+):", reason)
    return _ACTIONS.get(code[1], "reset_gpu") if code else "reboot"


def _strange(case: Case, usable: list[str]) -> str:
    """What is wrong with the addresses that the driver gives; empty when nothing is."""
    twice = sorted({bus for bus in usable if usable.count(bus) > 1})
    if twice:
        return f"the driver gives one address to several GPUs: {', '.join(twice)}"
    bus = _on_bus(case)
    strangers = sorted(set(usable) - bus)
    if strangers and len(bus) >= len(usable):
        return f"the driver shows GPUs that are not on the bus: {', '.join(strangers)}"
    return ""


def _stuck(case: Case) -> list[str]:
    """The call in which the library hung or crashed, where it was not asked again without it."""
    for run in case.sight.runs:
        ours = run.name == case.sight.owners.get("nvml") and run.status in ("hang", "crash")
        if ours and "nvmlDevice" in run.reason:
            return [run.reason]
    return []


def _heard(case: Case, usable: list[str]) -> None:
    """Go on only when every GPU answered something, and the library came to its end.

    Raises:
        Unseen: one answered no question at all, or the library stopped half way.
    """
    for bus in usable:
        if not any(True for _ in case.sight.below(f"gpu.{bus}.")):
            told = [v for k, v in case.sight.missing.items() if k.startswith(f"gpu.{bus}.")]
            kind, reason = told[0] if told else ("not_looked", "nobody asked")
            raise Unseen(f"{bus} answers no question: {reason}", kind)
    for run in case.sight.runs:
        if run.name == case.sight.owners.get("nvml") and run.status != "ended":
            raise Unseen(run.reason, run.status)


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
    signal="nvmlDeviceGetCount, nvmlDeviceGetHandleByIndex, codes 8, 11, 14, 15, 16 and 28 of any"
    " call",
    severity="critical",
    action="reset_gpu",
    advice="drain the node; reset the GPU that the evidence names where it asks for that, else"
    " restart the node; look at power cable or board where the evidence names them",
    clears="as many GPUs as are declared answer",
    judge=judge,
    needs=("nvml", "gpu", "pci.gpus"),
)
