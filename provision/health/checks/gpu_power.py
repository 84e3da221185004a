"""Whether GPUs get the power that they should."""

from __future__ import annotations

from provision.health.case import Case, Gpu
from provision.health.words import Check, Limit, Outcome


def judge(case: Case) -> Outcome:
    """Compare the enforced limit with the declared or default one, and the draw with the limit."""
    declared = case.expected.gpus.get("power_limit_w")

    def one(gpu: Gpu) -> tuple[bool, str]:
        draw, limit = (float(gpu.read(n)) / 1000 for n in ("power", "power_limit"))
        usual = float(declared) if declared else float(gpu.read("power_default")) / 1000
        slack = case.limit("gpu.power.slack", gpu)
        over = case.limit("gpu.power.over", gpu)
        text = f"limit {limit:.0f} W of {usual:.0f}, draw {draw:.0f} W"
        return abs(limit - usual) <= slack and 0 < draw <= limit * (1 + over / 100), text

    return case.each_gpu(one, "the power limit is as declared, and the draw is below it")


CHECK = Check(
    id="gpu.power",
    title="every GPU has the power limit it should have, and draws less",
    what="Compares the enforced power limit with the declared one, else with the board's default,"
    " and the draw with the limit.",
    why="A limit that somebody lowered, or that the chassis lowers when a supply fails, makes one"
    " node slower than the others. A draw of nothing is a broken sensor.",
    signal="nvmlDeviceGetPowerUsage, nvmlDeviceGetEnforcedPowerLimit, ...DefaultLimit",
    severity="medium",
    action="inspect",
    advice="set the limit again; if it falls back, look at the power supplies",
    clears="the limit is as declared, and the draw is above 0 and not far above the limit",
    judge=judge,
    needs=("nvml", "gpu"),
    limits=(
        Limit("gpu.power.slack", "W", 5, 0, 200, "our choice: rounding of limits by the driver"),
        Limit(
            "gpu.power.over",
            "%",
            15,
            0,
            100,
            "our choice: short peaks above the limit are in order",
        ),
    ),
)
