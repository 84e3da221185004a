"""What an inventory asks for and its stack lock does not have. Pure; contacts nothing.

A node's release shows when it answers. So what is said here is only what the lock has for no
release and architecture of its own; preflight and plan judge by the one that a node turns out to
be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provision.core.problems import HoldfastError
from provision.policy.judge import targets_of
from provision.policy.load import Policy
from provision.policy.resolve import NONE, Selection, Target, resolve
from provision.policy.resources import Package
from provision.rack.known import Judge, Objection, Security
from provision.rack.model import Gpu, Gpus, Node
from provision.supply.gpu.cuda import Needs, gate
from provision.supply.model import GpuUnit, StackLock

MINIMAL = frozenset(
    {
        "audit",
        "audit-libs",
        "cronie",
        "crypto-policies",
        "firewalld",
        "libpwquality",
        "libselinux",
        "nftables",
        "openssh-clients",
        "openssh-server",
        "policycoreutils",
        "rsyslog",
        "subscription-manager",
        "sudo",
    }
)
"""Packages that controls want and that a lock need not name, since a minimal installation of EL 9
or 10 has them: the group Core of its comps, what that group's packages require, and
subscription-manager, which RHEL adds to it."""


def judge_with(lock: StackLock, policy: Policy | None) -> Judge:
    """The judge that knows `lock`; without a policy it says nothing of a profile's packages."""

    def judge(asked: Security) -> list[Objection]:
        found = [] if policy is None else list(_packages(lock, policy, asked))
        return [*found, *_gpus(lock, asked.nodes)]

    return judge


def _packages(lock: StackLock, policy: Policy, asked: Security) -> Iterator[Objection]:
    """Packages that controls want of a kind of node, whatever its release turns out to be."""
    if asked.profile == NONE:
        return
    selection = Selection(asked.profile, asked.overlays, asked.waivers)
    platforms = sorted({(r.release, r.arch) for r in lock.repositories})
    for targets in dict.fromkeys(tuple(targets_of(node)) for node in asked.nodes):
        lacking = [
            (_wanted(policy, selection, target) - _installed(lock, el, arch), el, arch)
            for target in targets
            for el, arch in platforms
            if target.release == f"el{el}"
        ]
        if not lacking and all(_wanted(policy, selection, t) - MINIMAL for t in targets):
            yield _no_repository(asked.profile)
            return
        if not lacking or not all(names for names, _, _ in lacking):
            continue
        names, el, arch = min(lacking, key=lambda one: len(one[0]))
        message = f"{asked.profile} wants what the stack lock installs nowhere, not on EL {el}"
        yield Objection(
            "missing-packages",
            f"{message} {arch} either: {', '.join(sorted(names))}",
            ("profile",),
            asked.profile,
            "add them to the stack lock with hardening among their `roles`, or name their"
            " controls in holdfast_waivers",
        )


def _no_repository(profile: str) -> Objection:
    message = f"{profile} wants packages, and the stack lock has no repository to install them from"
    hint = "add `repositories` of EL 9 or 10 to the stack lock"
    return Objection("missing-packages", message, ("profile",), profile, hint)


def _wanted(policy: Policy, selection: Selection, target: Target) -> frozenset[str]:
    try:
        applied = resolve(policy, selection, target).applied
    except HoldfastError:
        return frozenset()  # an unknown name, or something expired: the policy's judge says so
    return frozenset(
        resource.name
        for item in applied
        if item.control.when is None
        for resource in item.resources
        if isinstance(resource, Package) and resource.state == "present"
    )


def _installed(lock: StackLock, el: str, arch: str) -> frozenset[str]:
    """Names that some role installs; what is only a dependency comes if another asks for it."""
    fits = (r for r in lock.rpms if r.el == el and r.arch in (arch, "noarch"))
    return MINIMAL | {rpm.name for rpm in fits if rpm.roles}


def _gpus(lock: StackLock, nodes: Sequence[Node]) -> Iterator[Objection]:
    """GPUs that no unit of the lock drives as the inventory says."""
    for node in nodes:
        gpus = node.hardware.gpus if node.hardware else None
        if gpus is None:
            continue
        ways = [list(_unit_lacks(lock, unit, node, gpus)) for unit in lock.gpu]
        yield from min(ways, key=len) if ways else [_no_unit(node, gpus)]


def _no_unit(node: Node, gpus: Gpus) -> Objection:
    return Objection(
        "no-gpu-unit",
        f"the stack lock has no GPU unit, so nothing drives {gpus.count} x {gpus.model}",
        ("hardware", "gpus"),
        gpus.model,
        "add a unit to `gpu` of the stack lock, or take holdfast_hardware.gpus away",
        node.name,
    )


def _unit_lacks(lock: StackLock, unit: GpuUnit, node: Node, gpus: Gpus) -> Iterator[Objection]:
    """What a node's GPUs are declared to get and this unit's release and architecture lack."""
    wanted = node.gpu or Gpu()
    where = f"on EL {unit.el} {unit.arch}"

    def lacks(code: str, message: str, key: str, hint: str) -> Objection:
        at = ("hardware", "gpus") if node.gpu is None else ("gpu", key)
        return Objection(code, message, at, None, hint, node.name)

    if wanted.fabric == "nvswitch" and unit.fabric_manager is None:
        message = f"the GPU unit {unit.name!r} of the stack lock names no fabric manager"
        hint = f"add `fabric_manager`, of driver {unit.driver}, to it; GPUs without NVSwitches have"
        yield lacks("no-fabric-manager", message, "fabric", f"{hint} `fabric: none`")
    if wanted.toolkit and not lock.packages("cuda", unit.el, unit.arch):
        message = f"the stack lock has no package for the role cuda {where}"
        hint = "add cuda-toolkit and libnccl to it, or set holdfast_gpu.toolkit to false"
        yield lacks("no-toolkit", message, "toolkit", hint)
    if wanted.dcgm and not lock.packages("dcgm", unit.el, unit.arch):
        message = f"the stack lock has no package for the role dcgm {where}"
        hint = "add datacenter-gpu-manager-4-core to it, or set holdfast_gpu.dcgm to false"
        yield lacks("no-dcgm", message, "dcgm", hint)
    image = lock.image(node.inference.image, unit.arch) if node.inference else None
    if image is not None and image.cuda is not None:
        answer = gate(Needs(image.cuda.version, image.cuda.forward), unit.driver, gpus.model)
        if not answer.ok:
            message = f"image {image.name!r} does not run on unit {unit.name!r}: {answer.reason}"
            at = ("inference", "image")
            yield Objection("driver-too-old", message, at, image.name, answer.action, node.name)
