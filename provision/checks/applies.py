"""Reasons, from the declaration alone, why a check has no meaning on a node."""

from __future__ import annotations

from collections.abc import Callable

from provision.checks.declaration import Expected, Serving
from provision.checks.declare import CouldNotLook


def where_it_serves(node: Expected) -> str | None:
    """For checks of what serves models."""
    return None if node.serving else "the inventory declares no inference on this node"


def where_it_has_a_kernel(node: Expected) -> str | None:
    """For checks of what only the owner of the kernel can set."""
    return "a container has its host's kernel, not its own" if node.kind == "container" else None


def where_it_has_selinux(node: Expected) -> str | None:
    """For checks of SELinux: a node has it unless its inventory says why not."""
    why = node.lacks.get("selinux")
    told = f"the inventory declares that it has no SELinux: {why}" if why else None
    return where_it_has_a_kernel(node) or told


def where_the_firewall_is_on(node: Expected) -> str | None:
    """For checks of the packet filter."""
    return None if node.firewall else "the inventory declares holdfast_firewall.enabled: false"


def where_hardware_is_declared(node: Expected) -> str | None:
    """For checks of hardware."""
    return None if node.machine else "the inventory declares no holdfast_hardware for this node"


def serving(node: Expected) -> Serving:
    """What the node serves.

    Raises:
        CouldNotLook: nothing; a check that asks this applies only where something is served.
    """
    if node.serving is None:
        raise CouldNotLook("nothing is declared to be served here")
    return node.serving


def where_servers_are_declared(node: Expected) -> str | None:
    """For checks of time servers."""
    return None if node.time_servers else "the inventory declares no holdfast_time.servers"


def where_it_serves_with_selinux(node: Expected) -> str | None:
    """For checks of what SELinux does to the serving container."""
    return where_it_serves(node) or where_it_has_selinux(node)


def where_packages_are_locked(role: str) -> Callable[[Expected], str | None]:
    """For the check of a role's packages."""

    def applies(node: Expected) -> str | None:
        if any(role in package.roles for package in node.packages):
            return None
        return f"the stack lock names no package for the role {role}"

    return applies


def where_it_serves_with_packages(role: str) -> Callable[[Expected], str | None]:
    """For the check of the packages of a role that only serving nodes have."""

    def applies(node: Expected) -> str | None:
        return where_it_serves(node) or where_packages_are_locked(role)(node)

    return applies
