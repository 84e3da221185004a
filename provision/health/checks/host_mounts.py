"""Whether the declared filesystems are mounted as declared."""

from __future__ import annotations

from typing import Any

from provision.health.case import Case
from provision.health.words import FAIL, PASS, Check, Outcome, Part, listed, together


def judge(case: Case) -> Outcome:
    """Compare every declared mount with the kernel's list."""
    wanted = case.expected.list_of("filesystems")
    found = case.part("storage.mounts")
    parts = [_one(mount, found.get(mount["path"])) for mount in wanted]
    return together(
        parts, "every declared filesystem mounted as declared", listed([p.entity for p in parts])
    )


def _one(wanted: dict[str, Any], seen: Any) -> Part:
    path = wanted["path"]
    if seen is None:
        return Part(path, FAIL, "it is not mounted")
    absent = [o for o in wanted.get("options", []) if o not in seen["options"]]
    if absent:
        return Part(path, FAIL, f"mounted without {', '.join(absent)}")
    if "type" in wanted and seen["type"] != wanted["type"]:
        return Part(path, FAIL, f"of type {seen['type']}, not {wanted['type']}")
    if "source" in wanted and seen["source"] != wanted["source"]:
        return Part(path, FAIL, f"from {seen['source']}, not {wanted['source']}")
    if wanted.get("writable") and "rw" not in seen["options"]:
        return Part(path, FAIL, "mounted read-only")
    return Part(path, PASS, f"{seen['type']} {','.join(seen['options'])}")


CHECK = Check(
    id="host.mounts",
    title="every declared filesystem is mounted as declared",
    what="Reads the kernel's list of mounts and compares type, source and options.",
    why="A filesystem that turned read-only or was not mounted lets jobs write into nothing; a"
    " lost noexec or nodev is a hole.",
    signal="/proc/self/mounts",
    severity="high",
    action="inspect",
    advice="see in the log why it is not mounted or turned read-only, then mount it again",
    clears="every declared filesystem is mounted with the declared type, source and options",
    judge=judge,
    needs=("storage.mounts",),
)
