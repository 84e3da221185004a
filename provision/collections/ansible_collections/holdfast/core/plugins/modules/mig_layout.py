# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Keep GPUs divided as declared, over restarts too."""

from __future__ import annotations

import inspect
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils import mig
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome, run
from ansible_collections.holdfast.core.plugins.module_utils.wholefile import (
    Seen,
    make_directories,
    write,
)

DOCUMENTATION = r"""
module: mig_layout
short_description: Keep GPUs divided as declared
version_added: 0.2.0
description:
  - Compares what each GPU is divided into with what is declared, and divides those that differ. A
    GPU that something runs on is never divided.
  - Puts the same code on the node as a program, for a unit that divides GPUs after a restart.
options:
  count:
    description: How many GPUs the node has.
    type: int
    required: true
  layout:
    description: C(gpus), where none means all, and C(profiles) of each part. Other GPUs are whole.
    type: list
    elements: dict
    default: []
  program:
    description: Where the program lies. Empty to put none there.
    type: path
    default: ""
  expected:
    description: In check mode the driver may only be about to be installed.
    type: bool
    default: false
  offline:
    description: Only put the program there, for an image build.
    type: bool
    default: false
author:
  - Holdfast contributors
attributes:
  check_mode:
    support: full
    description: Names what would be divided.
  diff_mode:
    support: none
    description: The changes are named in RV(holdfast_changes).
  platform:
    support: full
    platforms: el
    description: Needs C(nvidia-smi).
"""

EXAMPLES = r"""
- name: Halve the first GPU
  holdfast.core.mig_layout:
    count: 8
    layout:
      - gpus: [0]
        profiles: [3g.40gb, 3g.40gb]
"""

RETURN = r"""
divided:
  description: What each GPU is, or would be, divided into.
  returned: success
  type: dict
"""

ARGUMENTS = {
    "count": {"type": "int", "required": True},
    "layout": {"type": "list", "elements": "dict", "default": []},
    "program": {"type": "path", "default": ""},
    "expected": {"type": "bool", "default": False},
    "offline": {"type": "bool", "default": False},
}


def install(outcome: Outcome, path: str) -> None:
    """Put the program on the node."""
    text = inspect.getsource(mig)
    seen = Seen(path)
    if seen.text() == text and seen.mode == "0755":
        return
    outcome.add("write {0}".format(path))
    if not outcome.check_mode:
        make_directories(outcome.module, os.path.dirname(path))
        write(outcome.module, path, text.encode(), mode="0755", owner="root", group="root")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    params = module.params

    def command(argv: list[str]) -> tuple[int, str]:
        code, out, err = run(module, argv)
        return code, out + err

    if params["program"]:
        install(outcome, params["program"])
    want = mig.wanted(params["count"], params["layout"])
    divided = {str(index): parts for index, parts in want.items()}
    if params["offline"] or outcome.may_come:
        outcome.exit(divided=divided)
        return
    try:
        if module.check_mode:
            todo = mig.plan(mig.look(command), want)
            changes = [mig.said(index, parts) for index, parts in sorted(todo.items())]
        else:
            changes = mig.bring(command, want)
    except mig.MigError as error:
        outcome.fail(*error.args)
        return
    for change in changes:
        outcome.add(change)
    outcome.exit(divided=divided)


if __name__ == "__main__":
    main()
