# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Decide which kernel starts next, and keep drivers off while it does."""

from __future__ import annotations

import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils import probe
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome, run

DOCUMENTATION = r"""
module: boot_kernel
short_description: Decide which kernel starts next, and which drivers stay off
version_added: 0.2.0
description:
  - Makes a kernel the one that starts next, and blacklists drivers on the command line of every
    installed kernel, so that they are not loaded from the initramfs either.
  - The kernel that runs is the way back. Fails, before anybody restarts, where it or the one that
    starts next lacks its entry, its image or its initramfs.
options:
  kernel:
    description: Release of the kernel that starts next.
    type: str
    required: true
  blacklist:
    description: Drivers that are not loaded.
    type: list
    elements: str
    default: []
  pending:
    description: In check mode the kernel may be about to be installed.
    type: bool
    default: false
  root:
    description: A folder to look below instead of C(/), for tests.
    type: path
    default: /
author:
  - Holdfast contributors
attributes:
  check_mode:
    support: full
    description: Names what would be set.
  diff_mode:
    support: none
    description: The changes are named in RV(holdfast_changes).
  platform:
    support: full
    platforms: el
    description: Needs C(grubby).
"""

EXAMPLES = r"""
- name: Start the kernel that has the module, without nouveau
  holdfast.core.boot_kernel:
    kernel: "{{ gpu_driver_unit.kernels[0] }}"
    blacklist: [nouveau]
"""

RETURN = r"""
default:
  description: The kernel that started next before.
  returned: success
  type: str
fallback:
  description: Release of the kernel that runs and can be started again; empty when it is the same.
  returned: success
  type: str
"""

ARGUMENTS = {
    "kernel": {"type": "str", "required": True},
    "blacklist": {"type": "list", "elements": "str", "default": []},
    "pending": {"type": "bool", "default": False},
    **probe.ARGUMENTS,
}
KEYS = ("rd.driver.blacklist", "modprobe.blacklist")
FILES = ("boot/vmlinuz-{0}", "boot/initramfs-{0}.img")
_ARGS = re.compile(r'^args="(.*)"$', re.MULTILINE)


def grubby(outcome: Outcome, *arguments: str) -> str:
    """What grubby answers."""
    code, out, err = run(outcome.module, ["grubby", *arguments])
    if code != 0:
        outcome.fail(
            "grubby {0} fails: {1}".format(" ".join(arguments), err or out),
            "look at /boot/loader/entries and /etc/default/grub on this node",
        )
    return out


def missing(info: str, blacklist: list[str]) -> list[str]:
    """Arguments that one of the kernels lacks, as grubby takes them; other drivers stay in."""
    found = []
    kernels = [line.split() for line in _ARGS.findall(info)]
    for key in KEYS:
        values = [_drivers(words, key) for words in kernels]
        if any(not set(blacklist) <= set(drivers) for drivers in values):
            everything = [*blacklist, *(d for drivers in values for d in drivers)]
            found.append("{0}={1}".format(key, ",".join(dict.fromkeys(everything))))
    return found


def _drivers(words: list[str], key: str) -> list[str]:
    values = (word.partition("=")[2] for word in words if word.partition("=")[0] == key)
    return [driver for value in values for driver in value.split(",") if driver]


def unbootable(root: str, kernel: str, info: str) -> list[str]:
    """What a kernel lacks that it is to be started from; `info` is what grubby says of all."""
    found = []
    for path in (name.format(kernel) for name in FILES):
        place = os.path.join(root, path)
        if not (os.path.isfile(place) and os.path.getsize(place)):
            found.append("/{0} is missing or empty".format(path))
    entries = re.findall(r'^kernel="?([^"\n]+)"?$', info, re.MULTILINE)
    if not any(entry.endswith("/vmlinuz-" + kernel) for entry in entries):
        found.append("kernel {0} has no boot entry".format(kernel))
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    params = module.params
    default = grubby(outcome, "--default-kernel").strip()
    path = "/boot/vmlinuz-" + params["kernel"]
    if not default.endswith("/vmlinuz-" + params["kernel"]):
        if not (module.check_mode and params["pending"]):
            outcome.add("start kernel {0} next instead of {1}".format(params["kernel"], default))
        if not module.check_mode:
            grubby(outcome, "--set-default=" + path)
    for argument in missing(grubby(outcome, "--info=ALL"), params["blacklist"]):
        outcome.add("set kernel argument {0}".format(argument))
        if not module.check_mode:
            grubby(outcome, "--update-kernel=ALL", "--args=" + argument)
    running = os.uname().release
    if not (module.check_mode and params["pending"]):
        info = grubby(outcome, "--info=ALL")
        both = dict.fromkeys([params["kernel"], running])
        wrong = [line for one in both for line in unbootable(params["root"], one, info)]
        if wrong:
            outcome.fail(
                "; ".join(wrong),
                "install that kernel's package again (dnf reinstall kernel-core), and do not "
                "restart this node before: the kernel that runs is its way back",
            )
    outcome.exit(default=default, fallback="" if running == params["kernel"] else running)


if __name__ == "__main__":
    main()
