# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""systemd units: one look for all of them, and one command for each verb."""

from __future__ import annotations

from typing import Any

from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import (
    UNIT,
    Field,
    Type,
    Want,
    agreed,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.node import Refused
from ansible_collections.holdfast.core.plugins.module_utils.units import Unit, parse_show

SCHEMA = {
    "name": Field(str, required=True, pattern=UNIT.pattern),
    "state": Field(str, required=True, choices=("enabled", "disabled", "masked", "started")),
}
PROPERTIES = (
    "Id,LoadState,UnitFileState,ActiveState,NeedDaemonReload,Type,ConditionResult,"
    "ConditionTimestampMonotonic"
)
VERBS = ("unmask", "mask", "enable", "disable", "start", "stop")
"""In the order in which they are done."""


class Service(Type):
    """`name` and `state`; a unit that is enabled also runs, one that is masked does not."""

    name = "service"
    schema = SCHEMA

    def gather(self, wants: list[Want]) -> None:
        """Ask systemd once."""
        names = list(agreed(wants, "name", "state"))
        self.units = self._offline(names) if self.node.offline else self._online(names)
        self.verbs: dict[str, list[str]] = {}
        self.back: dict[str, list[str]] = {}

    def _online(self, names: list[str]) -> dict[str, Unit]:
        argv = ["systemctl", "show", "--property=" + PROPERTIES, "--", *names]
        code, out = self.node.command(argv)
        blocks = parse_show(out)
        if code or len(blocks) != len(names):
            raise Refused("systemd does not answer: {0}".format(out.strip()[:200]))
        return {name: Unit(blocks[number]) for number, name in enumerate(names)}

    def _offline(self, names: list[str]) -> dict[str, Unit]:
        argv = ["systemctl", "--root=" + self.node.tree.root, "is-enabled", "--", *names]
        states = self.node.command(argv)[1].split("\n")
        units = {}
        for number, name in enumerate(names):
            state = states[number].strip() if number < len(states) else ""
            known = state in ("masked", "masked-runtime") or self.node.has_unit(name)
            load = "masked" if state.startswith("masked") else "loaded" if known else "not-found"
            units[name] = Unit({"LoadState": load, "UnitFileState": state})
        return units

    def read(self, want: Want) -> Unit:
        """What systemd says of it."""
        return self.units[want["name"]]

    def needed(self, want: Want, unit: Unit) -> list[str]:
        """The verbs that bring it to what is wanted."""
        state = want["state"]
        running = unit.active or unit.starting
        if state in ("masked", "disabled"):
            if not unit.exists:
                return []
            verbs = ["mask"] if state == "masked" and not unit.masked else []
            if state == "disabled" and enabled(unit):
                verbs = ["disable"]
            return verbs + (["stop"] if running else [])
        verbs = ["unmask"] if unit.masked else []
        if state == "enabled" and not unit.enabled:
            verbs.append("enable")
        if self.node.offline:
            # Nothing runs where an image is built; what is enabled runs from the first start on.
            return verbs
        if not running and not held_back(unit) and (verbs or not once(unit)):
            verbs.append("start")
        return verbs

    def diff(self, want: Want, seen: Unit) -> list[str]:
        """The verbs in words.

        Raises:
            Refused: a unit that shall run does not exist.
        """
        name = want["name"]
        if not seen.exists and want["state"] in ("enabled", "started"):
            if not self.node.pending:
                raise Refused("there is no unit {0}".format(name), "install what it belongs to")
            self.node.depends.append(name)
            return ["start {0}".format(name)]
        return ["{0} {1}".format(verb, name) for verb in self.needed(want, seen)]

    def write(self, want: Want, seen: Unit) -> None:
        """Remember the verbs; they are done together."""
        for verb in self.needed(want, seen) if seen.exists else ():
            self.verbs.setdefault(verb, []).append(want["name"])
        for step in self.undo(want, seen):
            self.back.setdefault(step["run"][1], []).append(want["name"])

    def undo(self, want: Want, seen: Unit) -> list[dict[str, Any]]:
        """The verbs that bring back what was."""
        if not seen.exists:
            return []
        verbs = ["mask"] if seen.masked else ["unmask"]
        if enabled(seen):
            verbs.append("enable")
        elif want["state"] == "enabled" and not seen.masked:
            verbs.append("disable")
        verbs.append("start" if seen.active or seen.starting else "stop")
        return [{"run": ["systemctl", verb, "--", want["name"]]} for verb in verbs]

    def finish(self, wants: list[Want]) -> list[tuple[str, str]]:
        """Stage one command for each verb."""
        del wants
        if self.verbs:
            if self.node.offline:
                for verb in ("unmask", "mask", "enable", "disable"):
                    self._link(verb, self.verbs.get(verb, []))
                return []
            self.node.act("units", steps(self.verbs), steps(self.back))
        return []

    def _link(self, verb: str, names: list[str]) -> None:
        """An image has no systemd that could be asked; its units are links."""
        if names:
            root = "--root=" + self.node.tree.root
            self.node.offline_steps.append(["systemctl", root, verb, "--", *names])


def steps(verbs: dict[str, list[str]]) -> list[dict[str, Any]]:
    """The commands for many units."""
    return [
        {"run": ["systemctl", verb, "--", *sorted(verbs[verb])]} for verb in VERBS if verb in verbs
    ]


def enabled(unit: Unit) -> bool:
    """Whether it was switched on for the next start, and can be switched off."""
    state = unit.properties.get("UnitFileState", "")
    return state in ("enabled", "enabled-runtime", "linked", "alias")


def once(unit: Unit) -> bool:
    """Whether it does something once and ends."""
    return unit.properties.get("Type") == "oneshot"


def held_back(unit: Unit) -> bool:
    """Whether a condition of the unit itself keeps it from running here."""
    looked = unit.properties.get("ConditionTimestampMonotonic", "0") not in ("", "0")
    return looked and unit.properties.get("ConditionResult") == "no"
