# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""All controls of a phase in one pass."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils.hardening import journal
from ansible_collections.holdfast.core.plugins.module_utils.hardening.apply import Pass
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
    alone,
)
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome

DOCUMENTATION = r"""
module: hardening
short_description: Bring a node to all controls of a profile, in one pass
version_added: 0.2.0
description:
  - Gets the rendered controls of a profile, looks at the node once, says what differs, and writes
    only that. Files are written whole or not at all and keep owner, mode and SELinux context.
  - Before it acts it writes an undo journal with copies of what it is going to change. It can be
    killed at any moment; every file is then the old one or the new one, and the journal can put
    all of them back.
  - What has to be reloaded is reloaded once, at the end, and only where something of it changed.
    The SSH server is reloaded only when its whole configuration is right.
  - Resources of type C(package) are left to M(holdfast.core.packages).
options:
  controls:
    description:
      - The rendered controls, as C(holdfast.core.controls) gives them; of all phases, because a
        file may hold what several phases want.
    type: list
    elements: dict
    required: true
  phase:
    description: Which controls are applied.
    type: str
    choices: [hardening, access, audit_trail]
    default: hardening
  run:
    description: The run that asks; the undo journal is kept under this name.
    type: str
    default: ""
  pending:
    description:
      - Packages that an earlier task would have installed. Only used in check mode.
    type: list
    elements: str
    default: []
  notes:
    description:
      - What was changed beside this and cannot be undone by it, in words; kept in the journal.
    type: list
    elements: str
    default: []
  offline:
    description: Change files and links only, for an image build.
    type: bool
    default: false
  home:
    description: Where undo journals are kept.
    type: path
    default: /var/lib/holdfast/hardening
  root:
    description: A folder to use instead of C(/), for tests and image builds.
    type: path
    default: /
extends_documentation_fragment:
  - holdfast.core.guarded
author:
  - Holdfast contributors
attributes:
  check_mode:
    support: full
    description: Says in the same words what would be changed.
  diff_mode:
    support: full
    description: Shows files that everybody may read.
  platform:
    support: full
    platforms: el
    description: Needs Linux; what a control's type needs beyond that is asked of the node.
"""

EXAMPLES = r"""
- name: Apply the profile
  holdfast.core.hardening:
    controls: "{{ hardening_controls }}"
    run: "{{ hardening_run }}"
"""

RETURN = r"""
holdfast_changes:
  description: What was, or would be, changed.
  returned: when changed
  type: list
  elements: str
  sample: ["sshd-no-root-login: set PermitRootLogin no in /etc/ssh/sshd_config.d/00-holdfast.conf"]
waiting:
  description: What takes effect at the next start only.
  returned: always
  type: list
  elements: str
not_applicable:
  description: Controls that mean nothing on this node, and why.
  returned: always
  type: dict
seconds:
  description: How long this took on the node, without Python's own start.
  returned: always
  type: float
left_alone:
  description: Places that somebody other than root could have prepared, and that were left alone.
  returned: always
  type: list
  elements: str
holdfast_notes:
  description: What of this, and of what was changed beside it, cannot be undone, and why.
  returned: always
  type: list
  elements: str
journal:
  description: The folder of the undo journal.
  returned: when something was changed
  type: str
"""

ARGUMENTS = {
    "controls": {"type": "list", "elements": "dict", "required": True},
    "phase": {
        "type": "str",
        "choices": ["hardening", "access", "audit_trail"],
        "default": "hardening",
    },
    "run": {"type": "str", "default": ""},
    "pending": {"type": "list", "elements": "str", "default": []},
    "notes": {"type": "list", "elements": "str", "default": []},
    "offline": {"type": "bool", "default": False},
    "guard": GUARD,
    "deadline": {"type": "int", "default": 0},
    "home": {"type": "path", "default": journal.HOME},
    "root": {"type": "path", "default": "/"},
}


def labeller(module: Any) -> Any:
    """What gives a new file its SELinux context."""
    selinux = module.selinux_enabled()

    def label(path: str) -> bytes | None:
        if not selinux:
            return None
        context = module.selinux_default_context(path)
        text = ":".join(context) if context and all(context) else ""
        return text.encode() + b"\0" if text else None

    return label


def main() -> None:
    """Run the module."""
    begun = time.monotonic()
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    params = module.params
    pending = frozenset(params["pending"] if module.check_mode else ())
    node = Node(Tree(params["root"]), offline=params["offline"], pending=pending)
    node.notes += params["notes"]
    found = Pass(node, params["phase"])
    home = params["home"] if params["root"] == "/" else params["root"] + params["home"]
    guard = Guard(home, node.tree)
    if not params["offline"]:
        finish(outcome, guard)
    with contextlib.ExitStack() as turn:
        if not module.check_mode and os.path.isdir(home):
            # A pass whose controller died may still be writing: what is seen before its end is
            # not what it leaves.
            turn.enter_context(alone(home))
        values = work(outcome, found, params, guard, turn)
    outcome.exit(seconds=round(time.monotonic() - begun, 3), **values)


def work(
    outcome: Outcome,
    found: Pass,
    params: dict[str, Any],
    guard: Guard,
    turn: contextlib.ExitStack,
) -> dict[str, Any]:
    """Look, announce and, outside check mode, write; what the task returns.

    `turn` is held until nobody may be in between any more.
    """
    node = found.node
    unproven = None if params["offline"] else adopt(outcome, guard)
    older = look(outcome, found, params, guard.home)
    for change in found.announce():
        outcome.add(change)
    for path, before, after in found.diffs():
        outcome.diffs.append(
            {"before_header": path, "after_header": path, "before": before, "after": after}
        )
    if node.depends:
        names = ", ".join(sorted(set(node.depends)))
        outcome.depends = "what {0} brings is only known once installed".format(names)
    values: dict[str, Any] = {
        "waiting": node.waiting,
        "not_applicable": found.not_applicable,
        "left_alone": node.skipped,
        "holdfast_notes": node.notes,
    }
    if not outcome.check_mode:
        if unproven is not None:
            keep(outcome, guard)
        if found.announce() or node.notes:
            values["journal"] = write(outcome, found, params, guard, turn)
        found.end(older)
    return values


def look(outcome: Outcome, found: Pass, params: dict[str, Any], home: str) -> list[journal.Entry]:
    """Look at the node, and refuse before anything is changed; the passes that were killed."""
    try:
        found.look(params["controls"])
        if not found.wrong:
            found.wrong += refusals(found.node, reached_by(params["guard"]))
    except Refused as error:
        found.wrong.append("{0} ({1})".format(error, error.hint) if error.hint else str(error))
    if found.wrong:
        more = len(found.wrong) - 5
        outcome.fail(
            "nothing was changed: {0}{1}".format(
                "; ".join(found.wrong[:5]), " and {0} more".format(more) if more > 0 else ""
            ),
            "mend the control or the node, or waive the control",
            wrong=found.wrong,
        )
    return found.owed(home)


def write(
    outcome: Outcome,
    found: Pass,
    params: dict[str, Any],
    guard: Guard,
    turn: contextlib.ExitStack,
) -> str:
    """Carry out what was announced; on a failure put everything back."""
    run = params["run"] or time.strftime("manual-%Y%m%dT%H%M%SZ", time.gmtime())
    seconds = params["deadline"]
    first = not os.path.isdir(guard.home)

    def arm(entry: journal.Entry) -> None:
        if seconds:
            # The undo waits for the end of this pass, or of this process.
            if first:
                turn.enter_context(alone(guard.home))
            guard.arm(entry, seconds)

    def commit() -> list[str]:
        return found.commit(guard.home, run, labeller(outcome.module), arm)

    return carry_out(outcome, found, params, guard, commit)


def carry_out(
    outcome: Outcome,
    found: Pass,
    params: dict[str, Any],
    guard: Guard,
    commit: Callable[[], list[str]],
) -> str:
    """Do it; the folder of the journal."""
    try:
        wrong = commit()
    except (OSError, Command) as error:
        outcome.fail(
            "nothing was changed, because the way back under {0} cannot be laid: {1}".format(
                guard.home, error
            ),
            "check that the disk is not full or read-only, and that systemd-run works",
        )
    entry = found.entry
    assert entry is not None
    if wrong:
        back = guard.take_back(entry, wrong, params["offline"])
        outcome.fail(
            "{0}; all was put back{1}".format(
                "; ".join(wrong), ", but " + "; ".join(back.wrong) if back.wrong else ""
            ),
            "read the message, and waive the control where the node cannot do it",
            wrong=wrong,
        )
    return entry.folder


if __name__ == "__main__":
    main()
