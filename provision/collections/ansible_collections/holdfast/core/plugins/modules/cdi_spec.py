# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Keep exactly one CDI specification of the GPUs, and keep it true."""

from __future__ import annotations

import glob
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils import cdi
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome, run
from ansible_collections.holdfast.core.plugins.module_utils.wholefile import Seen

DOCUMENTATION = r"""
module: cdi_spec
short_description: Keep exactly one CDI specification of the GPUs, and keep it true
version_added: 0.2.0
description:
  - Has the specification written anew when it is of another driver or of other devices than the
    node has, which is so after a change of the driver or of MIG.
  - Removes other specifications of the same kind, which nobody would keep up to date.
options:
  driver:
    description: The driver's version.
    type: str
    required: true
  path:
    description: The specification.
    type: path
    default: /var/run/cdi/nvidia.yaml
  unit:
    description: The unit that writes it.
    type: str
    default: nvidia-cdi-refresh.service
  directories:
    description: Where specifications are looked for.
    type: list
    elements: path
    default: [/etc/cdi, /var/run/cdi]
  expected:
    description: In check mode driver and toolkit may only be about to be installed.
    type: bool
    default: false
author:
  - Holdfast contributors
attributes:
  check_mode:
    support: full
    description: Says whether the specification would be written.
  diff_mode:
    support: none
    description: The specification is written by another program.
  platform:
    support: full
    platforms: el
    description: Needs nvidia-container-toolkit 1.18 or newer.
"""

EXAMPLES = r"""
- name: Keep the specification true
  holdfast.core.cdi_spec:
    driver: "{{ container_runtime_gpu_unit.driver }}"
"""

RETURN = r"""
devices:
  description: Names of the devices that containers may ask for.
  returned: success
  type: list
  elements: str
"""

ARGUMENTS = {
    "driver": {"type": "str", "required": True},
    "path": {"type": "path", "default": "/var/run/cdi/nvidia.yaml"},
    "unit": {"type": "str", "default": "nvidia-cdi-refresh.service"},
    "directories": {
        "type": "list",
        "elements": "path",
        "default": ["/etc/cdi", "/var/run/cdi"],
    },
    "expected": {"type": "bool", "default": False},
}


def others(path: str, directories: list[str]) -> list[str]:
    """Further specifications of GPUs."""
    found = []
    for directory in directories:
        for other in sorted(glob.glob(os.path.join(directory, "*"))):
            same = os.path.exists(path) and os.path.samefile(other, path)
            if not same and os.path.splitext(other)[1] in (".yaml", ".yml", ".json"):
                found += [other] if cdi.is_ours(Seen(other).text()) else []
    return found


def names(outcome: Outcome) -> set[str]:
    """The devices that the node has."""
    code, out, err = run(outcome.module, ["nvidia-smi", "-L"])
    found = cdi.wanted(out) if code == 0 else set()
    if not found:
        outcome.fail(
            "nvidia-smi names no GPU: {0}".format(err or out), "run nvidia-smi -L on the node"
        )
    return found


def refresh(outcome: Outcome, unit: str) -> None:
    """Have the specification written."""
    code, out, err = run(outcome.module, ["systemctl", "restart", "--", unit])
    if code != 0:
        outcome.fail(
            "{0} fails: {1}".format(unit, err or out), "read journalctl -u {0}".format(unit)
        )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    params = module.params
    path, driver = params["path"], params["driver"]
    for other in others(path, params["directories"]):
        outcome.add("remove {0}, which nobody keeps up to date".format(other))
        if not module.check_mode:
            os.unlink(other)
    if outcome.may_come:
        outcome.add("write {0}".format(path))
        outcome.exit(devices=[])
        return
    wanted = names(outcome)
    why = cdi.stale(Seen(os.path.realpath(path)).text(), driver, wanted)
    if why:
        # Why, no plan can know where the driver is only about to come.
        outcome.add("write {0}".format(path))
        if not module.check_mode:
            refresh(outcome, params["unit"])
            left = cdi.stale(Seen(os.path.realpath(path)).text(), driver, wanted)
            if left:
                outcome.fail(
                    "{0} was written and is not right: {1}".format(path, "; ".join(left)),
                    "read journalctl -u {0}, and nvidia-ctk cdi list".format(params["unit"]),
                )
    outcome.exit(devices=sorted(wanted))


if __name__ == "__main__":
    main()
