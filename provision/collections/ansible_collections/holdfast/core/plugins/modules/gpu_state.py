# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""See that the GPU driver that was installed is the one that runs."""

from __future__ import annotations

import glob
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils import gpumodule, probe
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome

DOCUMENTATION = r"""
module: gpu_state
short_description: See that the GPU driver that was installed is the one that runs
version_added: 0.2.0
description:
  - Fails when the driver is not loaded or of another version, when nouveau is, and when there are
    NVSwitches that the inventory does not declare or none where it does. Changes nothing.
options:
  driver:
    description: The driver's version.
    type: str
    required: true
  fabric:
    description: What the inventory declares to link the GPUs.
    type: str
    choices: [none, nvswitch]
    default: none
  expected:
    description: In check mode the driver may only be about to be installed.
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
    description: Reads C(/proc) and C(/sys).
"""

EXAMPLES = r"""
- name: See that the driver runs
  holdfast.core.gpu_state:
    driver: "{{ gpu_fabric_unit.driver }}"
    fabric: nvswitch
"""

RETURN = r"""
loaded:
  description: The version of the driver that is loaded.
  returned: success
  type: str
switches:
  description: How many NVSwitches there are.
  returned: success
  type: int
"""

ARGUMENTS = {
    "driver": {"type": "str", "required": True},
    "fabric": {"type": "str", "choices": ["none", "nvswitch"], "default": "none"},
    "expected": {"type": "bool", "default": False},
    **probe.ARGUMENTS,
}
_BRIDGE = "0x0680"


def switches(root: str) -> int:
    """How many NVSwitches the driver or the PCI bus shows."""
    known = glob.glob(os.path.join(root, "proc/driver/nvidia-nvswitch/devices/*"))
    folders = glob.glob(os.path.join(root, "sys/bus/pci/devices/*"))
    bus = [f for f in folders if (probe.read(f, "class") or "").startswith(_BRIDGE)]
    return max(len(known), len([f for f in bus if probe.read(f, "vendor") == "0x10de"]))


def problems(root: str, driver: str, fabric: str) -> list[tuple[str, str]]:
    """What is wrong, each with what to do."""
    found = []
    loaded = gpumodule.loaded(root)
    module = probe.read(root, "/sys/module/nvidia/version") or ""
    if gpumodule.nouveau(root):
        found.append(("nouveau is loaded", "restart the node; it is blacklisted by now"))
    if not loaded:
        found.append(
            ("the GPU driver is not loaded", "read journalctl -k -b -g 'nvidia|NVRM' on the node")
        )
    elif loaded != driver:
        found.append(
            (
                "driver {0} is loaded, the stack lock names {1}".format(loaded, driver),
                "restart the node",
            )
        )
    if loaded and module and module != loaded:
        found.append(
            (
                "the module says it is {0}, the driver {1}".format(module, loaded),
                "restart the node",
            )
        )
    count = switches(root)
    if count and fabric == "none":
        found.append(
            (
                "there are {0} NVSwitches, and the inventory declares no fabric".format(count),
                "set holdfast_gpu.fabric to nvswitch, or CUDA does not start here",
            )
        )
    if not count and fabric == "nvswitch":
        found.append(
            (
                "the inventory declares NVSwitch, and there is none",
                "look at the BMC's log, or correct holdfast_gpu.fabric",
            )
        )
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    params = module.params
    found = problems(params["root"], params["driver"], params["fabric"])
    if found and not outcome.may_come:
        outcome.fail("; ".join(what for what, _ in found), "; ".join(hint for _, hint in found))
    outcome.exit(loaded=params["driver"] if not found else "", switches=switches(params["root"]))


if __name__ == "__main__":
    main()
