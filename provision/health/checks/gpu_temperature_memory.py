"""Whether GPU memory is too hot."""

from __future__ import annotations

from provision.health.case import Case, Gpu
from provision.health.words import Check, Limit, Outcome


def judge(case: Case) -> Outcome:
    """Compare the memory's temperature with a limit."""

    def one(gpu: Gpu) -> tuple[bool, str]:
        celsius = float(gpu.trait("memory_temperature", "memory_temperature", "memory sensor"))
        limit = case.limit("gpu.temperature.memory.most", gpu)
        return celsius <= limit, f"{celsius:.0f} °C, at most {limit:.0f}"

    return case.each_gpu(one, "the memory is below its temperature limit")


CHECK = Check(
    id="gpu.temperature.memory",
    title="no GPU's memory is too hot",
    what="Reads the temperature of the memory stacks where the model has a sensor.",
    why="Hot memory errs more often, and the GPU slows down to save it.",
    signal="nvmlDeviceGetFieldValues, field 82",
    severity="high",
    action="inspect",
    advice="look at fans, filters, coolant flow and the neighbours' temperatures",
    clears="the temperature is below the limit",
    judge=judge,
    needs=("nvml", "gpu"),
    limits=(
        Limit(
            "gpu.temperature.memory.most",
            "°C",
            93,
            40,
            110,
            "2 K below the memory limit of 95 °C that nvidia-smi shows for H100 boards",
        ),
    ),
)
