# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""See whether a node can run containers as Holdfast runs them."""

from __future__ import annotations

import os
import shutil

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome, run
from ansible_collections.holdfast.core.plugins.module_utils.podman import (
    MINIMUM,
    storage,
    version,
)

DOCUMENTATION = r"""
module: podman_info
short_description: Check that podman, its storage and quadlet are fit for use
version_added: 0.1.0
description:
  - Fails when podman is too old for the units that Holdfast writes, when its storage driver is
    not the one wanted or its storage is too small, or when quadlet is missing. Changes nothing.
options:
  driver:
    description: The storage driver wanted.
    type: str
    default: overlay
  free_mib:
    description: Space that must be free in podman's storage, in MiB.
    type: int
    default: 0
  expected:
    description: In check mode podman may not work yet; an earlier task brings what it needs.
    type: bool
    default: false
author:
  - Holdfast contributors
extends_documentation_fragment:
  - holdfast.core.looks
attributes:
  platform:
    support: full
    platforms: el
    description: Needs podman.
"""

EXAMPLES = r"""
- name: Check podman and its storage
  holdfast.core.podman_info:
    free_mib: 10240
"""

RETURN = r"""
podman:
  description: Version, storage driver, storage folder, cgroup version.
  returned: when podman is installed
  type: dict
free_mib:
  description: Free space in podman's storage, in MiB.
  returned: when podman is installed
  type: int
"""

ARGUMENTS = {
    "driver": {"type": "str", "default": "overlay"},
    "free_mib": {"type": "int", "default": 0},
    "expected": {"type": "bool", "default": False},
}
QUADLET = (
    "/usr/lib/systemd/system-generators/podman-system-generator",
    "/usr/libexec/podman/quadlet",
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    code, out, err = run(module, ["podman", "info", "--format", "json"])
    # Without its helpers podman answers nothing; they may be what is about to be installed.
    if code != 0 and outcome.may_come:
        outcome.exit()
        return
    try:
        seen = storage(out if code == 0 else "")
    except ValueError as error:
        outcome.fail(
            "podman does not work: {0}".format(err or error), "run podman info on the node"
        )
        return
    if version(seen["version"]) < MINIMUM:
        outcome.fail(
            "podman {0} is too old; {1} is needed".format(
                seen["version"], ".".join(str(n) for n in MINIMUM)
            ),
            "lock a newer podman in the stack lock",
        )
    if seen["driver"] != module.params["driver"]:
        outcome.fail(
            "podman stores images with {0} instead of {1}".format(
                seen["driver"], module.params["driver"]
            ),
            "put {0} on a file system that supports it".format(seen["root"]),
        )
    if not any(os.path.exists(path) for path in QUADLET):
        outcome.fail("quadlet is missing", "install the whole podman package")
    free = shutil.disk_usage(seen["root"]).free // 2**20
    if free < module.params["free_mib"]:
        outcome.fail(
            "{0} has {1} MiB free, {2} MiB are needed".format(
                seen["root"], free, module.params["free_mib"]
            ),
            "free or add space there",
        )
    outcome.exit(podman=seen, free_mib=free)


if __name__ == "__main__":
    main()
