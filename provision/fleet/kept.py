"""What the history keeps, as values: visits of nodes, spells, and what a pull became."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field

from provision.checks.audit_result import AuditResult


@dataclass(frozen=True)
class Visit:
    """What came of asking one node.

    Args:
        node: its name in the inventory.
        outcome: ``fresh``, ``stale``, ``unreachable``, ``absent`` (no result there), ``refused``
            (not believed) or ``not_run``.
        why: why it is not fresh; empty where it is.
        result: what was believed, fresh or stale.
        age: seconds between the audit's end and the asking, both by the node's own clock.
        shipped: whether the audit was sent along because the node has none installed.
    """

    node: str
    outcome: str
    why: str = ""
    result: AuditResult | None = None
    age: float = 0.0
    shipped: bool = False

    @property
    def status(self) -> str:
        """The result's status where it is fresh; everything else proves nothing."""
        if self.outcome != "fresh" or self.result is None:
            return "unknown"
        return self.result.status.value


@dataclass(frozen=True)
class Spell:
    """A time during which one thing was not well; `ended` is None while it lasts.

    `entity` is a GPU, link or mount, empty where the check has one result for the node; `board` is
    the GPU's serial number (its UUID where it has none), empty for what is not a GPU. `fresh` is
    false where it was unknown before it failed, or the other way round: one trouble, not two.
    """

    node: str
    check: str
    entity: str
    board: str
    status: str
    severity: str
    action: str
    seen: str
    fresh: bool
    began: float
    last: float
    ended: float | None


@dataclass(frozen=True)
class Before:
    """What was known of a node before a pull."""

    outcome: str
    status: str
    boot: str = ""
    driver: str = ""


@dataclass(frozen=True)
class Recorded:
    """What a pull became in the history.

    Args:
        pull: its number.
        at: when it was, Unix seconds.
        since: when the pull before was; None where it is the first.
        began: spells that began in it.
        ended: spells that ended in it.
        before: what was known of each node before; without the nodes that are new.
        boards: per node (bus, old, new) of each slot whose GPU is not the one of the audit before;
            nothing is new where none is shown, and the same is where it is shown again.
    """

    pull: int
    at: float
    since: float | None
    began: tuple[Spell, ...] = ()
    ended: tuple[Spell, ...] = ()
    before: dict[str, Before] = field(default_factory=dict)
    boards: dict[str, tuple[tuple[str, str, str], ...]] = field(default_factory=dict)


def spell_of(row: sqlite3.Row) -> Spell:
    """The spell that a row of the table holds."""
    return Spell(
        node=row["node"],
        check=row["check"],
        entity=row["entity"],
        board=row["board"],
        status=row["status"],
        severity=row["severity"],
        action=row["action"],
        seen=row["seen"],
        fresh=bool(row["fresh"]),
        began=row["began"],
        last=row["last"],
        ended=row["ended"],
    )


def before_of(db: sqlite3.Connection, pull: int) -> dict[str, Before]:
    """What was known of each node before a pull: its visit before, its audit before."""
    rows = db.execute(
        "SELECT v.node, v.outcome, v.status, a.boot, a.driver FROM visit v"
        " JOIN (SELECT node, max(pull) AS pull FROM visit WHERE pull < ? GROUP BY node) m"
        " ON m.node = v.node AND m.pull = v.pull LEFT JOIN audit a ON a.id = v.audit", (pull,)
    )  # fmt: skip
    return {str(r[0]): Before(str(r[1]), str(r[2]), r[3] or "", r[4] or "") for r in rows}
