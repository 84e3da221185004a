"""Whether GPUs read and write their own memory as fast as their model does."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.loaded import by_dcgm
from provision.health.words import Check, Limit, Outcome

NUMBER = "load.memory.bandwidth"


def judge(case: Case) -> Outcome:
    """Take DCGM's word for each GPU: it was told what the model has to reach."""
    return by_dcgm(case, "memory_bandwidth", "each GPU's memory is as fast as its model's")


CHECK = Check(
    id="load.memory",
    title="every GPU's memory is as fast as its model's",
    what="Lets DCGM read and write each GPU's memory, and tells it how much has to be reached.",
    why="Memory that lost a part of its width, or runs below its clock, makes one GPU slower than"
    " its neighbours; nothing counts that as an error.",
    signal="dcgmi diag -j -r memory_bandwidth,diagnostic -p memory_bandwidth.minimum_bandwidth=N",
    severity="high",
    action="drain",
    advice="look for throttling and remapped rows, reset the GPU and test again on an idle node; if"
    " it stays, have it replaced",
    clears="the bandwidth is reached on an idle node",
    judge=judge,
    needs=("nvml", "gpu", "dcgmi"),
    limits=(
        Limit(
            NUMBER, "MB/s", 200_000, 10_000, 20_000_000,
            "three quarters of what DCGM's makers measured on each model, from the SKU table of"
            " its diagnostics (nvvs/diag-skus.yaml.in; its entry for the H200 has GB/s in a field"
            " of MB/s); for other models what every one of data centres since 2018 exceeds",
            {"b200-sxm": 4_072_500, "h200-sxm": 2_333_000, "h100-sxm": 1_905_000,
             "a100-sxm-80": 1_173_000, "l40s": 525_000},
        ),
    ),
)  # fmt: skip
