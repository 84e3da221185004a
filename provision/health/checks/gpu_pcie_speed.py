"""Whether the slot lets every GPU reach its PCIe generation."""

from __future__ import annotations

from provision.health.case import Case, Gpu
from provision.health.words import Check, Outcome


def judge(case: Case) -> Outcome:
    """Compare the generation that the system allows with the declared or possible one."""
    declared = case.expected.gpus.get("pcie_generation")

    def one(gpu: Gpu) -> tuple[bool, str]:
        allowed = int(gpu.read("generation_max"))
        wanted = int(declared or gpu.read("generation_gpu"))
        return allowed >= wanted, f"generation {allowed} of {wanted}"

    return case.each_gpu(one, "slot and firmware allow the GPU's PCIe generation")


CHECK = Check(
    id="gpu.pcie.speed",
    title="slot and firmware allow every GPU its PCIe generation",
    what="Compares the highest PCIe generation that GPU and slot reach together with that of the"
    " GPU alone. The current speed falls at idle and is no sign of a fault.",
    why="A firmware setting, a riser or a retimer that allows less halves the bandwidth.",
    signal="nvmlDeviceGetMaxPcieLinkGeneration, nvmlDeviceGetGpuMaxPcieLinkGeneration",
    severity="medium",
    action="inspect",
    advice="look at the firmware's settings and the riser; declare the generation where the"
    " system is made for less",
    clears="the system allows the declared generation",
    judge=judge,
    needs=("nvml", "gpu"),
)
