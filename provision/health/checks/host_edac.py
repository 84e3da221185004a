"""Whether the node's memory errs."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import (
    FAIL,
    PASS,
    UNKNOWN,
    Check,
    Limit,
    NotMeant,
    Outcome,
    Part,
    Unseen,
    counted,
    together,
)


def judge(case: Case) -> Outcome:
    """Judge uncorrected errors by their count and corrected ones by their rate."""
    if case.expected.kind != "metal":
        raise NotMeant(f"a node of kind {case.expected.kind} has no memory controller")
    parts = [_one(case, name, told) for name, told in case.part("machine.edac").items()]
    return together(
        parts,
        "no uncorrected memory error, few corrected ones",
        f"{counted(len(parts), 'controller')}: " + "; ".join(sorted({p.seen for p in parts})),
    )


def _one(case: Case, name: str, told: dict[str, int]) -> Part:
    if told["uncorrected"]:
        return Part(name, FAIL, f"{told['uncorrected']} uncorrected errors")
    limit = case.limit("host.edac.corrected_per_minute")
    try:
        well, seen = case.per_minute(f"edac.{name}", told["corrected"], limit, "corrected errors")
    except Unseen as error:
        return Part(name, UNKNOWN, str(error))
    return Part(name, PASS if well else FAIL, seen)


CHECK = Check(
    id="host.edac",
    title="the node's memory has no uncorrected and few corrected errors",
    what="Reads the counters of every memory controller.",
    why="Host memory feeds the GPUs: an error there is as wrong as one on the GPU.",
    signal="/sys/devices/system/edac/mc/mc*/ue_count, ce_count",
    severity="critical",
    action="inspect",
    advice="drain the node, find the module in the machine's own event log, replace it",
    clears="no uncorrected error since the start, and the rate of corrected ones is low",
    judge=judge,
    needs=("machine.edac",),
    limits=(
        Limit(
            "host.edac.corrected_per_minute",
            "errors a minute",
            1,
            0,
            100000,
            "our choice: a good module corrects an error in days",
        ),
    ),
)
