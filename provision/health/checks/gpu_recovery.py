"""Whether the driver asks for a reset or a restart."""

from __future__ import annotations

from dataclasses import replace

from provision.health.case import Case, Gpu
from provision.health.words import ACTIONS, FAIL, Check, Outcome

_WORDS = {
    0: ("none", "nothing"),
    1: ("reset_gpu", "a reset of the GPU"),
    2: ("reboot", "a restart of the node"),
    3: ("drain", "an end of all peer-to-peer traffic"),
    4: ("reset_gpu", "a drain and a reset of the GPU"),
    5: ("drain", "a recovery of the IMEX domain"),
    6: ("reset_gpu", "a reset of the GPU over the bus"),
    7: ("reboot", "a restart of the whole system"),
}


def judge(case: Case) -> Outcome:
    """Ask every GPU what it needs to work again."""
    needed: list[str] = []

    def one(gpu: Gpu) -> tuple[bool, str]:
        code = int(gpu.read("recovery"))
        action, words = _WORDS.get(code, ("inspect", f"an action with the unknown number {code}"))
        needed.append(action)
        return code == 0, f"the driver asks for {words}"

    outcome = case.each_gpu(one, "the driver asks for nothing")
    if outcome.status == FAIL:
        return replace(outcome, action=max(needed, key=ACTIONS.index))
    return outcome


CHECK = Check(
    id="gpu.recovery",
    title="the driver asks for no recovery of a GPU",
    what="Reads the recovery action that the driver holds for each GPU.",
    why="It is the driver's own summary of every error that it has seen, and outlives the log. A"
    " GPU that waits for a reset may go on answering and computing wrongly.",
    signal="nvmlDeviceGetFieldValues, field 230",
    severity="critical",
    action="reset_gpu",
    advice="drain the node, then do what the driver asks for",
    clears="field 230 is 0 on every GPU",
    judge=judge,
    needs=("nvml", "gpu"),
)
