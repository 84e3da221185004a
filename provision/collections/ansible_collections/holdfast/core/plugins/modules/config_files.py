# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Write several files and directories in one go."""

from __future__ import annotations

import os
import shutil
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome
from ansible_collections.holdfast.core.plugins.module_utils.wholefile import (
    Seen,
    make_directories,
    owner_ids,
    write,
)

DOCUMENTATION = r"""
module: config_files
short_description: Keep several small files and directories as declared, in one task
version_added: 0.1.0
description:
  - Writes whole files with their owner, group and mode, creates directories, and removes what
    should not be there. A reader sees the old file or the new one.
  - Unlike C(ansible.builtin.copy) it is exact in check mode where a directory is still missing,
    and it costs one connection for all files of a role.
options:
  files:
    description: The files, in order. Missing directories above a file are created.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: The absolute path.
        type: path
        required: true
      state:
        description: What should be there.
        type: str
        choices: [file, directory, absent]
        default: file
      content:
        description: The file's text.
        type: str
        default: ""
      mode:
        description: The mode in octal. Empty means 0644 for files and 0755 for directories.
        type: str
        default: ""
      owner:
        description: The owner.
        type: str
        default: root
      group:
        description: The group.
        type: str
        default: root
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
    platforms: linux
    description: Keeps SELinux contexts as the policy wants them.
"""

EXAMPLES = r"""
- name: Keep the journal over restarts
  holdfast.core.config_files:
    files:
      - path: /var/log/journal
        state: directory
      - path: /etc/systemd/journald.conf.d/50-holdfast.conf
        content: |
          [Journal]
          Storage=persistent
"""

RETURN = r"""
paths:
  description: The paths that were, or would be, changed.
  returned: always
  type: list
  elements: str
holdfast_changes:
  description: What was, or would be, changed.
  returned: when changed
  type: list
  elements: str
"""

ARGUMENTS = {
    "files": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "path": {"type": "path", "required": True},
            "state": {
                "type": "str",
                "choices": ["file", "directory", "absent"],
                "default": "file",
            },
            "content": {"type": "str", "default": ""},
            "mode": {"type": "str", "default": ""},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
        },
    },
}


def rights(seen: Seen, wanted: dict[str, Any]) -> list[str]:
    """What about owner, group and mode differs, in words."""
    differs = []
    if seen.mode != wanted["mode"]:
        differs.append("mode {0}".format(wanted["mode"]))
    if (seen.owner, seen.group) != (wanted["owner"], wanted["group"]):
        differs.append("owner {0}:{1}".format(wanted["owner"], wanted["group"]))
    return differs


def set_rights(wanted: dict[str, Any]) -> None:
    """Set owner, group and mode."""
    uid, gid = owner_ids(wanted["owner"], wanted["group"])
    os.chown(wanted["path"], uid, gid)
    os.chmod(wanted["path"], int(wanted["mode"], 8))


def keep_absent(outcome: Outcome, seen: Seen) -> bool:
    """Remove what is at a path."""
    if seen.kind == "absent":
        return False
    outcome.add("remove {0}".format(seen.path), path=seen.path, before=seen.text())
    if not outcome.check_mode:
        if seen.kind == "directory":
            shutil.rmtree(seen.path)
        else:
            os.unlink(seen.path)
    return True


def keep_directory(outcome: Outcome, seen: Seen, wanted: dict[str, Any]) -> bool:
    """Keep a directory with its rights."""
    if seen.kind not in ("absent", "directory"):
        outcome.fail(
            "{0} should be a directory and is a {1}".format(seen.path, seen.kind),
            "look what it is for, and move it away",
        )
    if seen.kind == "absent":
        outcome.add("create directory {0}".format(seen.path))
        if not outcome.check_mode:
            make_directories(outcome.module, seen.path)
            set_rights(wanted)
        return True
    differs = rights(seen, wanted)
    if differs:
        outcome.add("set {0} on {1}".format(" and ".join(differs), seen.path))
        if not outcome.check_mode:
            set_rights(wanted)
    return bool(differs)


def keep_file(outcome: Outcome, seen: Seen, wanted: dict[str, Any]) -> bool:
    """Keep a file with its text and rights."""
    if seen.kind in ("directory", "other"):
        outcome.fail(
            "{0} should be a file and is a {1}".format(seen.path, seen.kind),
            "look what it is for, and move it away",
        )
    before = seen.text()
    if seen.kind != "file" or before != wanted["content"]:
        outcome.add(
            "write {0}".format(seen.path), path=seen.path, before=before, after=wanted["content"]
        )
        if not outcome.check_mode:
            make_directories(outcome.module, os.path.dirname(seen.path))
            write(
                outcome.module,
                seen.path,
                wanted["content"].encode(),
                mode=wanted["mode"],
                owner=wanted["owner"],
                group=wanted["group"],
            )
        return True
    differs = rights(seen, wanted)
    if differs:
        outcome.add("set {0} on {1}".format(" and ".join(differs), seen.path))
        if not outcome.check_mode:
            set_rights(wanted)
    return bool(differs)


def keep(outcome: Outcome, wanted: dict[str, Any]) -> bool:
    """Keep one entry as declared; returns whether it changed."""
    seen = Seen(wanted["path"])
    if wanted["state"] == "absent":
        return keep_absent(outcome, seen)
    if not wanted["mode"]:
        wanted = {**wanted, "mode": "0644" if wanted["state"] == "file" else "0755"}
    if wanted["state"] == "directory":
        return keep_directory(outcome, seen, wanted)
    return keep_file(outcome, seen, wanted)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    paths = []
    for wanted in module.params["files"]:
        try:
            if keep(outcome, wanted):
                paths.append(wanted["path"])
        except (OSError, KeyError) as error:
            outcome.fail(
                "{0} cannot be written: {1}".format(wanted["path"], error),
                "check that the disk is not full or read-only and that owner and group exist",
            )
    outcome.exit(paths=paths)


if __name__ == "__main__":
    main()
