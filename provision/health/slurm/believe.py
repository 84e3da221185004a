"""Whether the last result is believed: whole, of this start of the node, and young enough."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provision.health import ended, render
from provision.health.audit import SCHEMA, boot_id
from provision.health.checks.all import checks

RESULT = "audit.result"
"""Names the absence of a believed result, where otherwise a check's id stands."""


@dataclass(frozen=True)
class Evidence:
    """What is known of the node.

    Args:
        result: the result document, if it is believed.
        why: else why not.
        waiting: it is not there yet, because the node has only just started.
        boot: the id of this start of the node.
        log: what the audit has read of the kernel's log, for resets.
    """

    result: dict[str, Any] | None
    why: str
    waiting: bool
    boot: str
    log: dict[str, Any] = field(default_factory=dict)


def evidence(folder: Path, root: Path, most_s: float) -> Evidence:
    """What the audit's folder says of the node.

    Args:
        folder: where result.json and state.json lie.
        root: the node's tree.
        most_s: the age in seconds from which a result is not believed any more.
    """
    boot = boot_id(root)
    found, why = _result(folder / "result.json", boot, most_s)
    if why:
        cut = ended.last_failure(folder)
        why += f"; {cut}" if cut else ""
    waiting = bool(why) and _uptime(root) < most_s
    return Evidence(found, why, waiting, boot, _log(folder / "state.json", boot))


def _result(path: Path, boot: str, most_s: float) -> tuple[dict[str, Any] | None, str]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        why = _doubt(told, boot, most_s)
    except FileNotFoundError:
        return None, f"{path} is not there: no audit has ended"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return None, f"{path} cannot be read: {type(error).__name__}: {error}"
    return (None, why) if why else (told, "")


def _doubt(told: dict[str, Any], boot: str, most_s: float) -> str:
    if told["schema"] != SCHEMA:
        return f"the last result is of another kind: {str(told['schema'])[:40]}"
    if not boot:
        return "the id of this start of the node cannot be read"
    if told["boot"] != boot:
        return "the last audit was before the node's last start"
    old = render.stale(told, most_s)
    if old:
        return old
    missing = {c.id for c in checks()} - {str(f["check"]) for f in told["findings"]}
    if missing:
        return f"the last result lacks {len(missing)} checks, {min(missing)} among them"
    render.gating(told)  # every finding has what is read of it
    return ""


def _uptime(root: Path) -> float:
    try:
        return float((root / "proc/uptime").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return time.clock_gettime(time.CLOCK_BOOTTIME)


def _log(path: Path, boot: str) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        log = told["log"]
        whole = told["boot"] == boot and isinstance(log["events"], dict)
        return {"order": int(log["order"]), "events": log["events"]} if whole else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
