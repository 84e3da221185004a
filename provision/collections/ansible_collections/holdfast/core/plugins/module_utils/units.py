# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""systemd units: what is seen of them, and what has to be done. Runs nothing."""

from __future__ import annotations

from typing import Any

PROPERTIES = (
    "Id,Names,LoadState,UnitFileState,ActiveState,SubState,NeedDaemonReload,Result,"
    "ConditionResult,ExecMainStartTimestampMonotonic,ActiveEnterTimestampMonotonic"
)
_ENABLED = frozenset({"enabled", "enabled-runtime", "static", "generated", "alias", "indirect"})
_USEC = 1_000_000.0


def parse_show(text: str) -> list[dict[str, str]]:
    """The blocks of ``systemctl show``, one per unit that was asked for, in that order."""
    blocks: list[dict[str, str]] = []
    for block in text.strip("\n").split("\n\n"):
        pairs = (line.partition("=") for line in block.splitlines() if "=" in line)
        blocks.append({key: value for key, _, value in pairs})
    return blocks


class Unit:
    """What systemd says about one unit."""

    def __init__(self, properties: dict[str, str]) -> None:
        self.properties = properties
        self.exists = properties.get("LoadState") in ("loaded", "masked")
        self.masked = properties.get("LoadState") == "masked"
        self.enabled = properties.get("UnitFileState") in _ENABLED
        self.active = properties.get("ActiveState") in ("active", "reloading")
        self.starting = properties.get("ActiveState") == "activating"
        self.failed = properties.get("ActiveState") == "failed"
        self.stale = properties.get("NeedDaemonReload") == "yes"

    def started(self) -> float:
        """When its main process was started, in seconds of the monotonic clock; 0 if never."""
        for key in ("ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic"):
            value = self.properties.get(key, "0")
            if value.isdigit() and int(value) > 0:
                return int(value) / _USEC
        return 0.0


def needed(unit: Unit, wanted: dict[str, Any], reasons: list[str]) -> list[str]:
    """The systemctl verbs that bring `unit` to what is wanted, in order.

    `reasons` are what makes a restart of a running unit necessary.
    """
    verbs: list[str] = []
    if wanted["enabled"] is True and not unit.enabled:
        verbs.append("unmask" if unit.masked else "enable")
        if unit.masked:
            verbs.append("enable")
    if wanted["enabled"] is False and unit.enabled and _can_disable(unit):
        verbs.append("disable")
    if wanted["state"] == "started":
        # A unit that is still starting with an old configuration would never get anywhere.
        if reasons and (unit.active or unit.starting):
            verbs.append("restart")
        elif not unit.active:
            verbs.append("start")
    if wanted["state"] == "stopped" and unit.properties.get("ActiveState") in (
        "active",
        "activating",
        "reloading",
    ):
        verbs.append("stop")
    return verbs


def _can_disable(unit: Unit) -> bool:
    return unit.properties.get("UnitFileState") not in ("static", "generated")
