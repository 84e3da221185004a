"""Whether all GPUs have the same VBIOS."""

from __future__ import annotations

from provision.health.case import Case, same
from provision.health.words import PASS, Check, Outcome, together


def judge(case: Case) -> Outcome:
    """Compare the versions with each other, or with those declared."""
    values = {gpu.bus: str(gpu.read("vbios")) for gpu in case.gpus()}
    outcome = same(values, case.expected.gpus.get("vbios"), "VBIOS")
    left = case.unasked()
    if outcome.status == PASS and left:
        return together([*outcome.parts, *left], outcome.expected, outcome.seen)
    return outcome


CHECK = Check(
    id="gpu.vbios",
    title="all GPUs have the same VBIOS, or a declared one",
    what="Compares the VBIOS versions of all GPUs.",
    why="A board that came from service with another firmware may have other clocks and limits.",
    signal="nvmlDeviceGetVbiosVersion",
    severity="medium",
    action="inspect",
    advice="bring all boards to one version, or declare the versions that are in order",
    clears="all versions are equal, or declared",
    judge=judge,
    needs=("nvml", "gpu"),
)
