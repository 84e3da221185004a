# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Ask for a restart of the node, or take the question back."""

from __future__ import annotations

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome, run
from ansible_collections.holdfast.core.plugins.module_utils.rpm import QUERY, parse_query
from ansible_collections.holdfast.core.plugins.module_utils.wholefile import (
    Seen,
    make_directories,
    write,
)

DOCUMENTATION = r"""
module: reboot_required
short_description: Say that a node needs a restart, and why
version_added: 0.1.0
description:
  - Leaves a note in C(/run/holdfast/reboot-required) when one of the given packages was installed
    after the node started, or when a reason is given. The engine restarts the node; this module
    never does.
  - The note goes away with the restart, and is taken back when the reason no longer holds.
options:
  name:
    description: Who asks, a short name; also the name of the note.
    type: str
    required: true
  packages:
    description: Packages that only count after a restart.
    type: list
    elements: str
    default: []
  installed:
    description: Packages that an earlier task would have installed. Only used in check mode.
    type: list
    elements: str
    default: []
  reason:
    description: A reason of the caller's own.
    type: str
    default: ""
  directory:
    description: Where notes lie.
    type: path
    default: /run/holdfast/reboot-required
author:
  - Holdfast contributors
attributes:
  check_mode:
    support: full
    description: Says whether a restart would be asked for.
  diff_mode:
    support: none
    description: The note is not part of a node's state.
  platform:
    support: full
    platforms: el
    description: Needs C(rpm).
"""

EXAMPLES = r"""
- name: Ask for a restart after core packages changed
  holdfast.core.reboot_required:
    name: base
    packages: [glibc, systemd, kernel-core]
"""

RETURN = r"""
reasons:
  description: Why the node needs a restart.
  returned: always
  type: list
  elements: str
"""

ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "packages": {"type": "list", "elements": "str", "default": []},
    "installed": {"type": "list", "elements": "str", "default": []},
    "reason": {"type": "str", "default": ""},
    "directory": {"type": "path", "default": "/run/holdfast/reboot-required"},
}


def booted(proc: str = "/proc") -> float:
    """When the first process of this node started, in Unix seconds.

    In a container the kernel's own start is the host's, so the first process counts.

    Raises:
        OSError: /proc cannot be read.
        ValueError: it holds something else than expected.
    """
    with open(os.path.join(proc, "stat"), encoding="ascii", errors="replace") as stream:
        kernel = next(int(line.split()[1]) for line in stream if line.startswith("btime "))
    with open(os.path.join(proc, "1/stat"), encoding="ascii", errors="replace") as stream:
        ticks = int(stream.read().rpartition(")")[2].split()[19])
    return kernel + ticks / float(os.sysconf("SC_CLK_TCK"))


def newer(outcome: Outcome, packages: list[str], start: float) -> list[str]:
    """Packages that were installed after `start`."""
    if not packages:
        return []
    code, out, err = run(outcome.module, ["rpm", "-q", "--qf", QUERY, *packages])
    if code == 127:
        outcome.fail("the rpm database cannot be read: {0}".format(err), "check rpm on this node")
    return sorted({p.name for p in parse_query(out) if p.installed > start})


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    params = module.params
    found = newer(outcome, params["packages"], booted())
    if module.check_mode:
        found = sorted(set(found) | (set(params["installed"]) & set(params["packages"])))
    reasons = ["{0} is newer than the last start".format(name) for name in found]
    if params["reason"]:
        reasons.append(params["reason"])
    path = os.path.join(params["directory"], params["name"])
    seen = Seen(path)
    text = "".join(reason + "\n" for reason in reasons)
    if reasons and seen.text() != text:
        outcome.add("ask for a restart: {0}".format("; ".join(reasons)))
        if not module.check_mode:
            make_directories(module, params["directory"])
            write(module, path, text.encode(), mode="0644", owner="root", group="root")
    if not reasons and seen.kind != "absent":
        outcome.add("no longer ask for a restart")
        if not module.check_mode:
            os.unlink(path)
    outcome.exit(reasons=reasons)


if __name__ == "__main__":
    main()
