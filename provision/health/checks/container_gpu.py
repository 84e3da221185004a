"""Whether containers that should use GPUs have them, and the driver's libraries."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import (
    FAIL,
    PASS,
    UNKNOWN,
    Check,
    NotMeant,
    Outcome,
    Part,
    Unseen,
    counted,
    together,
)


def judge(case: Case) -> Outcome:
    """Look into the processes of every declared unit."""
    case.need_gpus()
    units = list(case.expected.said("containers", "gpu_units"))
    if not units:
        raise NotMeant("the declaration names no container that uses GPUs")
    running = str(case.part("driver.loaded")["version"])
    parts = [_one(case, unit, running) for unit in units]
    summary = "; ".join(f"{p.entity}: {p.seen}" for p in parts)
    return together(parts, "GPUs in every container, with the running driver's libraries", summary)


def _one(case: Case, unit: str, running: str) -> Part:
    try:
        told = case.part(f"containers.unit|{unit}")
    except Unseen as error:
        # That it has no process is a finding, not a look that failed.
        status = FAIL if error.kind == "missing" else UNKNOWN
        return Part(unit, status, str(error))
    if not told["nodes"]:
        return Part(unit, FAIL, "it sees no GPU")
    old = [v for v in told["libraries"] if v != running]
    if old:
        return Part(unit, FAIL, f"it holds libraries of {', '.join(old)}; the driver is {running}")
    held = f"libraries of {running}" if told["libraries"] else "no library of the driver in use"
    return Part(unit, PASS, f"{counted(len(told['nodes']), 'GPU')}, {held}")


CHECK = Check(
    id="container.gpu",
    title="containers that should use GPUs have them",
    what="Looks, through the kernel, into the processes of each declared unit: which GPU devices"
    " are in their /dev, and which of the driver's libraries they have mapped.",
    why="The host may see every GPU while the container lost them, or still runs with the"
    " libraries of the driver before the update.",
    signal="/sys/fs/cgroup/system.slice/UNIT, /proc/PID/root/dev, /proc/PID/maps",
    severity="high",
    action="restart_application",
    advice="restart the unit",
    clears="its processes see a GPU and have no library of another driver",
    judge=judge,
    needs=("containers", "driver.loaded"),
)
