# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Compare the rpm database with packages of a stack lock."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome, run
from ansible_collections.holdfast.core.plugins.module_utils.rpm import QUERY, compare, parse_query

DOCUMENTATION = r"""
module: rpm_state
short_description: Compare installed packages with packages of a stack lock
version_added: 0.1.0
description:
  - Asks the rpm database which of the given packages are installed in exactly the given
    version, and says what is missing. It changes nothing and needs no repository.
  - C(holdfast.core.packages) uses it before and after an installation.
options:
  packages:
    description: Packages by NEVRA, as the stack lock names them. Further keys are left alone.
    type: list
    elements: dict
    default: []
  absent:
    description: Names of packages that must not be installed.
    type: list
    elements: str
    default: []
author:
  - Holdfast contributors
extends_documentation_fragment:
  - holdfast.core.looks
attributes:
  platform:
    support: full
    platforms: el
    description: Needs C(rpm).
"""

EXAMPLES = r"""
- name: See whether chrony is installed as locked
  holdfast.core.rpm_state:
    packages:
      - name: chrony
        epoch: 0
        version: "4.6"
        release: 1.el10
        arch: x86_64
"""

RETURN = r"""
missing:
  description: The packages that are not installed in the given version.
  returned: always
  type: list
  elements: dict
unwanted:
  description: Names out of O(absent) that are installed.
  returned: always
  type: list
  elements: str
pending:
  description: What an installation would change, in words.
  returned: always
  type: list
  elements: str
"""

ARGUMENTS = {
    "packages": {"type": "list", "elements": "dict", "default": []},
    "absent": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    names = sorted({p["name"] for p in module.params["packages"]} | set(module.params["absent"]))
    if not names:
        outcome.exit(missing=[], unwanted=[], pending=[])
    code, out, err = run(module, ["rpm", "-q", "--qf", QUERY, *names])
    # rpm's exit status is the number of packages that are not installed.
    if code == 127 or "error:" in err:
        outcome.fail(
            "the rpm database cannot be read: {0}".format(err),
            "check that rpm works on this node: rpm -q rpm",
        )
    found = compare(module.params["packages"], module.params["absent"], parse_query(out))
    outcome.exit(missing=found.missing, unwanted=found.unwanted, pending=found.changes)


if __name__ == "__main__":
    main()
