# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Keep an access change that a login has proven, or put it back at once."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils.hardening import journal
from ansible_collections.holdfast.core.plugins.module_utils.hardening.guard import (
    Guard,
    proves,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.rescue import Tree
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome

DOCUMENTATION = r"""
module: hardening_guard
short_description: Keep an access change that a login has proven, or put it back at once
version_added: 0.2.0
description:
  - M(holdfast.core.hardening) with a deadline arms an undo on the node before it changes anything.
    This cancels that undo, or carries it out before its time.
  - It is cancelled only by a login that began after the change. The node itself decides that, by
    the start of the SSH server's process for this connection.
options:
  state:
    description:
      - V(kept) cancels the undo, V(undone) carries it out now, V(inspected) only says what is
        armed.
    type: str
    choices: [kept, undone, inspected]
    default: inspected
  home:
    description: Where undo journals are kept.
    type: path
    default: /var/lib/holdfast/hardening
author:
  - Holdfast contributors
attributes:
  check_mode:
    support: full
    description: Only says what is armed.
  diff_mode:
    support: none
    description: Says in words what it put back.
  platform:
    support: full
    platforms: linux
    description: Needs systemd.
"""

EXAMPLES = r"""
- name: The login works, so the change stays
  holdfast.core.hardening_guard:
    state: kept
"""

RETURN = r"""
armed:
  description: The run whose undo was armed; empty when none was.
  returned: always
  type: str
kept:
  description: Whether the undo was cancelled.
  returned: always
  type: bool
undone:
  description: What was put back, and what could not be.
  returned: when an undo was carried out
  type: list
  elements: str
"""

ARGUMENTS = {
    "state": {
        "type": "str",
        "choices": ["kept", "undone", "inspected"],
        "default": "inspected",
    },
    "home": {"type": "path", "default": journal.HOME},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    guard = Guard(module.params["home"], Tree())
    armed = guard.armed()
    run = str(armed["run"]) if armed else ""
    if module.check_mode or armed is None or module.params["state"] == "inspected":
        outcome.exit(armed=run, kept=False)
        return
    if module.params["state"] == "undone":
        report = guard.fire()
        done = report.done + report.left + report.wrong if report else []
        for change in done:
            outcome.add(change)
        outcome.exit(armed=run, kept=False, undone=done)
        return
    if not proves(armed):
        outcome.fail(
            "this login began before the change, so it proves nothing",
            "connect anew, without a shared connection",
            armed=run,
            kept=False,
        )
    outcome.exit(armed=run, kept=guard.cancel())


if __name__ == "__main__":
    main()
