# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Look at a node before anything is changed on it."""

from __future__ import annotations

import os
import platform
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils import gpumodule, gpustack, probe
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome, run

DOCUMENTATION = r"""
module: preflight
short_description: Look at a node before anything is changed
version_added: 0.1.0
description:
  - Reads what decides whether a node can be provisioned. Changes nothing and judges nothing.
  - A value that cannot be read is null or C(unknown), never a guess.
options:
  paths:
    description: Places whose free space matters.
    type: list
    elements: path
    default: [/, /var, /var/lib/containers, /srv]
  gpus:
    description: Whether GPUs are declared, so that kernels and NVIDIA's packages are read.
    type: bool
    default: false
author:
  - Holdfast contributors
extends_documentation_fragment:
  - holdfast.core.looks
  - holdfast.core.looks.root
attributes:
  platform:
    support: full
    platforms: linux
    description: Reads C(/proc), C(/sys) and C(/etc).
"""

EXAMPLES = r"""
- name: Look at the node
  holdfast.core.preflight:
  register: seen
"""

RETURN = r"""
holdfast_preflight:
  description: What was seen.
  returned: always
  type: dict
  contains:
    python:
      description: The version of the Python that modules run with.
      type: str
    distribution_id:
      description: C(ID) of os-release.
      type: str
    id_like:
      description: C(ID_LIKE) of os-release.
      type: str
    version_id:
      description: C(VERSION_ID) of os-release.
      type: str
    pretty_name:
      description: C(PRETTY_NAME) of os-release.
      type: str
    rehearsal:
      description: Whether the node says that it is simulated.
      type: bool
    arch:
      description: The architecture.
      type: str
    kernel:
      description: The running kernel.
      type: str
    memory_mib:
      description: Memory in MiB.
      type: int
    cores:
      description: Processors that may be used.
      type: int
    disk_free_mib:
      description: Free space in MiB, by path.
      type: dict
    clock:
      description: The node's clock in Unix seconds.
      type: float
    uptime_s:
      description: Seconds since the node started.
      type: float
    boot_id:
      description: Names this start of the node.
      type: str
    pci_gpus:
      description: Display controllers on the PCI bus.
      type: list
      elements: dict
    nics:
      description: Network interfaces.
      type: list
      elements: dict
    secure_boot:
      description: enabled, disabled, absent or unknown.
      type: str
    listening_ports:
      description: TCP ports that something listens on.
      type: list
      elements: dict
    become_ok:
      description: Whether the module ran as root.
      type: bool
    virtualization:
      description: What systemd-detect-virt says.
      type: str
    locks:
      description: Who holds the node, or null.
      type: dict
    reboot_required:
      description: Why the node asks for a restart.
      type: list
      elements: str
    gpu_packages:
      description:
        - Installed kernels and packages of NVIDIA's, by NEVRA.
        - null where they were not asked for or cannot be read.
      type: list
      elements: str
    gpu_loaded:
      description: The version of the GPU driver that is loaded; empty when none is.
      type: str
    drained:
      description: What a run wrote that drained the node and did not put it back, or null.
      type: dict
"""

ARGUMENTS = {
    "paths": {
        "type": "list",
        "elements": "path",
        "default": ["/", "/var", "/var/lib/containers", "/srv"],
    },
    "gpus": {"type": "bool", "default": False},
    **probe.ARGUMENTS,
}


def virtualization(outcome: Outcome) -> str:
    """What systemd-detect-virt says."""
    _, out, _ = run(outcome.module, ["systemd-detect-virt"])
    return out.strip() or "unknown"


def boot_id(root: str) -> str | None:
    """A name for this start of the node.

    Containers share the kernel's own boot id, so the first process's start is part of it.
    """
    kernel = probe.read(root, "/proc/sys/kernel/random/boot_id")
    first = probe.read(root, "/proc/1/stat")
    if not kernel or not first:
        return kernel
    return "{0}-{1}".format(kernel, first.rpartition(")")[2].split()[19])


def facts(root: str, paths: list[str]) -> dict[str, Any]:
    """Everything that is seen below `root`."""
    release = probe.os_release(root)
    name = release.get("ID", "")
    return {
        "python": platform.python_version(),
        "distribution_id": name,
        "id_like": release.get("ID_LIKE", ""),
        "version_id": release.get("VERSION_ID", ""),
        "pretty_name": release.get("PRETTY_NAME", ""),
        "rehearsal": name.startswith("holdfast-rehearsal"),
        "arch": os.uname().machine,
        "kernel": os.uname().release,
        "memory_mib": probe.memory_mib(root),
        "cores": len(os.sched_getaffinity(0)),
        "disk_free_mib": probe.disk_free_mib(root, paths),
        "clock": time.time(),
        "uptime_s": probe.uptime(root),
        "boot_id": boot_id(root),
        "pci_gpus": probe.gpus(root),
        "nics": probe.nics(root),
        "secure_boot": probe.secure_boot(root),
        "listening_ports": probe.listening(root),
        "become_ok": os.geteuid() == 0,
        "locks": probe.node_lock(root),
        "reboot_required": probe.notes(root),
        "gpu_loaded": gpumodule.loaded(root),
        "drained": gpustack.drained(root),
    }


def gpu_packages(outcome: Outcome) -> list[str] | None:
    """Installed kernels and packages of NVIDIA's; None when the rpm database cannot be read."""
    code, out, err = run(outcome.module, ["rpm", "-qa", "--qf", gpustack.QUERY])
    return None if code != 0 or "error:" in err else gpustack.parse(out)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    seen = facts(module.params["root"], module.params["paths"])
    seen["virtualization"] = virtualization(outcome)
    seen["gpu_packages"] = gpu_packages(outcome) if module.params["gpus"] else None
    outcome.exit(holdfast_preflight=seen)


if __name__ == "__main__":
    main()
