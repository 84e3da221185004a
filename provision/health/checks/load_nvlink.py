"""Whether each pair of GPUs copies as fast as its NVLinks can."""

from __future__ import annotations

from provision.health.case import Case, Gpu
from provision.health.loaded import tested
from provision.health.words import Check, Limit, NotMeant, Outcome, Unseen

NUMBER = "load.nvlink.pair"


def judge(case: Case) -> Outcome:
    """Compare what each GPU reads from each other one with what its model should."""
    count = len(case.gpus())
    if case.declared_count == 1:
        raise NotMeant("one GPU has no peer")

    def one(gpu: Gpu) -> tuple[bool, str]:
        if gpu.model is None and not case.limits.is_sites(NUMBER):
            raise Unseen(f"the model is not known: say what a pair should reach ({NUMBER})",
                         "missing")  # fmt: skip
        if gpu.model and not gpu.model.switched:
            raise NotMeant(f"not every pair of the model {gpu.model.id} has NVLinks")
        rows = tested(case, "nvbandwidth.pairs")
        if len(rows) != count or any(len(row) != count for row in rows):
            raise Unseen(f"nvbandwidth measured other GPUs than these {count}", "error")
        place = [other.bus for other in case.gpus()].index(gpu.bus)
        found = {other.bus: rows[place][at] for at, other in enumerate(case.gpus()) if at != place}
        absent = [bus for bus, value in found.items() if value is None]
        if absent:
            raise Unseen(f"nvbandwidth did not measure the pair with {absent[0]}", "not_looked")
        least = case.limit(NUMBER, gpu)
        slow = {bus: value for bus, value in found.items() if value is not None and value < least}
        if slow:
            worst = min(slow, key=lambda bus: slow[bus])
            return False, f"{slow[worst]:.4g} GB/s with {worst}, {len(slow)} of {len(found)} pairs"
        return True, f"{min(v for v in found.values() if v is not None):.4g} GB/s or more"

    return case.each_gpu(one, "each GPU reads from each other one as fast as its NVLinks can")


CHECK = Check(
    id="load.nvlink",
    title="every pair of GPUs copies as fast as its NVLinks can",
    what="Lets nvbandwidth copy from each GPU to each other one, a pair at a time.",
    why="All links can be up while a pair goes by another way, or over fewer of them; a job that"
    " spans both GPUs is then as slow as that pair.",
    signal="nvbandwidth -j -t device_to_device_memcpy_read_ce",
    severity="high",
    action="drain",
    advice="look at gpu.nvlink.state and gpu.nvlink.errors, restart the fabric manager, reset all"
    " GPUs and switches, and test again on an idle node",
    clears="every pair reaches the bandwidth on an idle node",
    judge=judge,
    needs=("nvml", "gpu", "nvbandwidth"),
    limits=(
        Limit(
            NUMBER, "GB/s", 225, 1, 5000,
            "three quarters of what a GPU's NVLinks carry in one direction (12 of 25 GB/s, 18 of"
            " 25, 18 of 50); Azure's health check asks an H100 for 335",
            {"h100-sxm": 335, "h200-sxm": 335, "gh200": 335, "b200-sxm": 675, "b300-sxm": 675,
             "gb200": 675},
        ),
    ),
)  # fmt: skip
