"""Whether a node's GPU unit changes, and what is installed beside the lock. Pure functions.

A node that had a driver and is not as the lock's unit says changes its unit: it is drained first
and checked before the next one. A node that never had a driver has nothing to lose.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from provision.engine.gpu import Locked, platform
from provision.rack.model import Node
from provision.supply.gpu.packages import KERNELS, NVIDIA, name_of
from provision.supply.model import GpuUnit, StackLock


@dataclass(frozen=True)
class UnitChange:
    """What changes: the driver before and after, and the unit's packages that come."""

    before: str
    after: str
    packages: tuple[str, ...]

    def __str__(self) -> str:
        if self.before == self.after:
            return f"GPU unit of driver {self.after}: {len(self.packages)} of its packages"
        return f"GPU unit: driver {self.before} to {self.after}"


def change(node: Node, facts: Mapping[str, Any], lock: Locked) -> UnitChange | None:
    """How the unit of `node` changes; None where it stays, or where there was none before."""
    if not has_gpus(node):
        return None
    found = lock.units.get(platform(facts))
    if found is None:
        return None
    there = {str(nevra) for nevra in facts.get("gpu_packages") or ()}
    loaded = str(facts.get("gpu_loaded") or "")
    drivers = [nevra for nevra in sorted(there) if _is_driver(nevra)]
    if not loaded and not drivers:
        return None
    missing = tuple(n for n in wanted(node, found.unit) if n not in there)
    if not missing and loaded in ("", found.unit.driver):
        return None
    before = loaded or _version(drivers[0])
    return UnitChange(before, found.unit.driver, missing)


def wanted(node: Node, unit: GpuUnit) -> tuple[str, ...]:
    """The unit's packages that this node gets: those of the fabric only where it has one."""
    fabric = (unit.fabric_manager, unit.nscq)
    left_out = {unit.imex} if _has_fabric(node) else {unit.imex, *fabric}
    return tuple(nevra for nevra in unit.packages if nevra not in left_out)


def beside(node: Node, facts: Mapping[str, Any], lock: StackLock) -> tuple[str, ...]:
    """Installed kernels and NVIDIA packages that the lock does not name for this platform.

    What the unit has in another version is no such thing: it is about to be replaced.
    """
    if not has_gpus(node):
        return ()
    release, arch = platform(facts)
    named = {r.nevra for r in lock.rpms if r.el == release and r.arch in (arch, "noarch")}
    found = lock.unit(release, arch)
    names = {name_of(nevra) for nevra in wanted(node, found)} if found else set()
    replaced = {name for name in names if not _like(name, KERNELS)}
    there = sorted({str(nevra) for nevra in facts.get("gpu_packages") or ()})
    return tuple(n for n in there if n not in named and name_of(n) not in replaced)


def held(facts: Mapping[str, Any]) -> str:
    """The run that drained a node and did not put it back; empty when none did."""
    record = facts.get("drained")
    return str(record.get("run") or "unknown") if isinstance(record, Mapping) else ""


def told(node: Node, facts: Mapping[str, Any], lock: Locked) -> str:
    """What a plan says of a node that is handled apart; empty where nothing is to be said."""
    found = change(node, facts, lock)
    if found is not None:
        first = {None: "nothing drains it first", "slurm": "drained by Slurm first"}
        how = first.get(node.drain.by if node.drain else None, "drained first")
        return f"{found}; {how}, checked before the next node begins"
    run = held(facts)
    if run and has_gpus(node):
        return f"drained by run {run}: checked, and back in service if it holds"
    return ""


def has_gpus(node: Node) -> bool:
    """Whether the inventory declares GPUs."""
    return node.hardware is not None and node.hardware.gpus is not None


def _has_fabric(node: Node) -> bool:
    return node.gpu is not None and node.gpu.fabric != "none"


def _is_driver(nevra: str) -> bool:
    """Whether a package is of the driver: no kernel, and not the toolkit for containers."""
    name = name_of(nevra)
    return not _like(name, KERNELS) and _like(name, NVIDIA) and "container" not in name


def _like(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _version(nevra: str) -> str:
    return nevra[len(name_of(nevra)) + 1 :].partition(":")[2].partition("-")[0]
