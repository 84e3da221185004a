"""Whether all GPUs of a node add up together as fast as such a node does."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.loaded import tested
from provision.health.words import Check, Limit, NotMeant, Outcome, Unseen, decide, fails

NUMBER = "load.nccl.bus"
_WHOLE = 8
"""How many GPUs the nodes had that the numbers were measured on."""


def judge(case: Case) -> Outcome:
    """Compare the bus bandwidth, and look that every sum was right."""
    gpus = case.gpus()
    if case.declared_count == 1:
        raise NotMeant("one GPU has no peer")
    told = tested(case, "nccl.reduced")
    if told["ranks"] != len(gpus):
        raise Unseen(f"NCCL added up on {told['ranks']:g} GPUs, not on {len(gpus)}", "error")
    least = min(case.limit(NUMBER, gpu) for gpu in gpus)
    expected = f"every sum is right, at {least:g} GB/s of bus bandwidth"
    if told["wrong"]:
        return fails(f"{told['wrong']:g} values of the sums are wrong", expected, action="drain",
                     severity="critical")  # fmt: skip
    seen = f"{told['bus']:.4g} GB/s on {len(gpus)} GPUs"
    if len(gpus) != _WHOLE and not case.limits.is_sites(NUMBER):
        raise Unseen(f"{seen}; nobody said what as many should reach ({NUMBER})", "missing")
    return decide(told["bus"] >= least, seen, expected)


CHECK = Check(
    id="load.nccl",
    title="all GPUs add up together without an error, as fast as such a node does",
    what="Lets all_reduce_perf of nccl-tests add up 4 GiB on all GPUs, and compares its least bus"
    " bandwidth; the sums are checked.",
    why="It is what training does all the time, over every link at once. NCCL takes a slower way"
    " without an error where it finds no better one.",
    signal="all_reduce_perf -b 4G -e 4G -g N",
    severity="high",
    action="drain",
    advice="run it by hand with NCCL_DEBUG=INFO to see which way NCCL takes; look at load.nvlink",
    clears="every sum is right and the bandwidth is reached on an idle node",
    judge=judge,
    needs=("nvml", "gpu", "nccl"),
    limits=(
        Limit(
            NUMBER, "GB/s", 15, 1, 5000,
            "nine tenths of what Azure's health check asks eight GPUs of a model for with 16 GiB"
            " (A100 228, H100 460, H200 480); B200: three quarters of the 845.7 that the author of"
            " ml-engineering measured; other models: what NVSentinel asks for over PCIe. For"
            " another number of GPUs a site says its own",
            {"a100-sxm-80": 205, "a100-sxm-40": 205, "h100-sxm": 414, "h200-sxm": 432,
             "b200-sxm": 634},
        ),
    ),
)  # fmt: skip
