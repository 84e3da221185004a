"""What the adapters for Slurm did last on this node."""

from __future__ import annotations

import json
from typing import Any

from provision.health.probes.ask import Ask, Failed
from provision.health.slurm.record import NAME, SCHEMA

PLACE = f"/var/lib/holdfast/health/{NAME}"
_WANTED = ("ran", "outcome", "said")


def look(ask: Ask) -> None:
    """Say what the adapters keep, and how long the node has been up."""
    ask.see("scheduler.slurm", lambda: _kept(ask))
    ask.see("scheduler.uptime", lambda: float(ask.text("/proc/uptime").split()[0]))


def _kept(ask: Ask) -> dict[str, Any]:
    if not (ask.declared.get("slurm") or {}).get("drain"):
        return {}
    told = json.loads(ask.text(PLACE))
    if told["schema"] != SCHEMA:
        raise Failed("error", f"{PLACE} is of another kind: {told['schema']}")
    return {key: told[key] for key in _WANTED}
