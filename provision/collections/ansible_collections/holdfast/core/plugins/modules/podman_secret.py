# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Keep secrets in podman's secret store."""

from __future__ import annotations

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome, run
from ansible_collections.holdfast.core.plugins.module_utils.podman import secrets

DOCUMENTATION = r"""
module: podman_secret
short_description: Keep secrets in podman's store, never on a command line
version_added: 0.1.0
description:
  - Compares each secret with what podman holds and replaces it when it differs. Values go to
    podman by standard input and are compared in memory; no digest of a value is stored.
options:
  secrets:
    description: The secrets.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The secret's name.
        type: str
        required: true
      value:
        description: The secret's value.
        type: str
        required: true
author:
  - Holdfast contributors
attributes:
  check_mode:
    support: full
    description: Names the secrets that would be created or replaced.
  diff_mode:
    support: none
    description: Values are never shown.
  platform:
    support: full
    platforms: el
    description: Needs podman.
"""

EXAMPLES = r"""
- name: Keep the API key
  holdfast.core.podman_secret:
    secrets:
      - name: api-key
        value: "{{ lookup('holdfast.core.secret', 'file:secrets/api-key') }}"
  no_log: true
"""

RETURN = r"""
updated_at:
  description: When the newest of the secrets was last changed, in Unix seconds.
  returned: always
  type: float
holdfast_changes:
  description: The names of the secrets that were, or would be, created or replaced.
  returned: when changed
  type: list
  elements: str
"""

ARGUMENTS = {
    "secrets": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "no_log": False,
        "options": {
            "name": {"type": "str", "required": True},
            "value": {"type": "str", "required": True, "no_log": True},
        },
    },
}


def stored(outcome: Outcome, names: list[str]) -> dict[str, tuple[str, float]]:
    """Value and last change of the secrets that podman holds, out of `names`."""
    code, out, err = run(outcome.module, ["podman", "secret", "ls", "--format", "{{.Name}}"])
    if code == 127 and outcome.check_mode:
        return {}
    if code != 0 and outcome.check_mode:
        # A podman that stays broken has failed the plan before, in its own role.
        outcome.depends = "podman does not work before its packages are whole"
        return {}
    if code != 0:
        outcome.fail("podman does not list its secrets: {0}".format(err), "run podman info")
    present = [name for name in names if name in out.split()]
    if not present:
        return {}
    argv = ["podman", "secret", "inspect", "--showsecret", *present]
    code, out, err = run(outcome.module, argv)
    try:
        if code != 0:
            raise ValueError(err)
        return secrets(out)
    except ValueError as error:
        outcome.fail("podman does not show its secrets: {0}".format(error), "run podman info")
    return {}


def store(outcome: Outcome, name: str, value: str) -> None:
    """Create or replace one secret."""
    argv = ["podman", "secret", "create", "--replace", name, "-"]
    code, _, err = run(outcome.module, argv, data=value)
    if code != 0:
        outcome.fail("podman does not take secret {0}: {1}".format(name, err), "run podman info")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    wanted = {entry["name"]: entry["value"] for entry in module.params["secrets"]}
    have = stored(outcome, list(wanted))
    newest = max([0.0, *(changed for _, changed in have.values())])
    for name, value in wanted.items():
        if name in have and have[name][0] == value:
            continue
        outcome.add("{0} secret {1}".format("replace" if name in have else "create", name))
        newest = time.time()
        if not module.check_mode:
            store(outcome, name, value)
    outcome.exit(updated_at=newest)


if __name__ == "__main__":
    main()
