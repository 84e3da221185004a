# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Prove that each kernel has the GPU driver's module, and that firmware will let it load."""

from __future__ import annotations

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils import gpumodule, probe
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome, run

DOCUMENTATION = r"""
module: gpu_module
short_description: Prove that each kernel has the GPU driver's module
version_added: 0.2.0
description:
  - A package that was installed is no proof. DKMS may have failed, and its package says nothing.
    This asks C(modinfo) for each kernel that is installed.
  - Fails when a kernel of the stack lock has no module, a module of another version, or one that
    another signed; and, where Secure Boot is on, when no key of this machine is the signer's.
  - Names what only a restart brings, and kernels without a module that the lock does not name.
    Changes nothing.
options:
  driver:
    description: The driver's version.
    type: str
    required: true
  kernels:
    description: Releases of the kernels that the stack lock names, as C(uname -r) says them.
    type: list
    elements: str
    required: true
  signer:
    description: Who signs the modules. Empty when that is not known beforehand.
    type: str
    default: ""
  boots:
    description: Whether the node starts a kernel of its own. A container does not.
    type: bool
    default: true
  pending:
    description: In check mode the packages may be about to be installed; then nothing is proven.
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
    platforms: el
    description: Needs C(rpm) and C(modinfo).
"""

EXAMPLES = r"""
- name: Prove that the module is there for every kernel
  holdfast.core.gpu_module:
    driver: "{{ gpu_driver_unit.driver }}"
    kernels: "{{ gpu_driver_unit.kernels }}"
    signer: "{{ gpu_driver_unit.signer }}"
"""

RETURN = r"""
modules:
  description: Version and signer of the module by kernel; null where a kernel has none.
  returned: success
  type: dict
spare:
  description: Kernels without a module that the lock does not name and that do not run.
  returned: success
  type: list
  elements: str
loaded:
  description: The version of the driver that is loaded; empty when none is.
  returned: success
  type: str
reasons:
  description: Why a restart is needed before the driver can work.
  returned: success
  type: list
  elements: str
"""

ARGUMENTS = {
    "driver": {"type": "str", "required": True},
    "kernels": {"type": "list", "elements": "str", "required": True},
    "signer": {"type": "str", "default": ""},
    "boots": {"type": "bool", "default": True},
    "pending": {"type": "bool", "default": False},
    **probe.ARGUMENTS,
}


def installed(outcome: Outcome) -> list[str]:
    """The kernels that are installed."""
    code, out, err = run(outcome.module, ["rpm", "-q", "--qf", gpumodule.QUERY, *gpumodule.KERNELS])
    if code == 127 or "error:" in err:
        outcome.fail(
            "the rpm database cannot be read: {0}".format(err),
            "check that rpm works on this node: rpm -q rpm",
        )
    return gpumodule.parse_kernels(out)


def look(outcome: Outcome, kernel: str) -> dict[str, str]:
    """The module of one kernel; empty when it has none."""
    code, out, err = run(outcome.module, ["modinfo", "-k", kernel, "nvidia"])
    if code == 127:
        outcome.fail("modinfo is missing: {0}".format(err), "install kmod on this node")
    return gpumodule.parse_modinfo(out) if code == 0 else {}


def keys(outcome: Outcome) -> list[str] | None:
    """Names of the keys that modules are held against; None where Secure Boot is off."""
    root = outcome.module.params["root"]
    state = probe.secure_boot(root) if outcome.module.params["boots"] else "absent"
    if state == "unknown":
        outcome.fail(
            "whether Secure Boot is on cannot be read, and that decides whether the module loads",
            "mount efivarfs at /sys/firmware/efi/efivars, then run again",
        )
    if state != "enabled":
        return None
    found = gpumodule.trusted(probe.read(root, "/proc/keys") or "")
    if not found:
        outcome.fail(
            "Secure Boot is on, and /proc/keys shows none of the kernel's keys",
            "look at /proc/keys as root; a kernel that hides them loads no module for sure",
        )
    return found


def dkms(outcome: Outcome) -> str:
    """What DKMS says of its builds, for a message; empty where it is not there."""
    code, out, _ = run(outcome.module, ["dkms", "status"])
    lines = [line for line in out.splitlines() if line.startswith("nvidia")]
    return "; dkms status: {0}".format(" | ".join(lines) or "nothing built") if code == 0 else ""


def judge(outcome: Outcome, there: list[str], modules: dict[str, dict[str, str]]) -> None:
    """Fail for the kernels of the lock that would come up without GPUs."""
    params = outcome.module.params
    wanted = {"version": params["driver"], "signer": params["signer"]}
    trusted = keys(outcome)
    found = ["kernel {0} is not installed".format(k) for k in params["kernels"] if k not in there]
    for kernel in params["kernels"]:
        if kernel in there:
            problem = gpumodule.wrong(kernel, modules[kernel], wanted, trusted)
            found += [problem] if problem else []
    if found:
        outcome.fail(
            "{0}{1}".format("; ".join(found), dkms(outcome)),
            "read /var/lib/dkms/*/*/build/make.log where DKMS builds, else correct the GPU unit of "
            "the stack lock; do not restart this node before, it would come up without GPUs",
        )


def reasons(params: dict[str, object], loaded: str) -> list[str]:
    """What only a restart brings."""
    found = []
    running = os.uname().release
    kernels = params["kernels"]
    if params["boots"] and isinstance(kernels, list) and running not in kernels:
        found.append("kernel {0} runs, the stack lock names {1}".format(running, kernels[0]))
    if loaded and loaded != params["driver"]:
        found.append("driver {0} is loaded, {1} is installed".format(loaded, params["driver"]))
    if gpumodule.nouveau(str(params["root"])):
        found.append("nouveau is loaded")
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    params = module.params
    loaded = gpumodule.loaded(params["root"])
    if module.check_mode and params["pending"]:
        outcome.exit(modules={}, spare=[], loaded=loaded, reasons=[])
        return
    there = installed(outcome)
    modules = {kernel: look(outcome, kernel) for kernel in there}
    judge(outcome, there, modules)
    locked = [*params["kernels"], os.uname().release]
    outcome.exit(
        modules={
            kernel: {key: found.get(key, "") for key in ("version", "signer")} if found else None
            for kernel, found in modules.items()
        },
        spare=[kernel for kernel in there if not modules[kernel] and kernel not in locked],
        loaded=loaded,
        reasons=reasons(params, loaded),
    )


if __name__ == "__main__":
    main()
