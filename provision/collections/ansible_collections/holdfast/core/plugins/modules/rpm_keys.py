# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Keep signing keys as files and in the rpm database."""

from __future__ import annotations

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils.openpgp import (
    fingerprint,
    fingerprints,
)
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome, run
from ansible_collections.holdfast.core.plugins.module_utils.wholefile import (
    Seen,
    make_directories,
    write,
)

DOCUMENTATION = r"""
module: rpm_keys
short_description: Trust signing keys of packages, checked by fingerprint
version_added: 0.1.0
description:
  - Writes each key to O(directory) and imports it into the rpm database.
  - The fingerprint is computed from the key itself and compared before anything is written; what
    rpm holds is compared by full fingerprint too, never by the short id.
options:
  keys:
    description: The keys to trust.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The key's file name.
        type: str
        required: true
      fingerprint:
        description: The full fingerprint in hexadecimal. Spaces are left out.
        type: str
        required: true
      armored:
        description: The armoured public key.
        type: str
        required: true
  directory:
    description: Where key files lie.
    type: path
    default: /etc/pki/rpm-gpg
author:
  - Holdfast contributors
attributes:
  check_mode:
    support: full
    description: Names the keys that would be written and imported.
  diff_mode:
    support: full
    description: Shows the key files.
  platform:
    support: full
    platforms: el
    description: Needs C(rpm).
"""

EXAMPLES = r"""
- name: Trust the site's key
  holdfast.core.rpm_keys:
    keys:
      - name: site
        fingerprint: "{{ key.fingerprint }}"
        armored: "{{ key.armored }}"
"""

RETURN = r"""
holdfast_changes:
  description: What was, or would be, written and imported.
  returned: when changed
  type: list
  elements: str
"""

ARGUMENTS = {
    "keys": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "no_log": False,
        "options": {
            "name": {"type": "str", "required": True},
            "fingerprint": {"type": "str", "required": True},
            "armored": {"type": "str", "required": True},
        },
    },
    "directory": {"type": "path", "default": "/etc/pki/rpm-gpg"},
}


def check(outcome: Outcome, keys: list[dict[str, str]]) -> None:
    """Refuse keys that are not what their fingerprint says."""
    for key in keys:
        expected = key["fingerprint"].replace(" ", "").upper()
        try:
            found = fingerprint(key["armored"])
        except ValueError as error:
            outcome.fail(
                "key {0} cannot be read: {1}".format(key["name"], error),
                "put the armoured public key into the stack lock",
            )
            continue
        if found != expected:
            outcome.fail(
                "key {0} has fingerprint {1}, the stack lock names {2}".format(
                    key["name"], found, expected
                ),
                "find out whose key this is before you trust it",
            )


def trusted(outcome: Outcome) -> set[str]:
    """Fingerprints of the keys that rpm trusts."""
    code, out, err = run(outcome.module, ["rpm", "-q", "gpg-pubkey", "--qf", "%{DESCRIPTION}\\n"])
    if code not in (0, 1):
        outcome.fail("the rpm database cannot be read: {0}".format(err), "check rpm on this node")
    return set(fingerprints(out))


def keep(outcome: Outcome, key: dict[str, str], directory: str) -> str:
    """Write the key's file when it differs; returns its path."""
    path = os.path.join(directory, "RPM-GPG-KEY-{0}".format(key["name"]))
    text = key["armored"].strip() + "\n"
    seen = Seen(path)
    before = seen.text()
    if before == text and (seen.mode, seen.owner, seen.group) == ("0644", "root", "root"):
        return path
    outcome.add("write {0}".format(path), path=path, before=before, after=text)
    if not outcome.check_mode:
        make_directories(outcome.module, directory)
        write(outcome.module, path, text.encode(), mode="0644", owner="root", group="root")
    return path


def trust(outcome: Outcome, key: dict[str, str], path: str) -> None:
    """Import the key into the rpm database."""
    outcome.add("trust key {0} ({1})".format(key["name"], key["fingerprint"][-16:]))
    if outcome.check_mode:
        return
    code, out, err = run(outcome.module, ["rpm", "--import", path])
    if code != 0:
        outcome.fail(
            "rpm does not import {0}: {1}{2}".format(path, out, err),
            "check the key and the node's crypto policy",
        )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    params: dict[str, Any] = module.params
    check(outcome, params["keys"])
    known = trusted(outcome)
    for key in params["keys"]:
        path = keep(outcome, key, params["directory"])
        if key["fingerprint"].replace(" ", "").upper() not in known:
            trust(outcome, key, path)
    outcome.exit()


if __name__ == "__main__":
    main()
