# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Put back what a run changed."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils.hardening import journal
from ansible_collections.holdfast.core.plugins.module_utils.hardening.guard import Guard
from ansible_collections.holdfast.core.plugins.module_utils.hardening.rescue import (
    Tree,
    Undone,
    alone,
    undo,
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
author:
  - Holdfast contributors
attributes:
  check_mode:
    support: full
    description: Says what would be put back, and what cannot be.
  diff_mode:
    support: none
    description: The changes are named in RV(holdfast_changes).
  platform:
    support: full
    platforms: linux
    description: Needs nothing beside what the journals name.
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
"""

ARGUMENTS = {
    "to": {"type": "str", "required": True},
    "by": {"type": "str", "default": ""},
    "force": {"type": "bool", "default": False},
    "home": {"type": "path", "default": journal.HOME},
    "root": {"type": "path", "default": "/"},
}


def since(entries: list[journal.Entry], run: str) -> list[journal.Entry]:
    """The passes of a run and of all later ones of which something stands, the latest first."""
    first = next((entry.number for entry in entries if entry.run == run), None)
    if first is None:
        return []
    return [e for e in reversed(entries) if e.number >= first and (not e.undone or e.left)]


def notes_of(body: dict[str, Any]) -> list[str]:
    """What of a pass cannot be undone, and what is as before only after the next start."""
    waiting = ["{0}: as before at the next start only".format(w) for w in body.get("waiting", [])]
    return [*body["notes"], *waiting]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    params = module.params
    home = params["home"] if params["root"] == "/" else params["root"] + params["home"]
    with contextlib.ExitStack() as turn:
        if not module.check_mode and os.path.isdir(home):
            # A pass whose controller died may still be writing what is to be put back here.
            turn.enter_context(alone(home))
        values = put_back(outcome, params, home)
    outcome.exit(**values)


def put_back(outcome: Outcome, params: dict[str, Any], home: str) -> dict[str, Any]:
    """Put all of it back; what the task returns."""
    tree = Tree(params["root"])
    if Guard(home, tree).armed() is not None:
        outcome.fail(
            "an access change of this node waits for its proof or its undo",
            "wait until that has ended: holdfast.core.hardening_guard says what is armed",
        )
    chosen = since(journal.entries(home), params["to"])
    report = Undone(check=outcome.check_mode, force=params["force"])
    notes: list[str] = []
    for entry in chosen:
        restore(outcome, entry, tree, report, params)
        with contextlib.suppress(OSError, ValueError):
            notes += [note for note in notes_of(entry.body()) if note not in notes]
    for change in report.done:
        outcome.add(change)
    values: dict[str, Any] = {
        "holdfast_left": report.left,
        "holdfast_notes": notes,
        "runs": list(dict.fromkeys(entry.run for entry in chosen)),
    }
    if report.wrong:
        outcome.fail(
            "not everything was put back: {0}".format("; ".join(report.wrong[:5])),
            "mend that and restore again; what is back already stays",
            **values,
        )
    return values


def restore(
    outcome: Outcome,
    entry: journal.Entry,
    tree: Tree,
    report: Undone,
    params: dict[str, Any],
) -> None:
    """Put one pass back; it counts as undone when nothing of it went wrong.

    What an earlier restore left is tried again, and nothing else of that pass.
    """
    wrong, left = len(report.wrong), len(report.left)
    try:
        undo(entry.folder, tree, report, only=entry.left if entry.undone else None)
    except (OSError, ValueError) as error:
        report.wrong.append("{0}: {1}".format(entry.folder, error))
    if not outcome.check_mode and len(report.wrong) == wrong:
        entry.mark("undone", by=params["by"] or "restore", left=report.left[left:])


if __name__ == "__main__":
    main()
