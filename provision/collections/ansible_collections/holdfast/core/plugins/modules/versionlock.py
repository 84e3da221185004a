# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Keep packages at their versions with dnf's versionlock plugin."""

from __future__ import annotations

import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils import gpumodule
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome
from ansible_collections.holdfast.core.plugins.module_utils.wholefile import (
    Seen,
    make_directories,
    write,
)

DOCUMENTATION = r"""
module: versionlock
short_description: Keep packages at their versions, kernels among them
version_added: 0.2.0
description:
  - Writes its own part of the list of dnf's versionlock plugin; lines of others stay as they are.
  - Fails when another line allows another version of the same package, because then both may be
    installed, and when the plugin is missing or switched off, because then nobody reads the list.
options:
  packages:
    description: Packages by name, epoch, version and release.
    type: list
    elements: dict
    required: true
  kernel:
    description: The package among them that is the kernel.
    type: str
    default: kernel-core
  family:
    description: Packages that move with the kernel and are kept at its version, too.
    type: list
    elements: str
    default: []
  directory:
    description: Where dnf's plugins have their settings.
    type: path
    default: /etc/dnf/plugins
  pending:
    description: In check mode the plugin may be about to be installed.
    type: bool
    default: false
author:
  - Holdfast contributors
attributes:
  check_mode:
    support: full
    description: Says whether the list would be written.
  diff_mode:
    support: full
    description: Shows the list.
  platform:
    support: full
    platforms: el
    description: Needs C(python3-dnf-plugin-versionlock).
"""

EXAMPLES = r"""
- name: Keep kernel and driver together
  holdfast.core.versionlock:
    packages: "{{ gpu_driver_unit.pinned }}"
    family: [kernel, kernel-modules, kernel-modules-core]
"""

RETURN = r"""
lines:
  description: What is locked.
  returned: success
  type: list
  elements: str
"""

ARGUMENTS = {
    "packages": {"type": "list", "elements": "dict", "required": True},
    "kernel": {"type": "str", "default": "kernel-core"},
    "family": {"type": "list", "elements": "str", "default": []},
    "directory": {"type": "path", "default": "/etc/dnf/plugins"},
    "pending": {"type": "bool", "default": False},
}
BEGIN, END = "# begin: written by Holdfast", "# end: written by Holdfast"
_NAME = re.compile(r"^!?(.+)-(?:\d+:)?[^-]+-[^-]+$")


def others(text: str) -> list[str]:
    """The lines that are not ours."""
    kept, ours = [], False
    for line in text.splitlines():
        if line == BEGIN:
            ours = True
        elif line == END:
            ours = False
        elif not ours:
            kept.append(line)
    return kept


def conflicts(foreign: list[str], lines: list[str]) -> list[str]:
    """Lines of others about packages that we lock, to another version."""
    names = {m.group(1) for m in map(_NAME.match, lines) if m}
    found = []
    for line in foreign:
        match = _NAME.match(line.strip())
        if match and not line.startswith("#") and match.group(1) in names and line not in lines:
            found.append(line.strip())
    return found


def check_plugin(outcome: Outcome) -> None:
    """Fail when nobody would read the list."""
    module = outcome.module
    if module.check_mode and module.params["pending"]:
        return
    text = Seen(os.path.join(module.params["directory"], "versionlock.conf")).text()
    if not re.search(r"^\s*enabled\s*=\s*(1|true|yes)\s*$", text, re.MULTILINE):
        outcome.fail(
            "dnf's versionlock plugin is {0}".format("switched off" if text else "not installed"),
            "put python3-dnf-plugin-versionlock into the stack lock for the role gpu_driver, or "
            "set enabled=1 in versionlock.conf",
        )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    params = module.params
    lines = gpumodule.pins(params["packages"], params["family"], params["kernel"])
    check_plugin(outcome)
    path = os.path.join(params["directory"], "versionlock.list")
    before = Seen(path).text()
    foreign = others(before)
    clash = conflicts(foreign, lines)
    if clash:
        outcome.fail(
            "somebody locked other versions in {0}: {1}".format(path, ", ".join(clash)),
            "remove those lines (dnf versionlock delete), or lock that version in the stack lock",
        )
    after = "".join(line + "\n" for line in [*foreign, BEGIN, *lines, END])
    if before != after:
        outcome.add(
            "lock the versions of {0} packages".format(len(lines)),
            path=path,
            before=before,
            after=after,
        )
        if not module.check_mode:
            make_directories(module, params["directory"])
            write(module, path, after.encode(), mode="0644", owner="root", group="root")
    outcome.exit(lines=lines)


if __name__ == "__main__":
    main()
