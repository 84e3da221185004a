"""Whether a PCIe link sends data again too often."""

from __future__ import annotations

from provision.health.case import Case, Gpu
from provision.health.words import Check, Limit, Outcome

_EACH_LANE = {1: 0.15, 2: 0.3, 3: 0.48, 4: 0.96, 5: 1.92, 6: 3.84}


def judge(case: Case) -> Outcome:
    """Compare the rate of replays with what the link's speed and width make usual."""

    def one(gpu: Gpu) -> tuple[bool, str]:
        lanes, generation = int(gpu.read("width")), int(gpu.read("generation_max"))
        usual = lanes * _EACH_LANE.get(generation, _EACH_LANE[6])
        limit = usual * case.limit("gpu.pcie.replay.factor", gpu)
        return case.per_minute(f"replay.{gpu.bus}", int(gpu.read("replays")), limit, "replays")

    return case.each_gpu(one, "PCIe replays are rare")


CHECK = Check(
    id="gpu.pcie.replay",
    title="PCIe links rarely have to send again",
    what="Compares the replay counter with that of the audit before, against a rate that follows"
    " from the link's generation and lanes.",
    why="Replays are the first sign of a link that will lose lanes or drop the GPU.",
    signal="nvmlDeviceGetPcieReplayCounter, twice",
    severity="medium",
    action="inspect",
    advice="reseat the board, its riser or cable; compare with its neighbours",
    clears="the rate between two audits is below the limit",
    judge=judge,
    needs=("nvml", "gpu"),
    limits=(
        Limit(
            "gpu.pcie.replay.factor",
            "times the usual rate",
            2,
            0.1,
            1000,
            "usual rates a lane and minute are those of DCGM's health watch; twice them, since"
            " they were reported as too tight on busy eight-GPU nodes",
        ),
    ),
)
