"""Whether GPUs are partitioned as declared."""

from __future__ import annotations

from typing import Any

from provision.health.case import Case, Gpu
from provision.health.words import Check, NotMeant, Outcome


def judge(case: Case) -> Outcome:
    """Compare mode and instances with the declaration."""
    declared = case.expected.gpus
    layouts = declared.get("mig") or []
    some = bool(declared.get("mig_enabled", bool(layouts)))
    case.need_gpus()
    order = {g["bus"]: int(g["index"]) for g in case.part("nvml.gpus")}

    def one(gpu: Gpu) -> tuple[bool, str]:
        layout = sorted(layouts[order.get(gpu.bus, 0) % len(layouts)]) if layouts else []
        # Some GPUs may be divided and others whole; without layouts the mode is all there is.
        wanted = some and bool(layout or not layouts)
        current, pending = (bool(x) for x in _mode(gpu, wanted))
        word = "on" if current else "off"
        if current != pending:
            word += f", {'on' if pending else 'off'} after a reset"
        if not (current == pending == wanted):
            return False, f"MIG {word}"
        if not layout:
            return True, f"MIG {word}"
        found = sorted(gpu.read("mig_devices"))
        return found == layout, f"MIG {word}: {', '.join(found) or 'no instance'}"

    return case.each_gpu(
        one, f"MIG {'on' if some else 'off'}" + (": as declared" if layouts else "")
    )


def _mode(gpu: Gpu, wanted: bool) -> Any:
    try:
        return gpu.trait("mig", "mig", "MIG")
    except NotMeant:
        if wanted:
            return (False, False)
        raise


CHECK = Check(
    id="gpu.mig",
    title="GPUs are partitioned as declared",
    what="Reads the current and the pending MIG mode and the profiles of all instances.",
    why="Instances do not outlive a restart by themselves; a job that asks for one then waits for"
    " ever, or gets a whole GPU.",
    signal="nvmlDeviceGetMigMode, nvmlDeviceGetMigDeviceHandleByIndex",
    severity="high",
    action="drain",
    advice="drain the node and apply the declared layout again",
    clears="mode and instances are as declared, also after a reset",
    judge=judge,
    needs=("nvml", "gpu"),
)
