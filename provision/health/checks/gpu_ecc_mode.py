"""Whether error correction is on, now and after the next restart."""

from __future__ import annotations

from provision.health.case import Case, Gpu
from provision.health.words import Check, Outcome


def judge(case: Case) -> Outcome:
    """Compare the current and the pending mode with the declaration."""
    wanted = bool(case.expected.gpus.get("ecc", True))
    word = {True: "on", False: "off"}

    def one(gpu: Gpu) -> tuple[bool, str]:
        current, pending = (bool(x) for x in gpu.trait("ecc", "ecc", "ECC"))
        text = word[current] + ("" if pending == current else f", {word[pending]} after a restart")
        return current == pending == wanted, text

    return case.each_gpu(one, f"ECC {word[wanted]}, also after a restart")


CHECK = Check(
    id="gpu.ecc.mode",
    title="error correction is as declared, also after the next restart",
    what="Reads the current and the pending ECC mode.",
    why="Without ECC a flipped bit changes results silently, and every other ECC check is blind.",
    signal="nvmlDeviceGetEccMode",
    severity="high",
    action="reboot",
    advice="set the mode with nvidia-smi -e, drain and restart the node",
    clears="current and pending mode are as declared (on, where nothing is declared)",
    judge=judge,
    needs=("nvml", "gpu"),
)
