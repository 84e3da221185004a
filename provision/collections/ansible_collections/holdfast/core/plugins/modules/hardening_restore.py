# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Put back what a run changed."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils.hardening import journal
from ansible_collections.holdfast.core.plugins.module_utils.hardening.back import (
    Restore,
    unfinished,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.guard import (
    Guard,
    adopt,
    finish,
    keep,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import Node, Refused
from ansible_collections.holdfast.core.plugins.module_utils.hardening.refusal import (
    GUARD,
    reached_by,
    refusals,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.rescue import (
    Command,
    Tree,
    Undone,
    alone,
)
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome

DOCUMENTATION = r"""
module: hardening_restore
short_description: Put back what a run of the hardening changed
version_added: 0.2.0
description:
  - Reads the undo journals that M(holdfast.core.hardening) left, and puts back what the named run
    and all later ones changed, the latest first. The node is then as it was before that run.
  - Files come back with their bytes, mode, owner and attributes; settings, units and accounts by
    the steps that the journal names. What has to be reloaded is reloaded.
  - A file that somebody else changed since stays as it is and is named, unless O(force). It is
    named again, or put back, when the same is asked for again.
  - What would obviously lock out is refused. Before anything is put back, a login over a fresh
    connection that becomes root is proven, and the node arms an undo of the restore; another such
    login cancels it. Else the node is as it was before the restore.
options:
  to:
    description: The run to go back before.
    type: str
    required: true
  by:
    description: The run that restores; written down beside each journal.
    type: str
    default: ""
  force:
    description: Put files back that somebody changed since, too.
    type: bool
    default: false
  home:
    description: Where undo journals are kept.
    type: path
    default: /var/lib/holdfast/hardening
  root:
    description: A folder to use instead of C(/), for tests.
    type: path
    default: /
extends_documentation_fragment:
  - holdfast.core.guarded
author:
  - Holdfast contributors
attributes:
  action:
    support: full
    description: Runs partly on the controller, which opens the fresh connections.
  check_mode:
    support: full
    description: Says what would be put back, and what cannot be.
  diff_mode:
    support: none
    description: The changes are named in RV(holdfast_changes).
  platform:
    support: full
    platforms: linux
    description: Needs systemd.
"""

EXAMPLES = r"""
- name: Go back before a run
  holdfast.core.hardening_restore:
    to: 20261123T091500Z-3f9a1c
"""

RETURN = r"""
holdfast_changes:
  description: What was, or would be, put back.
  returned: when changed
  type: list
  elements: str
holdfast_left:
  description: What stays as it is because somebody changed it since.
  returned: always
  type: list
  elements: str
holdfast_notes:
  description: What those runs did that cannot be undone, and why.
  returned: always
  type: list
  elements: str
runs:
  description: The runs that were put back, the latest first.
  returned: always
  type: list
  elements: str
journal:
  description: The folder of the journal that takes the restore itself back.
  returned: when something was put back with a deadline
  type: str
"""

ARGUMENTS = {
    "to": {"type": "str", "required": True},
    "by": {"type": "str", "default": ""},
    "force": {"type": "bool", "default": False},
    "guard": GUARD,
    "deadline": {"type": "int", "default": 0},
    "home": {"type": "path", "default": journal.HOME},
    "root": {"type": "path", "default": "/"},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    params = module.params
    home = params["home"] if params["root"] == "/" else params["root"] + params["home"]
    tree = Tree(params["root"])
    restore = Restore(Node(tree), Guard(home, tree), params["force"])
    finish(outcome, restore.guard)
    with contextlib.ExitStack() as turn:
        if not module.check_mode and os.path.isdir(home):
            # A pass whose controller died may still be writing what is to be put back here.
            turn.enter_context(alone(home))
        values = work(outcome, restore, params)
    outcome.exit(**values)


def work(outcome: Outcome, restore: Restore, params: dict[str, Any]) -> dict[str, Any]:
    """Look, refuse what would lock out and, outside check mode, put back; what the task returns."""
    unproven = adopt(outcome, restore.guard)
    restore.look(params["to"])
    refuse(outcome, restore, params)
    report = restore.told
    if not outcome.check_mode:
        if unproven is not None:
            keep(outcome, restore.guard)
        report = carry_out(outcome, restore, params)
    for change in report.done:
        outcome.add(change)
    values: dict[str, Any] = {
        "holdfast_left": report.left,
        "holdfast_notes": restore.notes,
        "runs": list(dict.fromkeys(entry.run for entry in restore.chosen)),
    }
    if restore.entry is not None:
        values["journal"] = restore.entry.folder
    if report.wrong and restore.entry is not None:
        # The rest is back; it stays so if a login proves it, and then this counts as failed.
        values["wrong"] = report.wrong
    elif report.wrong:
        outcome.fail(*unfinished(report.wrong), **values)
    return values


def refuse(outcome: Outcome, restore: Restore, params: dict[str, Any]) -> None:
    """Refuse before anything is changed."""
    if not restore.told.done:
        return
    try:
        wrong = refusals(restore.node, reached_by(params["guard"]))
    except Refused as error:
        wrong = ["{0} ({1})".format(error, error.hint) if error.hint else str(error)]
    if wrong:
        outcome.fail(
            "nothing was put back: {0}".format("; ".join(wrong[:5])),
            "log in in a way that was let in then, too, or edit the file that would come back: "
            "what somebody changed since stays",
            wrong=wrong,
        )


def carry_out(outcome: Outcome, restore: Restore, params: dict[str, Any]) -> Undone:
    """Put it back; all is as it was where the SSH server would not start with it."""
    try:
        restore.arm(params["by"], params["deadline"])
    except (OSError, Command) as error:
        outcome.fail(
            "nothing was put back, because the way back from it under {0} cannot be laid: "
            "{1}".format(restore.guard.home, error),
            "check that the disk is not full or read-only, and that systemd-run works",
        )
    report = restore.carry_out(params["by"])
    why = restore.unfit() if restore.entry is not None else ""
    if restore.entry is not None and why:
        again = restore.guard.take_back(restore.entry, [why])
        outcome.fail(
            "the SSH server would not start with what was put back: {0}; all is as it was before"
            "{1}".format(why, ", but " + "; ".join(again.wrong) if again.wrong else ""),
            "mend its configuration and restore again",
        )
    return report


if __name__ == "__main__":
    main()
