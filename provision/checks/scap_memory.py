"""The last full scan of each node, kept beyond the run that made it.

Rules that read every file of a node have a schedule of their own: between two full scans it is the
last one that proves them, for as many days as the inventory says. What was scanned is known by the
node's host keys, so that a node that was installed anew has no scan.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from provision.checks import openscap
from provision.checks.openscap import Scanned
from provision.core.files import write_whole
from provision.core.paths import state_home
from provision.rack.model import Node, Rack

SCHEMA = "holdfast.last-scan/1"
DAY_S = 86400


@dataclass(frozen=True)
class Remembered:
    """A full scan of a node: when, in Unix seconds by this machine's clock, and by which run."""

    scanned: Scanned
    taken: float
    run: str

    def days(self, now: float) -> float:
        """How old it is."""
        return (now - self.taken) / DAY_S

    def stands(self, days: int, now: float) -> bool:
        """Whether it proves something still; one from the future does not."""
        return 0 <= self.days(now) <= days

    def words(self, now: float) -> str:
        """When it was, for a reader."""
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.taken))
        by = f" by run {self.run}" if self.run else ""
        return f"the last full scan was on {when}{by}, {self.days(now):.1f} days ago"


def recall(rack: Rack, node: Node) -> Remembered | None:
    """The last full scan of a node; None when there is none, or none that can be read."""
    try:
        body = json.loads(_place(rack, node).read_text(encoding="utf-8"))
        if body["schema"] != SCHEMA or body["keys"] != sorted(node.host_keys):
            return None
        run = str(body["run"])
        kept = state_home() / "runs" / run / "checks/openscap" / node.name
        found = Remembered(openscap.from_json(body["scan"], kept), float(body["taken"]), run)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if found.scanned.scan is not None and not found.scanned.left_out else None


def remember(rack: Rack, node: Node, scanned: Scanned, run: str, taken: float) -> None:
    """Keep a full scan of a node in the place of the one before.

    Raises:
        OSError: it cannot be written.
    """
    place = _place(rack, node)
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    body = {
        "schema": SCHEMA,
        "run": run,
        "taken": taken,
        "keys": sorted(node.host_keys),
        "scan": openscap.to_json(scanned),
    }
    write_whole(place, json.dumps(body) + "\n", mode=0o600)


def _place(rack: Rack, node: Node) -> Path:
    return state_home() / "scans" / rack.name / f"{node.name}.json"
