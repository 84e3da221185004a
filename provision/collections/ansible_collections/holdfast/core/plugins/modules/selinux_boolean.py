# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Switch SELinux booleans on, for good."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome, run

DOCUMENTATION = r"""
module: selinux_boolean
short_description: Switch an SELinux boolean on, for good
version_added: 0.2.0
description:
  - Switches a boolean on in the running policy and in the stored one. Where SELinux is not in the
    kernel there is nothing to do. A boolean that the policy does not know is an error, because
    the way round it, containers without labels, is never taken.
options:
  name:
    description: The boolean.
    type: str
    required: true
  expected:
    description: In check mode the policy that brings it may be about to be installed.
    type: bool
    default: false
author:
  - Holdfast contributors
attributes:
  check_mode:
    support: full
    description: Says whether it would be switched.
  diff_mode:
    support: none
    description: The changes are named in RV(holdfast_changes).
  platform:
    support: full
    platforms: el
    description: Needs C(getsebool) and C(setsebool) where SELinux is on.
"""

EXAMPLES = r"""
- name: Let containers use GPUs
  holdfast.core.selinux_boolean:
    name: container_use_xserver_devices
"""

RETURN = r"""
selinux:
  description: Whether SELinux is on.
  returned: success
  type: bool
"""

ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "expected": {"type": "bool", "default": False},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    name = module.params["name"]
    code, out, _ = run(module, ["getenforce"])
    if code == 127 or out.strip() == "Disabled":
        outcome.exit(selinux=False)
        return
    code, out, err = run(module, ["getsebool", name])
    if code != 0 and module.check_mode and module.params["expected"]:
        outcome.add("switch SELinux boolean {0} on".format(name))
        outcome.exit(selinux=True)
        return
    if code != 0:
        outcome.fail(
            "SELinux has no boolean {0}: {1}".format(name, err or out),
            "lock container-selinux 2.232.0 or newer; containers keep their labels",
        )
    if not out.rstrip().endswith("--> on"):
        outcome.add("switch SELinux boolean {0} on".format(name))
        if not module.check_mode:
            code, out, err = run(module, ["setsebool", "-P", name, "on"])
            if code != 0:
                outcome.fail(
                    "setsebool -P {0} on fails: {1}".format(name, err or out),
                    "read ausearch -m AVC,SELINUX_ERR -ts recent",
                )
    outcome.exit(selinux=True)


if __name__ == "__main__":
    main()
