"""Whether every GPU has registered with the NVLink fabric."""

from __future__ import annotations

from provision.health.case import Case, Gpu
from provision.health.words import Check, NotMeant, Outcome

_STATES = {0: "not supported", 1: "not started", 2: "in progress", 3: "completed"}
# Two bits for each of: degraded bandwidth, route recovery, unhealthy route, access timeout.
_HEALTH = {0: "degraded bandwidth", 2: "route recovery", 4: "unhealthy route", 6: "access timeout"}
_TRUE = 1


def judge(case: Case) -> Outcome:
    """Read state, status and health of each GPU's fabric registration."""

    def one(gpu: Gpu) -> tuple[bool, str]:
        if gpu.model and not gpu.model.can("fabric"):
            raise NotMeant(f"GPUs of the model {gpu.model.id} register with no fabric")
        if case.expected.gpus.get("nvlinks") == 0:
            raise NotMeant("the declaration says that the GPUs have no NVLink")
        told = gpu.read("fabric")
        state = _STATES.get(told["state"], f"state {told['state']}")
        bad = [word for bit, word in _HEALTH.items() if told["health"] >> bit & 3 == _TRUE]
        if told["health"] >> 8 & 0xF not in (0, 1):  # 0: not supported, 1: none
            bad.append("wrong configuration")
        text = f"registration {state}"
        if told["status"]:
            text += f", with error {told['status']}"
        if bad:
            text += f", health: {', '.join(bad)}"
        return told["state"] == 3 and not told["status"] and not bad, text

    return case.each_gpu(one, "registered with the fabric, and healthy")


CHECK = Check(
    id="gpu.fabric",
    title="every GPU has registered with the NVLink fabric",
    what="Reads the state of each GPU's registration with the fabric manager, its error and the"
    " health bits of the fabric.",
    why="Until the registration is complete CUDA refuses to start on the GPU, while everything"
    " else about it looks well.",
    signal="nvmlDeviceGetGpuFabricInfoV: state 3, status 0, no health bit",
    severity="critical",
    action="drain",
    advice="look at the fabric manager's service and log; its version must be the driver's; reset"
    " all GPUs and switches",
    clears="every GPU's registration is complete without an error",
    judge=judge,
    needs=("nvml", "gpu"),
)
