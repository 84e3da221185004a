"""Whether all GPUs run the driver's own system firmware."""

from __future__ import annotations

from provision.health.case import Case, Gpu
from provision.health.words import Check, Outcome


def judge(case: Case) -> Outcome:
    """Compare the firmware's version with the driver's."""
    driver = ""
    case.gpus()
    driver = str(case.part("nvml.driver"))

    def one(gpu: Gpu) -> tuple[bool, str]:
        found = str(gpu.trait("gsp", "gsp", "system processor"))
        return found == driver, found

    return case.each_gpu(one, f"system firmware {driver}, as the driver")


CHECK = Check(
    id="gpu.gsp",
    title="every GPU runs the system firmware of the driver's version",
    what="Compares the version of the firmware on each GPU's system processor with the driver's.",
    why="The driver loads it from files of its own: another version means a damaged installation,"
    " none means that the processor was switched off.",
    signal="nvmlDeviceGetGspFirmwareVersion, nvmlSystemGetDriverVersion",
    severity="medium",
    action="reboot",
    advice="install the driver's firmware package again and restart the node",
    clears="all GPUs have the driver's version",
    judge=judge,
    needs=("nvml", "gpu"),
)
