"""A pull on its way into the history: what is new of each node, which spells begin and end."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections import defaultdict
from dataclasses import replace
from itertools import islice
from typing import Any

from provision.checks.audit_result import AuditResult, Judged
from provision.fleet.kept import Recorded, Spell, Visit, before_of, spell_of

_GATING = ("fail", "unknown")
_SEEN = 1000
"""The most characters of evidence that a spell keeps."""
_MOST_ENTITIES = 256
"""Of how many parts of one check spells are kept: eight GPUs have 144 links."""


class Pull:
    """One pull on its way into the file."""

    def __init__(self, db: sqlite3.Connection, at: float, verb: str) -> None:
        self.db = db
        self.at = at
        self.since: float | None = None
        row = db.execute("SELECT at FROM pull ORDER BY id DESC LIMIT 1").fetchone()
        if row is not None:
            self.since = float(row[0])
        cursor = db.execute("INSERT INTO pull (at, verb) VALUES (?, ?)", (at, verb))
        self.id = int(cursor.lastrowid or 0)
        self.open: dict[tuple[str, str], dict[str, sqlite3.Row]] = defaultdict(dict)
        for row in db.execute("SELECT * FROM spell WHERE ended IS NULL"):
            self.open[row["node"], row["check"]][row["entity"]] = row
        self.seats: dict[str, dict[str, tuple[str, float]]] = defaultdict(dict)
        for row in db.execute("SELECT node, bus, uuid, serial, last FROM board ORDER BY last"):
            self.seats[row["node"]][row["bus"]] = (row["serial"] or row["uuid"], row["last"])
        self.last = {
            str(r["node"]): (int(r["audit"]), str(r["boot"]), float(r["ended"]), float(r["at"]))
            for r in db.execute(
                "SELECT latest.node, latest.audit, audit.boot, audit.ended, audit.at"
                " FROM latest JOIN audit ON audit.id = latest.audit"
            )
        }
        self.began: list[Spell] = []
        self.gone: list[Spell] = []
        self.moved: dict[str, tuple[tuple[str, str, str], ...]] = {}

    def record(self, visits: list[Visit]) -> Recorded:
        """Keep what came of each node; what it became."""
        before = before_of(self.db, self.id)
        for visit in visits:
            audit = self._audit(visit) if visit.result is not None else None
            self.db.execute(
                "INSERT INTO visit VALUES (?, ?, ?, ?, ?, ?)",
                (self.id, visit.node, visit.outcome, visit.why[:_SEEN], visit.status, audit),
            )
        return Recorded(self.id, self.at, self.since, tuple(self.began), tuple(self.gone),
                        before, self.moved)  # fmt: skip

    def _audit(self, visit: Visit) -> int:
        """Keep the result, once; its number."""
        result = visit.result
        assert result is not None
        told = result.document
        known = self.last.get(visit.node)
        if known is not None and known[1:3] == (told["boot"], told["ended"]):
            return known[0]
        # By our clock: what the node's own clock says would not be comparable between nodes.
        at = self.at - visit.age
        failed, unknown = told["counts"]["fail"], told["counts"]["unknown"]
        values = (
            self.id, visit.node, told["boot"], told["ended"], at, result.status.value, failed,
            unknown + len(result.missing), told["counts"]["pass"],
            told["ended"] - told["started"], told["cost"]["cpu_s"],
            told["versions"].get("driver", "")[:_SEEN],
        )  # fmt: skip
        cursor = self.db.execute(
            "INSERT INTO audit (pull, node, boot, ended, at, status, failed, unknown, passed,"
            " seconds, cpu_s, driver) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (node, boot, ended) DO NOTHING", values
        )  # fmt: skip
        if not cursor.rowcount:
            row = self.db.execute(
                "SELECT id FROM audit WHERE node = ? AND boot = ? AND ended = ?",
                (visit.node, told["boot"], told["ended"]),
            ).fetchone()
            return int(row[0])
        audit = int(cursor.lastrowid or 0)
        if known is None or at >= known[3]:
            self._newest(visit.node, result, audit, at)
        return audit

    def _newest(self, node: str, result: AuditResult, audit: int, at: float) -> None:
        document = zlib.compress(json.dumps(result.document, ensure_ascii=False).encode(), 1)
        self.db.execute(
            "INSERT INTO latest VALUES (?, ?, ?) ON CONFLICT (node) DO UPDATE"
            " SET audit = excluded.audit, document = excluded.document", (node, audit, document)
        )  # fmt: skip
        self._seat(node, result, at)
        for finding in result.findings:
            self._follow(node, finding, at)

    def _seat(self, node: str, result: AuditResult, at: float) -> None:
        """Keep which GPU sits where; one that is lost is still known afterwards."""
        earlier = self.seats.get(node, {})
        newest = max((last for _, last in earlier.values()), default=0.0)
        moved = []
        shown: dict[str, str] = {}
        for gpu in result.document["gpus"]:
            bus, uuid, serial, name = (gpu[k][:200] for k in ("bus", "uuid", "serial", "name"))
            new = serial or uuid
            if not new:
                continue
            shown[bus] = new
            old, last = earlier.get(bus, ("", 0.0))
            if old and (old != new or last < newest):
                moved.append((bus, old, new))
            self.db.execute(
                "INSERT INTO board VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (node, bus, uuid, serial) DO UPDATE SET last = excluded.last",
                (node, bus, uuid, serial, name, at, at),
            )
        moved += [
            (bus, old, "")
            for bus, (old, last) in earlier.items()
            if bus not in shown and last == newest
        ]
        self.seats[node] = {**earlier, **{bus: (new, at) for bus, new in shown.items()}}
        if moved:
            self.moved[node] = tuple(moved)

    def _follow(self, node: str, finding: Judged, at: float) -> None:
        """Begin, carry on and end the spells of one check."""
        check = finding["check"]
        bad = _troubles(finding)
        running = dict(self.open.get((node, check), {}))
        if not bad and not running:
            return
        # One that fails where it was unknown, or the other way round, is the same trouble.
        unwell = bool(running)
        for entity, (status, seen) in bad.items():
            row = running.pop(entity, None)
            if row is not None and row["status"] == status:
                self.db.execute(
                    "UPDATE spell SET last = ?, seen = ? WHERE id = ?", (at, seen, row["id"])
                )
                continue
            if row is not None:
                self._end(row, at)
            fresh = row is None and not (unwell and ("" in (entity, *running)))
            self._begin(node, finding, entity, status, seen, fresh=fresh, at=at)
        for row in running.values():
            self._end(row, at)

    def _begin(
        self, node: str, finding: Judged, entity: str, status: str, seen: str, *, fresh: bool,
        at: float,
    ) -> None:  # fmt: skip
        board = self.seats[node].get(entity, ("", 0.0))[0]
        spell = Spell(node, finding["check"], entity, board, status, finding["severity"],
                      finding["action"], seen, fresh, at, at, None)  # fmt: skip
        self.db.execute(
            'INSERT INTO spell (node, "check", entity, board, status, severity, action, seen,'
            " fresh, began, last, ended, first_pull) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (*_values(spell), self.id),
        )
        self.began.append(spell)

    def _end(self, row: sqlite3.Row, at: float) -> None:
        self.db.execute(
            "UPDATE spell SET ended = ?, ended_pull = ? WHERE id = ?", (at, self.id, row["id"])
        )
        self.gone.append(replace(spell_of(row), ended=at))


def _values(s: Spell) -> tuple[Any, ...]:
    return (s.node, s.check, s.entity, s.board, s.status, s.severity, s.action, s.seen, s.fresh,
            s.began, s.last, s.ended)  # fmt: skip


def _troubles(finding: Judged) -> dict[str, tuple[str, str]]:
    """What is not well: status and evidence by entity; the empty one is the check as a whole."""
    if finding["status"] not in _GATING:
        return {}
    parts = (p for p in finding["parts"] if p["status"] in _GATING and p["entity"])
    bad = {
        p["entity"][:200]: (str(p["status"]), p["seen"][:_SEEN])
        for p in islice(parts, _MOST_ENTITIES)
    }
    return bad or {"": (finding["status"], finding["seen"][:_SEEN])}
