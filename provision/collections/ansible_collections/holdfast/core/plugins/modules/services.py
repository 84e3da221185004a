# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Keep several systemd units enabled, running and up to date with their configuration."""

from __future__ import annotations

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome, run
from ansible_collections.holdfast.core.plugins.module_utils.units import (
    PROPERTIES,
    Unit,
    needed,
    parse_show,
)

DOCUMENTATION = r"""
module: services
short_description: Keep systemd units enabled, running and started after their configuration
version_added: 0.1.0
description:
  - Brings several units to the state wanted with one look at systemd.
  - A running unit is restarted when a file it reads is newer than its start. This follows from
    the node's state and not from what this run did, so a run that was killed between writing a
    file and restarting the unit is mended by the next one.
  - Reloads systemd's configuration where a unit file is newer than what systemd has loaded.
options:
  units:
    description: The units.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The unit's full name.
        type: str
        required: true
      enabled:
        description: Whether it starts at boot. Left out, that is not touched.
        type: bool
      state:
        description: Whether it runs now. Left out, that is not touched.
        type: str
        choices: [started, stopped]
      restart_if_newer:
        description: Files; the unit is restarted when one of them is newer than its start.
        type: list
        elements: path
        default: []
      restart_if_after:
        description: A time in Unix seconds; the unit is restarted when it started before that.
        type: float
        default: 0
      expected:
        description:
          - In check mode a unit that does not exist yet will come from an earlier task of the
            same run and will be started. Otherwise a missing unit is an error.
        type: bool
        default: false
  pending:
    description: Files that earlier tasks would have changed. Only used in check mode.
    type: list
    elements: path
    default: []
  offline:
    description:
      - Only enable and disable, for an image build where no systemd runs.
    type: bool
    default: false
author:
  - Holdfast contributors
attributes:
  check_mode:
    support: full
    description: Names what would be enabled, started and restarted.
  diff_mode:
    support: none
    description: The changes are named in RV(holdfast_changes).
  platform:
    support: full
    platforms: linux
    description: Needs systemd.
"""

EXAMPLES = r"""
- name: Run chronyd with the configuration just written
  holdfast.core.services:
    units:
      - name: chronyd.service
        enabled: true
        state: started
        restart_if_newer: [/etc/chrony.conf]
        expected: true
    pending: "{{ written.paths }}"
"""

RETURN = r"""
holdfast_changes:
  description: What was, or would be, done.
  returned: when changed
  type: list
  elements: str
  sample: ["restart chronyd.service (/etc/chrony.conf is newer)"]
"""

ARGUMENTS = {
    "units": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "enabled": {"type": "bool"},
            "state": {"type": "str", "choices": ["started", "stopped"]},
            "restart_if_newer": {"type": "list", "elements": "path", "default": []},
            "restart_if_after": {"type": "float", "default": 0},
            "expected": {"type": "bool", "default": False},
        },
    },
    "pending": {"type": "list", "elements": "path", "default": []},
    "offline": {"type": "bool", "default": False},
}


def look(outcome: Outcome, units: list[dict[str, Any]]) -> dict[str, Unit]:
    """What systemd knows of the units, by name."""
    names = [unit["name"] for unit in units]
    if not names:
        return {}
    argv = ["systemctl", "show", "--property=" + PROPERTIES, "--", *names]
    code, out, err = run(outcome.module, argv)
    blocks = parse_show(out)
    if code != 0 or len(blocks) != len(names):
        outcome.fail(
            "systemd does not answer: {0}".format(err or out),
            "check systemctl is-system-running on this node",
        )
    return {name: Unit(blocks[number]) for number, name in enumerate(names)}


def reasons(wanted: dict[str, Any], unit: Unit, pending: list[str]) -> list[str]:
    """Why a running unit has to be restarted; a plan says it in the words of the run."""
    started = unit.started() + time.time() - time.monotonic()
    found = [
        "{0} is newer".format(path)
        for path in wanted["restart_if_newer"]
        if path in pending or modified(path) > started
    ]
    if wanted["restart_if_after"] > started:
        found.append("a secret is newer")
    return found


def modified(path: str) -> float:
    """When a file was last written, in Unix seconds; 0 when it is not there."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def settle(paths: list[str]) -> None:
    """Bring times out of the future to now.

    A clock that was set back would otherwise make these files newer than every start.
    """
    now = time.time()
    for path in paths:
        if modified(path) > now:
            os.utime(path, (now, now))


def act(outcome: Outcome, verb: str, name: str) -> None:
    """Run one systemctl verb."""
    code, out, err = run(outcome.module, ["systemctl", verb, "--", name])
    if code == 0:
        return
    _, journal, _ = run(
        outcome.module,
        ["journalctl", "--no-pager", "--quiet", "-o", "cat", "-n", "4", "-u", name],
    )
    outcome.fail(
        "{0} does not {1}: {2} {3}".format(name, verb, err or out, journal),
        "read journalctl -u {0} on the node".format(name),
    )


def absent(outcome: Outcome, wanted: dict[str, Any]) -> None:
    """Treat a unit that does not exist."""
    name = wanted["name"]
    if wanted["state"] == "stopped" or (wanted["state"] is None and not wanted["enabled"]):
        return
    if outcome.check_mode and wanted["expected"]:
        outcome.add("{0} {1}".format("start" if wanted["state"] else "enable", name))
        return
    outcome.fail(
        "there is no unit {0}".format(name),
        "install what it belongs to; for a container unit read journalctl -t quadlet-generator",
    )


def bring(outcome: Outcome, wanted: dict[str, Any], unit: Unit, pending: list[str]) -> None:
    """Bring one unit to what is wanted."""
    name = wanted["name"]
    if not unit.exists:
        absent(outcome, wanted)
        return
    why = reasons(wanted, unit, pending)
    verbs = needed(unit, wanted, why)
    for verb in verbs:
        note = " ({0})".format("; ".join(why)) if verb == "restart" else ""
        # A package may enable its unit or not, which only its installation shows. Starting a unit
        # that should be enabled is one change either way, so that a plan can know it.
        if verb != "enable" or verb == verbs[-1]:
            outcome.add("{0} {1}{2}".format(verb, name, note))
        if outcome.check_mode:
            continue
        if verb == "start" and unit.failed:
            run(outcome.module, ["systemctl", "reset-failed", "--", name])
        act(outcome, verb, name)
        if verb in ("start", "restart"):
            settle(wanted["restart_if_newer"])


def prove(outcome: Outcome, units: list[dict[str, Any]]) -> None:
    """Check that units that were started are running: a condition can hold one back in silence."""
    wanted = [unit for unit in units if unit["state"] == "started"]
    for name, unit in look(outcome, wanted).items():
        if unit.active:
            continue
        held = unit.properties.get("ConditionResult") == "no"
        outcome.fail(
            "{0} was started and is {1}".format(
                name,
                "held back by a condition of its unit"
                if held
                else "{ActiveState} ({Result})".format(**unit.properties),
            ),
            "read systemctl status {0} on the node".format(name),
        )


def reload_stale(outcome: Outcome, units: dict[str, Unit], wanted: list[dict[str, Any]]) -> bool:
    """Reload systemd where a unit is newer than what it has loaded; returns whether it was."""
    missing = [w for w in wanted if not units[w["name"]].exists and w["state"] == "started"]
    if not missing and not any(unit.stale for unit in units.values()):
        return False
    if outcome.check_mode:
        return False
    act_reload(outcome)
    return True


def act_reload(outcome: Outcome) -> None:
    """Let systemd read its units again."""
    code, out, err = run(outcome.module, ["systemctl", "daemon-reload"])
    if code != 0:
        outcome.fail(
            "systemd does not reload its units: {0}".format(err or out),
            "read journalctl -b -p err on the node",
        )


def offline(outcome: Outcome, units: list[dict[str, Any]]) -> None:
    """Enable and disable where no systemd runs."""
    for wanted in units:
        if wanted["enabled"] is None:
            continue
        _, out, _ = run(outcome.module, ["systemctl", "is-enabled", wanted["name"]])
        seen = Unit({"LoadState": "loaded", "UnitFileState": out.strip()})
        for verb in needed(seen, {**wanted, "state": None}, []):
            outcome.add("{0} {1}".format(verb, wanted["name"]))
            if not outcome.check_mode:
                act(outcome, verb, wanted["name"])


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    wanted = module.params["units"]
    if module.params["offline"]:
        offline(outcome, wanted)
        outcome.exit()
        return
    units = look(outcome, wanted)
    if reload_stale(outcome, units, wanted):
        units = look(outcome, wanted)
    pending = module.params["pending"] if module.check_mode else []
    for entry in wanted:
        bring(outcome, entry, units[entry["name"]], pending)
    if outcome.changes and not module.check_mode:
        prove(outcome, wanted)
    outcome.exit()


if __name__ == "__main__":
    main()
