"""What the audit on a node is told to expect: inventory, stack lock and profile in its own words.

Nothing in it comes from a node. What nobody declares is not expected: the audit then knows that it
has nothing to compare with, and says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from provision.checks.declaration import UNIT
from provision.health import expect
from provision.policy.judge import selection_of, targets_of
from provision.policy.load import Policy
from provision.policy.resolve import NONE, Resolution, Target, resolve
from provision.policy.resources import (
    AuditRule,
    CryptoPolicy,
    KernelArgument,
    Package,
    Selinux,
    Service,
    Sysctl,
)
from provision.rack.model import Gpu, Node, Rack
from provision.supply.gpu.unit import release_of
from provision.supply.model import GpuUnit, StackLock

TIMER = "holdfast-health.timer"
AUDIT_TRAIL = "auditd.service"
FIPS = "fips-mode"
"""The control by which a profile asks for FIPS mode, which only an installation can bring."""
DRIVER_MODULES = ("nvidia", "nvidia_drm", "nvidia_modeset", "nvidia_peermem", "nvidia_uvm")
"""Modules that nobody signs where the stack lock names no signer."""
EVERYWHERE = frozenset({"crypto-policies", "systemd"})
"""Packages that every node of EL has; controls ask for them all the same."""
_MOST_OFF_MS = 60_000.0
"""The most that the audit lets a clock be off."""


@dataclass(frozen=True)
class Platform:
    """A major release and an architecture that a node may turn out to have."""

    el: str
    arch: str

    @property
    def name(self) -> str:
        """As files and variables call it: ``el10-x86_64``."""
        return f"el{self.el}-{self.arch}"


def platforms(lock: StackLock) -> list[Platform]:
    """What a node can turn out to be: only what the stack lock has packages for is provisioned."""
    found = {Platform(r.release, r.arch) for r in lock.repositories}
    return sorted(found, key=lambda p: p.name)


class Declared:
    """What is declared for the nodes of a rack; what many of them share is worked out once."""

    def __init__(self, rack: Rack, lock: StackLock, policy: Policy) -> None:
        self.rack = rack
        self.lock = lock
        self.policy = policy
        self.platforms = platforms(lock)
        self._resolved: dict[Target, Resolution] = {}

    def of(self, node: Node) -> dict[str, Any]:
        """What the audit of `node` is told, by the name of each platform that it may have."""
        return {
            platform.name: expected(self.lock, node, platform, self.security(node, platform))
            for platform in self.platforms
        }

    def security(self, node: Node, platform: Platform) -> Resolution | None:
        """What the rack's profile comes to on `node`; None without a profile."""
        target = next((t for t in targets_of(node) if t.release == f"el{platform.el}"), None)
        if self.rack.profile == NONE or target is None:
            return None
        if target not in self._resolved:
            self._resolved[target] = resolve(self.policy, selection_of(self.rack), target)
        return self._resolved[target]


def expectations(rack: Rack, lock: StackLock, policy: Policy, node: Node) -> dict[str, Any]:
    """What the audit of one node is told, by platform; `Declared` is for several."""
    return Declared(rack, lock, policy).of(node)


def expected(
    lock: StackLock, node: Node, platform: Platform, security: Resolution | None
) -> dict[str, Any]:
    """The declaration of `node` as `provision.health.expect` reads it.

    Args:
        lock: the stack lock.
        node: the node.
        platform: the release and architecture that it has.
        security: what the rack's profile comes to on it.
    """
    unit = lock.unit(platform.el, platform.arch) if _gpus_of(node) else None
    sections = {
        "containers": _containers(lock, node, platform, unit),
        "memory": _memory(node),
        "ethernet": [
            {"name": nic.name, "speed_mbps": max(10, int(nic.speed_gbps * 1000))}
            for nic in (node.hardware.nics if node.hardware else ())
        ],
        "infiniband": [
            {"device": port.device, "port": port.port, "rate_gbps": port.rate_gbps}
            for port in (node.hardware.infiniband if node.hardware else ())
        ],
        "filesystems": [
            mount.model_dump(mode="json", exclude_defaults=True) for mount in node.audit.mounts
        ],
        "kernel": _kernel(lock, node, unit, security),
        "services": list(_services(node, security)),
        "security": _security(node, unit, security),
        "limits": _limits(node),
        "slurm": _slurm(node),
    }
    return {
        "schema": expect.SCHEMA,
        "node": node.name,
        "kind": node.kind,
        "gpus": _gpus(node, unit),
        **{name: told for name, told in sections.items() if told},
    }


def _gpus_of(node: Node) -> Any:
    return node.hardware.gpus if node.hardware else None


def _gpu(node: Node) -> Gpu:
    return node.gpu or Gpu()


def _gpus(node: Node, unit: GpuUnit | None) -> dict[str, Any]:
    declared = _gpus_of(node)
    if declared is None:
        return {"count": 0}
    found: dict[str, Any] = {
        "count": declared.count,
        "model": declared.model,
        # The role gpu_driver runs the daemon that keeps it on.
        "persistence": True,
    }
    if unit is not None:
        found["driver"] = unit.driver
    layout = _layout(node, declared.count)
    if any(layout):
        found["mig"] = layout
    else:
        found["mig_enabled"] = False
    # Only where it is written down: else the model says what links its GPUs.
    said = node.gpu is not None and "fabric" in node.gpu.model_fields_set
    if said and _gpu(node).fabric == "none":
        found |= {"nvlinks": 0, "p2p": False}
    return found


def _layout(node: Node, count: int) -> list[list[str]]:
    """What each GPU is divided into; an empty list: it is whole."""
    found: list[list[str]] = [[] for _ in range(count)]
    for part in _gpu(node).mig:
        for index in part.gpus or range(count):
            found[index] = list(part.profiles)
    return found


def _containers(
    lock: StackLock, node: Node, platform: Platform, unit: GpuUnit | None
) -> dict[str, Any]:
    if unit is None:
        return {}
    found: dict[str, Any] = {"cdi": True}
    versions = {r.version for r in lock.rpms if r.nevra in unit.toolkit and r.el == unit.el}
    if len(versions) == 1:
        found["toolkit"] = versions.pop()
    image = lock.image(node.inference.image, platform.arch) if node.inference else None
    if image is not None and image.cuda is not None:
        found["gpu_units"] = [UNIT]
    return found


def _memory(node: Node) -> dict[str, Any]:
    gib = node.hardware.memory_gib if node.hardware else None
    return {} if gib is None else {"mib": gib * 1024}


def _kernel(
    lock: StackLock, node: Node, unit: GpuUnit | None, security: Resolution | None
) -> dict[str, Any]:
    if node.kind == "container":
        return {}  # it runs its host's kernel
    found: dict[str, Any] = {}
    if unit is not None:
        # The role gpu_driver starts the unit's first kernel.
        first = next(r for r in lock.rpms if r.nevra == unit.kernels[0].kernel and r.el == unit.el)
        found["release"] = release_of(first)
    arguments = [
        f"{wanted.name}={wanted.value}" if wanted.value is not None else wanted.name
        for wanted in _wanted(security)
        if isinstance(wanted, KernelArgument) and wanted.state == "present"
    ]
    if arguments:
        found["arguments"] = list(dict.fromkeys(arguments))
    return found


def _services(node: Node, security: Resolution | None) -> Iterator[str]:
    """The units that roles keep running."""
    yield "chronyd.service"
    if node.firewall.enabled:
        yield "firewalld.service"
    if _gpus_of(node):
        yield "nvidia-persistenced.service"
        yield "holdfast-gpu-mig.service"
        if _gpu(node).fabric == "nvswitch":
            yield "nvidia-fabricmanager.service"
        if _gpu(node).dcgm:
            yield "nvidia-dcgm.service"
    if node.inference is not None:
        yield UNIT
    if _keeps_a_trail(node, security):
        yield AUDIT_TRAIL
    yield TIMER


def _keeps_a_trail(node: Node, security: Resolution | None) -> bool:
    return node.kind != "container" and any(
        isinstance(wanted, Service)
        and wanted.name == AUDIT_TRAIL
        and wanted.state in ("enabled", "started")
        for wanted in _wanted(security)
    )


def _security(node: Node, unit: GpuUnit | None, security: Resolution | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if unit is not None and node.kind != "container":
        found["unsigned_modules"] = [] if unit.signer else list(DRIVER_MODULES)
    if security is None:
        return found
    wanted = list(_wanted(security))
    modes = {w.state for w in wanted if isinstance(w, Selinux) and w.state}
    if modes:
        # One control asks for more than "not disabled", another may ask for no more than that.
        found["selinux"] = "enforcing" if "enforcing" in modes else "permissive"
    if any(control.id == FIPS for control in security.not_automated):
        found["fips"] = True
    if _keeps_a_trail(node, security):
        found["audit"] = True
        found["audit_immutable"] = any(
            "-e 2" in w.rules for w in wanted if isinstance(w, AuditRule)
        )
    policy = _crypto_policy([w for w in wanted if isinstance(w, CryptoPolicy)])
    if policy:
        found["crypto_policy"] = policy
    settings = {w.name: str(w.value) for w in wanted if isinstance(w, Sysctl)}
    if settings:
        found["sysctl"] = settings
    return found


def _crypto_policy(wanted: list[CryptoPolicy]) -> str:
    """The policy with all modules, as ``update-crypto-policies --show`` says it.

    Empty where only modules are wanted: they add to a policy that nobody declared.
    """
    bases = [w.policy for w in wanted if w.policy]
    if not bases:
        return ""
    modules = dict.fromkeys(module for w in wanted for module in w.modules)
    return ":".join([bases[-1], *modules])


def _wanted(security: Resolution | None) -> Iterator[Any]:
    """What every applied control wants, but for conditions that only the node can judge.

    A package that another control brings is there, and so is what every node of EL has.
    """
    applied = security.applied if security else ()
    brought = {_brings(wanted) for item in applied for wanted in item.resources}
    there = brought | EVERYWHERE
    for item in applied:
        when = item.control.when
        if when is None or (when.package in there and not (when.unit or when.path)):
            yield from item.resources


def _brings(wanted: Any) -> str:
    """The package that a resource brings, or nothing."""
    return wanted.name if isinstance(wanted, Package) and wanted.state == "present" else ""


def _limits(node: Node) -> dict[str, float]:
    found: dict[str, float] = {}
    if "max_offset_s" in node.time.model_fields_set:
        found["host.time.milliseconds"] = min(node.time.max_offset_s * 1000, _MOST_OFF_MS)
    if node.audit.slurm.drain:
        # A result is believed for three runs of the timer.
        found["scheduler.slurm.age"] = 180.0 * node.audit.every_minutes
    return found | dict(node.audit.limits)


def _slurm(node: Node) -> dict[str, Any]:
    """What Slurm makes of the audit; nothing where it drains nobody."""
    asked = node.audit.slurm
    if not asked.drain:
        return {}
    most = asked.max_drained
    share = isinstance(most, str)
    found: dict[str, Any] = {"drain": True, "least": asked.least}
    found["max_percent" if share else "max_nodes"] = int(str(most).rstrip("%"))
    if asked.partition is not None:
        found["partition"] = asked.partition
    return found
