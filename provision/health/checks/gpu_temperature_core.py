"""Whether a GPU is close to the temperature at which it slows itself down."""

from __future__ import annotations

from provision.health.case import Case, Gpu
from provision.health.words import Check, Limit, Outcome, Unseen


def judge(case: Case) -> Outcome:
    """Compare each GPU's temperature with its own slowdown point, else with a fixed limit."""

    def one(gpu: Gpu) -> tuple[bool, str]:
        celsius = float(gpu.read("temperature"))
        limit = case.limit("gpu.temperature.core.most", gpu)
        try:
            slowdown = float(gpu.read("slowdown_at"))
        except Unseen:
            slowdown = 0.0
        if slowdown > 0:
            limit = min(limit, slowdown - case.limit("gpu.temperature.core.margin", gpu))
        return celsius <= limit, f"{celsius:.0f} °C, at most {limit:.0f}"

    return case.each_gpu(one, "below the temperature at which the GPU slows down, with a margin")


CHECK = Check(
    id="gpu.temperature.core",
    title="no GPU is close to slowing down because of its temperature",
    what="Reads the core temperature and the temperature at which the GPU slows itself down.",
    why="A hot GPU computes more slowly than its neighbours, and a whole job waits for it; heat"
    " also ages the package.",
    signal="nvmlDeviceGetTemperatureV, nvmlDeviceGetTemperatureThreshold(slowdown)",
    severity="high",
    action="inspect",
    advice="look at fans, filters, coolant flow and the neighbours' temperatures",
    clears="the temperature is below the limit",
    judge=judge,
    needs=("nvml", "gpu"),
    limits=(
        Limit(
            "gpu.temperature.core.most", "°C", 90, 40, 110,
            "a fleet operator's report of GPUs that ran at 94 °C for months unnoticed; below the"
            " slowdown points of the data-centre models",
            {"l4": 85, "t4": 85, "v100-sxm-32": 83},
        ),
        Limit(
            "gpu.temperature.core.margin", "K", 2, 0, 30,
            "our choice: one reading's uncertainty of 1 K, and one more",
        ),
    ),
)  # fmt: skip
