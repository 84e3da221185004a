"""How containers get at the GPUs: CDI specifications, the toolkit, and containers that run."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

from provision.health.probes.ask import Ask, Failed

FOLDERS = ("/etc/cdi", "/var/run/cdi")
_CGROUP = "/sys/fs/cgroup/system.slice"
_LIBRARY = re.compile(r"/(lib(?:cuda|nvidia-ml)\.so\.(\d+\.\d+(?:\.\d+)?))(?:\s+(\(deleted\)))?")


def look(ask: Ask) -> None:
    """Say what is specified, installed, and in use."""
    ask.see("containers.cdi", lambda: [
        _specification(ask, f"{folder}/{name}")
        for folder in FOLDERS
        for name in ask.names(folder)
        if name.endswith((".yaml", ".yml", ".json"))
    ])  # fmt: skip
    ask.see("containers.toolkit", lambda: _toolkit(ask))
    units = (ask.declared.get("containers") or {}).get("gpu_units") or []
    for unit in units:
        ask.see(f"containers.unit|{unit}", functools.partial(_unit, ask, unit))


def _specification(ask: Ask, name: str) -> dict[str, Any]:
    """A CDI specification: its kind, devices, and the files of the host that it names.

    The toolkit writes YAML of one simple shape, which is read line by line.
    """
    text = ask.text(name)
    if name.endswith(".json"):
        told = json.loads(text)
        edits = [told, *told.get("devices", [])]
        nodes = [
            n["path"] for e in edits for n in e.get("containerEdits", {}).get("deviceNodes", [])
        ]
        hosts = [
            m["hostPath"] for e in edits for m in e.get("containerEdits", {}).get("mounts", [])
        ]
        devices = [str(d["name"]) for d in told.get("devices", [])]
        kind = str(told.get("kind", ""))
    else:
        kind = _first(r"(?m)^kind: *[\"']?([^\"'\n]+)", text)
        after = text.partition("\ndevices:")[2]
        devices = re.findall(
            r"(?m)^ *(?:- )?name: *[\"']?([^\"'\n]+)", after.split("\ncontainerEdits:")[0]
        )
        nodes = re.findall(r"(?m)^ *(?:- )?path: *[\"']?(/dev/[^\"'\n]+)", text)
        hosts = re.findall(r"(?m)^ *(?:- )?hostPath: *[\"']?([^\"'\n]+)", text)
    if not kind:
        raise Failed("error", f"{name} is not a CDI specification")
    absent = sorted({p for p in [*nodes, *hosts] if not _there(ask, p)})
    versions = sorted({m[2] for h in hosts for m in [_LIBRARY.search(h + " ")] if m})
    return {"file": name, "kind": kind.strip(), "devices": devices, "absent": absent,
            "versions": versions}  # fmt: skip


def _there(ask: Ask, name: str) -> bool:
    path = ask.path(name)
    return path.exists() or path.is_symlink()


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1].strip() if match else ""


def _toolkit(ask: Ask) -> str:
    told = ask.run(["nvidia-ctk", "--version"])
    version = _first(r"version (\d+\.\d+\.\d+\S*)", told)
    if not version:
        raise Failed("error", f"nvidia-ctk does not say its version: {told[:80]!r}")
    return version


def _unit(ask: Ask, unit: str) -> dict[str, Any]:
    """The processes of a container's unit: GPUs they see, and driver libraries they hold."""
    pids = _pids(ask, f"{_CGROUP}/{unit}")
    if not pids:
        raise Failed("missing", f"{unit} has no process")
    nodes: set[str] = set()
    libraries: set[str] = set()
    looked = 0
    for pid in pids:
        try:
            seen = {n for n in ask.names(f"/proc/{pid}/root/dev") if re.fullmatch(r"nvidia\d+", n)}
            maps = ask.maybe(f"/proc/{pid}/maps")
        except Failed as error:
            if error.kind == "no_permission":
                raise
            continue  # it ended meanwhile
        if not maps:
            continue  # it has no memory of its own any more: it is ending
        nodes |= seen
        looked += 1
        libraries |= {f"{m[2]} {m[3] or ''}".strip() for m in _LIBRARY.finditer(maps)}
    if not looked:
        raise Failed("error", f"no process of {unit} could be looked into")
    return {"nodes": sorted(nodes), "libraries": sorted(libraries), "processes": looked}


def _pids(ask: Ask, group: str) -> list[str]:
    found = []
    top = ask.path(group)
    for file in sorted(top.rglob("cgroup.procs")) if top.is_dir() else []:
        found += file.read_text().split()
    return found
