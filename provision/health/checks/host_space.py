"""Whether filesystems have space left."""

from __future__ import annotations

from provision.health.case import Case, why
from provision.health.words import (
    FAIL,
    PASS,
    UNKNOWN,
    Check,
    Limit,
    Outcome,
    Part,
    Unseen,
    listed,
    together,
)


def judge(case: Case) -> Outcome:
    """Compare use of space and inodes of every local and declared filesystem with limits."""
    mounts = case.part("storage.mounts")
    declared = {m["path"] for m in case.expected.declared.get("filesystems", ())}
    local = {
        p
        for p, m in mounts.items()
        if m["source"].startswith("/dev/") and m["type"] not in ("iso9660", "squashfs")
    }
    parts = [_one(case, path) for path in sorted((declared | local) & set(mounts))]
    return together(
        parts,
        "space and inodes left on every filesystem",
        listed([f"{p.entity} {p.seen}" for p in parts]),
    )


def _one(case: Case, path: str) -> Part:
    try:
        told = case.part(f"storage.space|{path}")
    except Unseen as error:
        return Part(path, UNKNOWN, why(error))
    used, inodes = told["used"], told["inodes"]
    well = used <= case.limit("host.space.used") and inodes <= case.limit("host.space.inodes")
    return Part(
        path, PASS if well else FAIL, f"{used:.0f} % of space, {inodes:.0f} % of inodes used"
    )


CHECK = Check(
    id="host.space",
    title="filesystems have space and inodes left",
    what="Asks every local and declared filesystem how much of its space and inodes is used.",
    why="A full filesystem ends logs, databases and jobs at once, often without a clear error.",
    signal="statvfs",
    severity="medium",
    action="inspect",
    advice="remove what is not needed; look at logs, images and caches first",
    clears="use is below the limits",
    judge=judge,
    needs=("storage",),
    limits=(
        Limit("host.space.used", "%", 90, 1, 100, "as other node checks have it: 85 to 95"),
        Limit("host.space.inodes", "%", 90, 1, 100, "as for space"),
    ),
)
