# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""What podman's commands print, read into plain values. Runs nothing."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from typing import Any

# Entrypoint= and Notify=healthy in a quadlet unit, which the inference unit is written with.
MINIMUM = (5, 0)

_TIME = re.compile(
    r"^(?P<day>\d{4}-\d\d-\d\d)[T ](?P<clock>\d\d:\d\d:\d\d)(?:\.\d+)?\s*"
    r"(?P<zone>Z|[+-]\d\d:?\d\d)"
)


def when(text: str) -> float:
    """A time as podman writes it, in Unix seconds; 0 when it is not one."""
    found = _TIME.match(text)
    if not found:
        return 0.0
    zone = found.group("zone")
    zone = "+0000" if zone == "Z" else zone.replace(":", "")
    moment = datetime.strptime(
        "{0}T{1}{2}".format(found.group("day"), found.group("clock"), zone), "%Y-%m-%dT%H:%M:%S%z"
    )
    return moment.astimezone(timezone.utc).timestamp()


def version(text: str) -> tuple[int, ...]:
    """The numbers at the start of a version; empty when there are none."""
    found = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in found.group(0).split(".")) if found else ()


def secrets(text: str) -> dict[str, tuple[str, float]]:
    """Value and last change of each secret in ``podman secret inspect --showsecret``.

    Raises:
        ValueError: this is not what podman prints. The message never holds a value.
    """
    try:
        body = json.loads(text or "[]")
    except ValueError:
        raise ValueError("podman secret inspect printed no JSON") from None
    found: dict[str, tuple[str, float]] = {}
    for entry in body:
        name = str(entry.get("Spec", {}).get("Name", ""))
        changed = max(when(str(entry.get(key, ""))) for key in ("CreatedAt", "UpdatedAt"))
        found[name] = (str(entry.get("SecretData", "")), changed)
    return found


def storage(text: str) -> dict[str, Any]:
    """What matters of ``podman info --format json``.

    Raises:
        ValueError: this is not what podman prints.
    """
    body = json.loads(text)
    try:
        store = body["store"]
        return {
            "version": str(body["version"]["Version"]),
            "driver": str(store["graphDriverName"]),
            "root": str(store["graphRoot"]),
            "cgroups": str(body["host"]["cgroupVersion"]),
            "rootless": bool(body["host"]["security"]["rootless"]),
        }
    except (KeyError, TypeError) as error:
        raise ValueError("podman info has no {0}".format(error)) from None
