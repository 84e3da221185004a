# Copyright: Holdfast contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# This file imports ansible.plugins and is therefore under the GNU General Public License,
# version 3 or later; see LICENSES/GPL-3.0-or-later.txt.
"""What the audit of a node is made of, and what it is told."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from typing import Any

from ansible import constants
from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: audit
short_description: The node audit and what it is told
version_added: 0.2.0
description:
  - Gives the folder with the audit and its units, and what the inventory, its stack lock and its
    profile say that the node should be, for each platform that it may turn out to have.
  - C(holdfast) writes both once in a run and hands over where they lie. Without that, as under a
    plain C(ansible-playbook), they are made here by the C(holdfast) that is installed beside
    Ansible.
options:
  _terms:
    description: Names of nodes.
    required: true
  inventory:
    description: The inventory that declares the nodes.
    type: str
    required: true
  rendered:
    description: C(files), the folder, and C(expect), the file of each node.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Put the audit on a node
  ansible.builtin.include_role:
    name: health_audit
  vars:
    health_audit_files: "{{ lookup('holdfast.core.audit', 'n1', inventory='rack.yml').files }}"
"""

RETURN = r"""
_raw:
  description: C(files) and C(expect), the latter by platform; empty for a node without the audit.
  type: list
  elements: dict
"""


class LookupModule(LookupBase):
    """The lookup."""

    def run(
        self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[dict[str, Any]]:
        """Folder and expectation of each node."""
        self.set_options(var_options=variables, direct=kwargs)
        return [self._of(str(term)) for term in terms]

    def _of(self, node: str) -> dict[str, Any]:
        rendered = self.get_option("rendered") or _rendered(str(self.get_option("inventory")))
        path = rendered["expect"].get(node)
        return {"files": rendered["files"], "expect": _read(path) if path else {}}


def _rendered(inventory: str) -> dict[str, Any]:
    """Make them here; all processes of this run of Ansible share the result."""
    inventory = os.path.abspath(inventory)
    name = hashlib.sha256(inventory.encode()).hexdigest()[:24]
    folder = os.path.join(constants.DEFAULT_LOCAL_TMP, "audit-{0}".format(name))
    told = os.path.join(folder, "told.json")
    if not os.path.exists(told):
        _render(inventory, folder)
    return dict(_read(told))


def _render(inventory: str, folder: str) -> None:
    # A process of its own: this one is ansible-core's, under its licence.
    done = subprocess.run(
        [sys.executable, "-P", "-m", "provision.cli.render", "audit", inventory, folder],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise AnsibleError(
            "the audit of the nodes cannot be made: {0}. Next: run the ansible-playbook that is "
            "installed beside holdfast, or `holdfast up`.".format(done.stderr.strip()[-2000:])
        )


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as stream:
            body = json.load(stream)
    except (OSError, ValueError) as error:
        raise AnsibleError(
            "what the audit is told cannot be read: {0}. Next: start the run again.".format(error)
        ) from error
    return dict(body)
