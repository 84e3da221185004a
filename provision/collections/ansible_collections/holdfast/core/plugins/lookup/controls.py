# Copyright: Holdfast contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# This file imports ansible.plugins and is therefore under the GNU General Public License,
# version 3 or later; see LICENSES/GPL-3.0-or-later.txt.
"""The controls of a node's profile, rendered for the module that applies them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from typing import Any

from ansible import constants
from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: controls
short_description: The rendered controls of a node
version_added: 0.2.0
description:
  - Gives the controls that an inventory's profile, overlays and waivers come to for one node, for
    M(holdfast.core.hardening).
  - C(holdfast) renders them once in a run and hands over where they lie. Without that, as under a
    plain C(ansible-playbook), they are rendered here, once in a process, by the C(holdfast) that
    is installed beside Ansible.
options:
  _terms:
    description: Names of nodes.
    required: true
  release:
    description: The node's major release, as V(el10).
    type: str
    required: true
  inventory:
    description: The inventory that names the profile.
    type: str
    required: true
  rendered:
    description: Files with rendered controls, by node and release.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Apply the profile
  holdfast.core.hardening:
    controls: "{{ lookup('holdfast.core.controls', 'n1', release='el10', inventory='rack.yml') }}"
"""

RETURN = r"""
_raw:
  description: The controls.
  type: list
  elements: dict
"""


class LookupModule(LookupBase):
    """The lookup."""

    def run(
        self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[list[dict[str, Any]]]:
        """The controls of each node."""
        self.set_options(var_options=variables, direct=kwargs)
        return [self._of(str(term)) for term in terms]

    def _of(self, node: str) -> list[dict[str, Any]]:
        release = str(self.get_option("release"))
        files = (self.get_option("rendered") or {}).get(node) or {}
        path = files.get(release)
        if path is None and files:
            raise AnsibleError(
                "there are no controls for {0}. Next: use a node of a supported release.".format(
                    release
                )
            )
        return _read(path) if path else self._rendered(node, release)

    def _rendered(self, node: str, release: str) -> list[dict[str, Any]]:
        """Render them here; all processes of this run of Ansible share the result."""
        inventory = os.path.abspath(str(self.get_option("inventory")))
        name = hashlib.sha256(repr((inventory, node, release)).encode()).hexdigest()[:24]
        path = os.path.join(constants.DEFAULT_LOCAL_TMP, "controls-{0}.json".format(name))
        if not os.path.exists(path):
            _write(path, _render(inventory, node, release))
        return _read(path)


def _render(inventory: str, node: str, release: str) -> list[dict[str, Any]]:
    # A process of its own: this one is ansible-core's, under its licence.
    done = subprocess.run(
        [sys.executable, "-P", "-m", "provision.cli.render", inventory, node, release],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise AnsibleError(
            "the controls of {0} cannot be rendered: {1}. Next: run the ansible-playbook that is "
            "installed beside holdfast, or `holdfast up`.".format(node, done.stderr.strip()[-2000:])
        )
    return list(json.loads(done.stdout))


def _read(path: str) -> list[dict[str, Any]]:
    try:
        with open(path, encoding="utf-8") as stream:
            body = json.load(stream)
    except (OSError, ValueError) as error:
        raise AnsibleError(
            "the rendered controls cannot be read: {0}. Next: start the run again.".format(error)
        ) from error
    return list(body)


def _write(path: str, body: list[dict[str, Any]]) -> None:
    handle, fresh = tempfile.mkstemp(dir=os.path.dirname(path))
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(body, stream)
    os.rename(fresh, path)
