"""Whether the GPUs are the declared ones."""

from __future__ import annotations

import re

from provision.health.case import Case, Gpu
from provision.health.data_files import model_of
from provision.health.words import Check, NotMeant, Outcome, Unseen

_UUID = re.compile(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def judge(case: Case) -> Outcome:
    """Compare model, memory and UUIDs with the declaration."""
    declared = case.expected.gpus
    wanted = str(declared.get("model", ""))
    memory = int(declared.get("memory_mib", 0))
    uuids = set(declared.get("uuids", []))
    if not (wanted or memory or uuids):
        raise NotMeant("the declaration says neither model nor memory nor UUIDs of the GPUs")
    model = model_of(wanted)
    least = memory or (model.memory_mib if model else 0)

    def one(gpu: Gpu) -> tuple[bool, str]:
        name, mib = str(gpu.read("name")), int(gpu.read("memory")) >> 20
        right = not wanted or name == wanted or (model is not None and model_of(name) == model)
        uuid = str(gpu.read("uuid"))
        if not _UUID.fullmatch(uuid):
            raise Unseen(f"nvmlDeviceGetUUID: {uuid!r} is not a whole UUID", "truncated")
        known = not uuids or uuid in uuids
        stranger = "" if known else f", {uuid} is not declared"
        # The driver keeps a little for itself, and how much changes with its version.
        return right and known and mib >= least * 0.98, f"{name} with {mib} MiB{stranger}"

    return case.each_gpu(one, f"{wanted or 'any model'} with about {least} MiB")


CHECK = Check(
    id="gpu.identity",
    title="the GPUs are the declared ones",
    what="Compares each GPU's name, memory and, where declared, UUID with the declaration.",
    why="A board swapped in service for another model, or one that lost memory, changes what fits"
    " and how fast it runs.",
    signal="nvmlDeviceGetName, nvmlDeviceGetMemoryInfo_v2, nvmlDeviceGetUUID",
    severity="high",
    action="inspect",
    advice="compare the board with the inventory; correct whichever is wrong",
    clears="name, memory and UUIDs are as declared",
    judge=judge,
    needs=("nvml", "gpu"),
)
