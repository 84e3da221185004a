# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Keep a model's files on a node exactly as the stack lock names them."""

from __future__ import annotations

import os
import shutil
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils.fetch import (
    FetchError,
    fetch,
    need_space,
)
from ansible_collections.holdfast.core.plugins.module_utils.modeldir import (
    Look,
    look,
    manifest,
    safe,
)
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome
from ansible_collections.holdfast.core.plugins.module_utils.wholefile import (
    Seen,
    make_directories,
    write,
)

DOCUMENTATION = r"""
module: model_files
short_description: Keep a model's directory exactly as the stack lock names it
version_added: 0.1.0
description:
  - Reads every file of the model and compares its SHA-256. A file that is missing or differs is
    fetched from its origin; it appears only when its digest is right.
  - A file, link or directory that the lock does not name is an error, or is removed.
  - Files are owned by root and read-only. A manifest for C(sha256sum --check) is written last.
options:
  name:
    description: The model's name.
    type: str
    required: true
  directory:
    description: The model's directory.
    type: path
    required: true
  url:
    description: The address that the files' paths follow.
    type: str
    required: true
  files:
    description: The model's files.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: The path below O(directory).
        type: str
        required: true
      sha256:
        description: The file's SHA-256.
        type: str
        required: true
      size:
        description: The file's size in bytes; 0 when unknown.
        type: int
        default: 0
  manifest:
    description: Where the manifest is written.
    type: path
    required: true
  extra:
    description: What happens to what the lock does not name.
    type: str
    choices: [fail, remove]
    default: fail
  selinux_type:
    description: The SELinux type of the files, where SELinux is on.
    type: str
    default: container_ro_file_t
author:
  - Holdfast contributors
attributes:
  check_mode:
    support: full
    description: Names the files that would be fetched or removed.
  diff_mode:
    support: none
    description: The changes are named in RV(holdfast_changes).
  platform:
    support: full
    platforms: linux
    description: Runs as root.
"""

EXAMPLES = r"""
- name: Keep the model
  holdfast.core.model_files:
    name: tiny
    directory: /srv/models/tiny
    url: "{{ mirror }}/models/tiny"
    files: "{{ files }}"
    manifest: /etc/holdfast/models/tiny.sha256
"""

RETURN = r"""
manifest:
  description: The manifest's path.
  returned: always
  type: str
paths:
  description: The model's directory, where a file in it was, or would be, replaced or removed.
  returned: always
  type: list
  elements: str
holdfast_changes:
  description: What was, or would be, fetched, removed or set.
  returned: when changed
  type: list
  elements: str
"""

ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "directory": {"type": "path", "required": True},
    "url": {"type": "str", "required": True},
    "files": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "path": {"type": "str", "required": True},
            "sha256": {"type": "str", "required": True},
            "size": {"type": "int", "default": 0},
        },
    },
    "manifest": {"type": "path", "required": True},
    "extra": {"type": "str", "choices": ["fail", "remove"], "default": "fail"},
    "selinux_type": {"type": "str", "default": "container_ro_file_t"},
}


def note(outcome: Outcome, found: Look) -> None:
    """Name what differs."""
    directory = outcome.module.params["directory"]
    for path in found.leftovers + found.extra:
        outcome.add("remove {0}".format(os.path.join(directory, path)))
    for path, reason in found.reasons.items():
        outcome.add("fetch {0} ({1})".format(os.path.join(directory, path), reason))
    for path in found.rights:
        outcome.add("make {0} read-only and root's".format(os.path.join(directory, path)))


def refuse_extra(outcome: Outcome, found: Look) -> None:
    """Fail when the directory holds what the lock does not name."""
    params = outcome.module.params
    if found.extra and params["extra"] == "fail":
        outcome.fail(
            "model {0}: {1} holds what the stack lock does not name: {2}".format(
                params["name"], params["directory"], ", ".join(found.extra[:5])
            ),
            "look where it came from, then remove it or let the role remove it",
        )


def remove(directory: str, paths: list[str]) -> None:
    """Remove what does not belong."""
    for path in paths:
        full = os.path.join(directory, path)
        if os.path.isdir(full) and not os.path.islink(full):
            shutil.rmtree(full)
        elif os.path.lexists(full):
            os.unlink(full)


def get(outcome: Outcome, files: list[dict[str, Any]]) -> None:
    """Fetch files; each appears only when it is right."""
    params = outcome.module.params
    need_space(params["directory"], sum(int(f["size"]) for f in files))
    for entry in files:
        path = os.path.join(params["directory"], entry["path"])
        make_directories(outcome.module, os.path.dirname(path))
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        url = "{0}/{1}".format(params["url"].rstrip("/"), entry["path"])
        fetch(url, path, entry["sha256"], int(entry["size"]))


def seal(outcome: Outcome) -> None:
    """Make everything root's and read-only, with the SELinux type that containers may read."""
    params = outcome.module.params
    for folder, _, files in os.walk(params["directory"]):
        for path, mode in [(folder, 0o755), *((os.path.join(folder, f), 0o444) for f in files)]:
            os.chown(path, 0, 0)
            os.chmod(path, mode)


def label(outcome: Outcome) -> None:
    """Set the SELinux type where it differs."""
    module = outcome.module
    if not module.selinux_enabled():
        return
    wanted = module.params["selinux_type"]
    for folder, _, files in os.walk(module.params["directory"]):
        for path in [folder, *(os.path.join(folder, f) for f in files)]:
            context = [None, None, wanted, None]
            if module.set_context_if_different(path, context, False):
                outcome.add("set SELinux type {0} on {1}".format(wanted, path))


def keep_manifest(outcome: Outcome) -> None:
    """Write the manifest when it differs."""
    params = outcome.module.params
    text = manifest(params["directory"], params["files"])
    seen = Seen(params["manifest"])
    if seen.text() == text and (seen.mode, seen.owner, seen.group) == ("0644", "root", "root"):
        return
    outcome.add("write {0}".format(params["manifest"]))
    if not outcome.check_mode:
        make_directories(outcome.module, os.path.dirname(params["manifest"]))
        write(
            outcome.module,
            params["manifest"],
            text.encode(),
            mode="0644",
            owner="root",
            group="root",
        )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    params = module.params
    wrong = [f["path"] for f in params["files"] if not safe(f["path"])]
    if wrong:
        outcome.fail("{0} leaves the model's directory".format(wrong[0]), "correct the stack lock")
    found = look(params["directory"], params["files"])
    refuse_extra(outcome, found)
    note(outcome, found)
    try:
        if not module.check_mode and outcome.changes:
            make_directories(module, params["directory"])
            remove(params["directory"], found.leftovers + found.extra)
            get(outcome, found.fetch)
            seal(outcome)
    except FetchError as error:
        outcome.fail("model {0}: {1}".format(params["name"], error), error.hint)
    except OSError as error:
        outcome.fail(
            "model {0} cannot be kept: {1}".format(params["name"], error),
            "check the disk below {0}".format(params["directory"]),
        )
    label(outcome)
    keep_manifest(outcome)
    moved = bool(found.fetch or found.leftovers or found.extra)
    outcome.exit(manifest=params["manifest"], paths=[params["directory"]] if moved else [])


if __name__ == "__main__":
    main()
