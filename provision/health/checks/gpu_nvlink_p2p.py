"""Whether every pair of GPUs reaches each other over NVLink."""

from __future__ import annotations

from provision.health.case import Case, Gpu
from provision.health.words import Check, NotMeant, Outcome, Unseen, counted, listed

_WORDS = {
    1: "not supported by the chipset",
    2: "not supported by the GPU",
    3: "no way between them",
    4: "switched off by configuration",
    5: "not supported",
    6: "unknown",
}


def judge(case: Case) -> Outcome:
    """Look at every ordered pair of GPUs."""
    declared = case.expected.gpus.get("p2p")

    def one(gpu: Gpu) -> tuple[bool, str]:
        if declared is False:
            raise NotMeant("the declaration says that the GPUs need not reach each other")
        if declared is None and not (gpu.model and gpu.model.switched):
            if gpu.model is None:
                raise Unseen(
                    "neither the declaration nor the model says whether GPUs reach each"
                    " other (gpus.p2p)",
                    "missing",
                )
            raise NotMeant(f"GPUs of the model {gpu.model.id} need not reach each other")
        if case.declared_count == 1:
            raise NotMeant("one GPU has no peer")
        told = gpu.read("peers")
        bad = [f"{peer}: {_WORDS.get(s, s)}" for peer, s in sorted(told.items()) if s]
        if not told:
            raise Unseen("no other GPU answered", "missing")
        return not bad, listed(bad) if bad else f"reaches {counted(len(told), 'other GPU')}"

    return case.each_gpu(one, "every GPU reaches every other over NVLink")


CHECK = Check(
    id="gpu.nvlink.p2p",
    title="every GPU reaches every other over NVLink",
    what="Asks for every ordered pair whether the one reaches the other over NVLink.",
    why="Links can all count as up while the fabric does not connect two GPUs; programs then"
    " fail or fall back to a way that is many times slower.",
    signal="nvmlDeviceGetP2PStatus(NVLink)",
    severity="critical",
    action="reset_gpu",
    advice="drain the node, restart the fabric manager; if it stays, reset all GPUs and switches",
    clears="every pair is in order",
    judge=judge,
    needs=("nvml", "gpu"),
)
