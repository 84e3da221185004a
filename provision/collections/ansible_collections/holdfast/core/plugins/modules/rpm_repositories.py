# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Keep the repositories of a stack lock, and no others, enabled."""

from __future__ import annotations

import glob
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome
from ansible_collections.holdfast.core.plugins.module_utils.repofile import (
    disable,
    enabled,
    render,
)
from ansible_collections.holdfast.core.plugins.module_utils.wholefile import (
    Seen,
    make_directories,
    write,
)

DOCUMENTATION = r"""
module: rpm_repositories
short_description: Enable the repositories of a stack lock, and no others
version_added: 0.1.0
description:
  - Writes one repository file in which packages and metadata are always checked by signature.
  - Repositories of other files are disabled, reported or kept.
options:
  repositories:
    description: The repositories to enable. An empty list removes the file.
    type: list
    elements: dict
    required: true
    suboptions:
      id:
        description: The repository's id.
        type: str
        required: true
      name:
        description: The repository's name for people.
        type: str
        required: true
      baseurl:
        description: Where it lies.
        type: str
        required: true
      key:
        description: The name of the key that signs its packages and metadata.
        type: str
        required: true
  key_directory:
    description: Where C(holdfast.core.rpm_keys) wrote the keys.
    type: path
    default: /etc/pki/rpm-gpg
  file:
    description: The repository file.
    type: path
    default: /etc/yum.repos.d/holdfast.repo
  others:
    description:
      - V(disable) switches repositories of other files off, V(report) names them as a warning,
        V(keep) leaves them alone.
    type: str
    choices: [disable, report, keep]
    default: disable
  keep:
    description: Ids of repositories in other files that stay as they are.
    type: list
    elements: str
    default: []
author:
  - Holdfast contributors
attributes:
  check_mode:
    support: full
    description: Names the files that would be written.
  diff_mode:
    support: full
    description: Shows the files.
  platform:
    support: full
    platforms: el
    description: Writes files below C(/etc/yum.repos.d).
"""

EXAMPLES = r"""
- name: Enable the site's repositories and no others
  holdfast.core.rpm_repositories:
    repositories:
      - id: site-base
        name: Base
        baseurl: "{{ mirror }}/base"
        key: site
"""

RETURN = r"""
others:
  description: Ids of other repositories that were enabled when the module looked.
  returned: always
  type: list
  elements: str
holdfast_changes:
  description: What was, or would be, written.
  returned: when changed
  type: list
  elements: str
"""

ARGUMENTS = {
    "repositories": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "id": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "baseurl": {"type": "str", "required": True},
            "key": {"type": "str", "required": True, "no_log": False},
        },
    },
    "key_directory": {"type": "path", "default": "/etc/pki/rpm-gpg", "no_log": False},
    "file": {"type": "path", "default": "/etc/yum.repos.d/holdfast.repo"},
    "others": {"type": "str", "choices": ["disable", "report", "keep"], "default": "disable"},
    "keep": {"type": "list", "elements": "str", "default": []},
}


def own_file(outcome: Outcome, path: str, text: str) -> None:
    """Write, or with nothing to enable remove, the file of our repositories."""
    seen = Seen(path)
    before = seen.text()
    if not text:
        if seen.kind != "absent":
            outcome.add("remove {0}".format(path), path=path, before=before)
            if not outcome.check_mode:
                os.unlink(path)
        return
    if before == text and (seen.mode, seen.owner, seen.group) == ("0644", "root", "root"):
        return
    outcome.add("write {0}".format(path), path=path, before=before, after=text)
    if not outcome.check_mode:
        make_directories(outcome.module, os.path.dirname(path))
        write(outcome.module, path, text.encode(), mode="0644", owner="root", group="root")


def other_files(outcome: Outcome, own: str, mode: str, keep: set[str]) -> list[str]:
    """Treat the repositories of other files; returns the ids that were enabled."""
    found: list[str] = []
    for path in sorted(glob.glob(os.path.join(os.path.dirname(own), "*.repo"))):
        if path == own:
            continue
        before = Seen(path).text()
        ids = [name for name in enabled(before) if name not in keep]
        found += ids
        if not ids or mode != "disable":
            continue
        after = disable(before, set(ids))
        outcome.add(
            "disable {0} in {1}".format(", ".join(ids), path), path=path, before=before, after=after
        )
        if not outcome.check_mode:
            seen = Seen(path)
            write(
                outcome.module,
                path,
                after.encode(),
                mode=seen.mode,
                owner=seen.owner,
                group=seen.group,
            )
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    params = module.params
    text = render(params["repositories"], params["key_directory"])
    own_file(outcome, params["file"], text if params["repositories"] else "")
    found = other_files(outcome, params["file"], params["others"], set(params["keep"]))
    if found and params["others"] == "report":
        module.warn("enabled beside the stack lock's repositories: {0}".format(", ".join(found)))
    outcome.exit(others=found)


if __name__ == "__main__":
    main()
