"""Whether every GPU has all its PCIe lanes."""

from __future__ import annotations

from provision.health.case import Case, Gpu
from provision.health.words import Check, Outcome


def judge(case: Case) -> Outcome:
    """Compare the width of the link with the declared or possible one."""
    declared = case.expected.gpus.get("pcie_width")

    def one(gpu: Gpu) -> tuple[bool, str]:
        width = int(gpu.read("width"))
        wanted = int(declared or (gpu.model.width if gpu.model else gpu.read("width_max")))
        return width >= wanted, f"x{width} of x{wanted}"

    return case.each_gpu(one, "all PCIe lanes are in use")


CHECK = Check(
    id="gpu.pcie.width",
    title="every GPU uses all its PCIe lanes",
    what="Compares the current width of the PCIe link with the declared one, else with the"
    " model's. The width does not fall when the GPU is idle; the speed does.",
    why="A link that came up with fewer lanes moves data at a fraction of the speed, and nothing"
    " else shows it.",
    signal="nvmlDeviceGetCurrPcieLinkWidth",
    severity="high",
    action="inspect",
    advice="drain the node, power it off and on; if it stays, reseat the board or its riser",
    clears="the width is the declared one",
    judge=judge,
    needs=("nvml", "gpu"),
)
