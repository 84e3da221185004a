"""Whether GPUs are partitioned as declared."""

from __future__ import annotations

from typing import Any

from provision.health.case import Case, Gpu
from provision.health.words import Check, NotMeant, Outcome


def judge(case: Case) -> Outcome:
    """Compare mode and instances with the declaration."""
    declared = case.expected.gpus
    wanted = bool(declared.get("mig_enabled", bool(declared.get("mig"))))
    layouts = declared.get("mig") or []
    order = {gpu.bus: index for index, gpu in enumerate(case.gpus())}

    def one(gpu: Gpu) -> tuple[bool, str]:
        current, pending = (bool(x) for x in _mode(gpu, wanted))
        word = "on" if current else "off"
        if current != pending:
            word += f", {'on' if pending else 'off'} after a reset"
        if not (current == pending == wanted):
            return False, f"MIG {word}"
        if not (wanted and layouts):
            return True, f"MIG {word}"
        layout = sorted(layouts[order[gpu.bus] % len(layouts)])
        found = sorted(gpu.read("mig_devices"))
        return found == layout, f"MIG {word}: {', '.join(found) or 'no instance'}"

    return case.each_gpu(
        one, f"MIG {'on' if wanted else 'off'}" + (": as declared" if layouts else "")
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
