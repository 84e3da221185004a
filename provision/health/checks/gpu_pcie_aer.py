"""Whether the kernel counts PCIe errors of a GPU."""

from __future__ import annotations

from typing import Any

from provision.health.case import Case
from provision.health.words import (
    FAIL,
    NOT_APPLICABLE,
    PASS,
    UNKNOWN,
    Check,
    Limit,
    Outcome,
    Part,
    Unseen,
    counted,
    listed,
    together,
)

_KINDS = ("fatal", "nonfatal", "correctable")


def judge(case: Case) -> Outcome:
    """Judge fatal and non-fatal errors by their count, correctable ones by their rate."""
    case.need_gpus()
    parts = [_one(case, gpu["bus"], gpu["aer"]) for gpu in case.part("pci.gpus")]
    return together(parts, "no fatal PCIe error, and few corrected ones", _well(parts))


def _well(parts: list[Part]) -> str:
    return f"{counted(len(parts), 'GPU')}: " + "; ".join(sorted({p.seen for p in parts})[:3])


def _one(case: Case, bus: str, told: dict[str, Any]) -> Part:
    if any(told[kind] is None for kind in _KINDS):
        if case.expected.kind != "metal":
            return Part(bus, NOT_APPLICABLE, f"a node of kind {case.expected.kind} has no AER")
        return Part(bus, UNKNOWN, "the kernel does not count this device's errors (AER is off)")
    for kind in ("fatal", "nonfatal"):
        if told[kind]["total"] > case.limit("gpu.pcie.aer.uncorrected"):
            names = listed([f"{k} {v}" for k, v in told[kind].items() if k != "total"])
            return Part(bus, FAIL, f"{told[kind]['total']} {kind} errors: {names}")
    limit = case.limit("gpu.pcie.aer.correctable_per_minute")
    try:
        well, seen = case.per_minute(
            f"aer.{bus}", told["correctable"]["total"], limit, "corrected errors"
        )
    except Unseen as error:
        return Part(bus, UNKNOWN, str(error))
    return Part(bus, PASS if well else FAIL, seen)


CHECK = Check(
    id="gpu.pcie.aer",
    title="the kernel counts no fatal and few corrected PCIe errors",
    what="Reads the error counters that the kernel keeps for each GPU's PCIe link.",
    why="A link that errs will retrain with fewer lanes or lose the GPU.",
    signal="/sys/bus/pci/devices/*/aer_dev_fatal, aer_dev_nonfatal, aer_dev_correctable",
    severity="high",
    action="inspect",
    advice="reseat the board, its riser or cable; look at the slot's port too",
    clears="no fatal or non-fatal error since the start, and the rate of corrected ones is low",
    judge=judge,
    needs=("pci.gpus",),
    limits=(
        Limit("gpu.pcie.aer.uncorrected", "errors", 0, 0, 1000, "none is usual on a working link"),
        Limit(
            "gpu.pcie.aer.correctable_per_minute",
            "errors a minute",
            10,
            0,
            100000,
            "our choice: a working link corrects an error in hours, not in seconds",
        ),
    ),
)
