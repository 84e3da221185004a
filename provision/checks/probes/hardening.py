"""Hardening, the system's side: what the kernel, systemd and rpm say is in force.

Told which names to look at, never what is wanted of them. Only what was asked for is looked at.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from provision.checks.probes.common import Unseen, gather, read, run

ANY = tuple(range(256))
SYSCTL = "/usr/lib/systemd/systemd-sysctl"
ENTRIES = Path("/boot/loader/entries")
GRUBENV = "/boot/grub2/grubenv"
RULES = Path("/etc/audit/rules.d")
BACK_ENDS = Path("/etc/crypto-policies/back-ends")
_PAGE = 4096
_UNIT = "Id,LoadState,UnitFileState,ActiveState,Type,ConditionResult,ConditionTimestampMonotonic"


def _units(names: list[str]) -> dict[str, dict[str, str]]:
    out = run(["systemctl", "show", "--property=" + _UNIT, "--", *names])
    blocks = [block for block in out.split("\n\n") if block.strip()]
    if len(blocks) != len(names):
        raise Unseen(f"systemd told of {len(blocks)} units, not {len(names)}")
    rows = ([line.partition("=") for line in block.splitlines()] for block in blocks)
    return {name: {key: value for key, _, value in row} for name, row in zip(names, rows)}


def _paths(paths: list[str]) -> list[str]:
    return [path for path in paths if os.path.lexists(path)]


def _sysctl(names: list[str]) -> dict[str, Any]:
    running: dict[str, str | None] = {}
    for name in names:
        place = name if "/" in name else name.replace(".", "/")
        path = "/proc/sys/" + place
        running[name] = _kernel(path) if os.path.exists(path) else None
    return {"running": running, "next": run([SYSCTL, "--cat-config"])}


def _kernel(path: str) -> str:
    # The kernel refuses a large buffer here.
    try:
        with open(path, "rb", buffering=0) as stream:
            return " ".join(stream.read(_PAGE).decode("utf-8", "replace").split())
    except OSError as error:
        raise Unseen(f"{path}: {error.strerror}") from error


def _modules(names: list[str]) -> dict[str, Any]:
    meant = {name.replace("-", "_") for name in names}
    config = []
    for line in run(["modprobe", "--showconfig"]).splitlines():
        words = line.split(None, 2)
        known = len(words) > 1 and words[0] in ("install", "blacklist")
        if known and words[1].replace("-", "_") in meant:
            config.append(words)
    loaded = [row.split()[0] for row in read("/proc/modules").splitlines() if row.strip()]
    return {"config": config, "loaded": [name for name in loaded if name in meant]}


def _mounts(paths: list[str]) -> dict[str, list[str] | None]:
    found: dict[str, list[str] | None] = dict.fromkeys(paths)
    for line in read("/proc/self/mountinfo").splitlines():
        fields, _, more = line.partition(" - ")
        words, rest = fields.split(), more.split()
        place = _plain(words[4])
        if place in found:  # what was mounted last covers the others
            found[place] = sorted({*words[5].split(","), *rest[2].split(",")})
    return found


def _plain(path: str) -> str:
    for code, sign in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, sign)
    return path


def _kernel_arguments(names: list[str]) -> dict[str, Any]:
    """The words of these names: of the running kernel, and of each boot entry."""
    words = _saved()
    entries = {}
    for path in sorted(ENTRIES.glob("*.conf")) if ENTRIES.is_dir() else []:
        said: list[str] = []
        for line in read(path).splitlines():
            if line.startswith("options"):
                said += line.split()[1:]
        whole = [w for word in said for w in (words if word == "$kernelopts" else [word])]
        entries[path.name] = _named(whole, names)
    return {"running": _named(read("/proc/cmdline").split(), names), "entries": entries}


def _saved() -> list[str]:
    if not os.path.exists(GRUBENV):
        return []
    for line in read(GRUBENV).splitlines():
        if line.startswith("kernelopts="):
            return line.partition("=")[2].split()
    return []


def _named(words: list[str], names: list[str]) -> list[str]:
    return [word for word in words if word.partition("=")[0] in names]


def _selinux(_asked: Any) -> dict[str, Any]:
    policy = ""
    for line in read("/etc/selinux/config").splitlines():
        if line.strip().startswith("SELINUXTYPE="):
            policy = line.partition("=")[2].strip()
    there = sorted(p.parent.name for p in Path("/etc/selinux").glob("*/policy"))
    return {"state": run(["getenforce"]).strip().lower(), "policy": policy, "installed": there}


def _default_target(_asked: Any) -> str:
    return run(["systemctl", "get-default"]).strip()


def _crypto_policy(_asked: Any) -> dict[str, Any]:
    applied = run(["update-crypto-policies", "--is-applied"], ok=ANY).strip()
    links = {}
    for path in sorted(BACK_ENDS.iterdir()):
        links[path.name] = os.path.exists(path)
    shown = run(["update-crypto-policies", "--show"]).strip()
    return {"policy": shown, "applied": applied, "back_ends": links}


def _audit(_asked: Any) -> dict[str, Any]:
    status = {}
    for line in run(["auditctl", "-s"]).splitlines():
        key, _, value = line.partition(" ")
        status[key] = value
    rules = run(["auditctl", "-l"]).splitlines()
    kept = [line for path in sorted(RULES.glob("*.rules")) for line in read(path).splitlines()]
    return {
        "rules": [line for line in rules if line.startswith("-")],
        "kept": [line for line in kept if line.startswith("-")],
        "status": status,
        "machine": os.uname().machine,
    }


PARTS: dict[str, Callable[[Any], Any]] = {
    "units": _units,
    "paths": _paths,
    "sysctl": _sysctl,
    "modules": _modules,
    "mounts": _mounts,
    "kernel_arguments": _kernel_arguments,
    "selinux": _selinux,
    "default_target": _default_target,
    "crypto_policy": _crypto_policy,
    "audit": _audit,
}


def look(ask: dict[str, Any]) -> dict[str, Any]:
    """Look at what was asked for."""
    return gather({n: partial(part, ask[n]) for n, part in PARTS.items() if n in ask})
