"""Whether a node can have the GPU unit of the stack lock, and its image the driver. Pure.

Both are asked in preflight, before anything is changed or deployed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast, get_args

from provision.rack.model import Node
from provision.supply.gpu.cuda import Needs, gate
from provision.supply.gpu.providers import (
    Cell,
    Kernel,
    OriginKind,
    SecureBoot,
    decide,
    distribution_of,
    kernel_kind,
)
from provision.supply.gpu.unit import release_of
from provision.supply.model import GpuUnit, StackLock


@dataclass(frozen=True)
class Unit:
    """A GPU unit with what decides about it: where its modules come from, for which kernels."""

    unit: GpuUnit
    origin: OriginKind
    kernels: tuple[Kernel, ...]


@dataclass(frozen=True)
class Locked:
    """What a lock has for nodes with GPUs.

    `units` by release and architecture; `cuda` what images ask for, by name and architecture.
    """

    units: Mapping[tuple[str, str], Unit] = field(default_factory=dict)
    cuda: Mapping[tuple[str, str], Needs] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """What was expected and seen; `ok` None when that could not be known."""

    ok: bool | None
    expected: str
    seen: str
    action: str = ""


def locked(lock: StackLock, override: str | None = None) -> Locked:
    """What `lock` has for nodes with GPUs; `override` replaces every origin's address."""
    kinds: dict[str, OriginKind] = {name: o.kind for name, o in lock.origins.items()}
    if override is not None:
        carried: OriginKind = "file" if override.startswith("file:") else "mirror"
        kinds = dict.fromkeys(kinds, carried)
    origins = {(r.id, r.release): r.origin for r in lock.repositories}
    rpms = {(r.nevra, r.el): r for r in lock.rpms}
    units: dict[tuple[str, str], Unit] = {}
    for unit in lock.gpu:
        module = rpms[unit.kernels[0].module, unit.el]
        kernels = [rpms[entry.kernel, unit.el] for entry in unit.kernels]
        units[unit.el, unit.arch] = Unit(
            unit,
            kinds[origins[module.repository, unit.el]],
            tuple(dict.fromkeys(kernel_kind(release_of(rpm)) for rpm in kernels)),
        )
    images: dict[tuple[str, str], Needs] = {
        (i.name, i.arch): Needs(i.cuda.version, i.cuda.forward)
        for i in lock.images
        if i.cuda is not None
    }
    return Locked(units, images)


def supply(node: Node, facts: Mapping[str, Any], lock: Locked) -> Judged:
    """Whether the lock's provider has modules that this node will load."""
    release, arch = platform(facts)
    expected = "GPU modules that this node loads"
    found = lock.units.get((release, arch))
    if found is None:
        return Judged(
            False,
            expected,
            f"the stack lock has no GPU unit for EL {release} {arch}",
            "add a unit to `gpu` of the stack lock, or take holdfast_hardware.gpus away",
        )
    boot = _secure_boot(node, facts)
    for kernel in found.kernels:
        cell = Cell(
            distribution_of(str(facts["distribution_id"]), str(facts["kernel"])),
            release,
            arch,
            boot,
            found.origin,
            kernel,
        )
        decision = decide(cell)
        refusal = decision.against(found.unit.provider)
        if refusal is not None:
            fits = ", ".join(decision.choices)
            action = refusal.action + (f"; {fits} would fit" if fits else "")
            ok = None if refusal.code == "secure-boot-unknown" else False
            return Judged(ok, expected, f"{found.unit.provider}: {refusal.reason} ({cell})", action)
    return Judged(True, expected, f"{found.unit.provider}, driver {found.unit.driver}")


def cuda(node: Node, facts: Mapping[str, Any], lock: Locked) -> Judged | None:
    """Whether the driver runs the node's image; None when the image uses no GPU."""
    release, arch = platform(facts)
    image = node.inference.image if node.inference else ""
    needs = lock.cuda.get((image, arch))
    if needs is None or node.hardware is None or node.hardware.gpus is None:
        return None
    expected = f"a driver that runs image {image} (CUDA {needs.version})"
    found = lock.units.get((release, arch))
    if found is None:
        seen = f"the stack lock has no GPU unit for EL {release} {arch}"
        return Judged(False, expected, seen, "add a unit to `gpu` of the stack lock")
    answer = gate(needs, found.unit.driver, node.hardware.gpus.model)
    return Judged(answer.ok, expected, answer.reason, answer.action)


def platform(facts: Mapping[str, Any]) -> tuple[str, str]:
    """Release and architecture of a node."""
    return str(facts["version_id"]).split(".", maxsplit=1)[0], str(facts["arch"])


def _secure_boot(node: Node, facts: Mapping[str, Any]) -> SecureBoot:
    """Secure Boot as preflight read it; a container has no firmware."""
    if node.kind == "container":
        return "absent"
    state = str(facts["secure_boot"])
    return cast(SecureBoot, state) if state in get_args(SecureBoot) else "unknown"
