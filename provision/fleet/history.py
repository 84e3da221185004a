"""What audits found over time: one SQLite file a rack.

A *pull* asks nodes; a *visit* is what came of one node in it; an *audit* is one result, once,
however often it was seen; a *spell* is the time during which one thing (a check, or a check's
part such as a GPU) was not well. Spells, not results, are kept for long: a thing that fails for a
week is one row, one that fails and clears three times is three.

The file is in WAL mode, and a pull is one transaction: a reader sees all of it or nothing.
Written for SQLite 3.34, which is EL 9's: no STRICT tables, no RETURNING.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Self

from provision.checks.audit_result import AuditResult, Judged
from provision.core.exitcodes import ExitCode
from provision.core.locks import FileLock, Held
from provision.core.paths import state_home
from provision.core.problems import HoldfastError, Problem

KEEP_DAYS = 90
"""How long pulls and spells that ended are kept where nobody says otherwise."""
DAY_S = 86400.0
_APPLICATION = 0x48464155
"""SQLite's application id of our files, so that another program's file is not taken for one."""
_BUSY_MS = 30_000
_GATING = ("fail", "unknown")
_SEEN = 1000
"""The most characters of evidence that a spell keeps."""
_MOST_ENTITIES = 256
"""Of how many parts of one check spells are kept: eight GPUs have 144 links."""

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE pull (
        id INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        verb TEXT NOT NULL CHECK (verb IN ('run', 'report'))
    );
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY,
        pull INTEGER NOT NULL REFERENCES pull ON DELETE CASCADE,
        node TEXT NOT NULL,
        boot TEXT NOT NULL,
        ended REAL NOT NULL,
        at REAL NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('pass', 'fail', 'unknown')),
        failed INTEGER NOT NULL,
        unknown INTEGER NOT NULL,
        passed INTEGER NOT NULL,
        seconds REAL NOT NULL,
        cpu_s REAL NOT NULL,
        driver TEXT NOT NULL,
        UNIQUE (node, boot, ended)
    );
    CREATE INDEX audit_by_pull ON audit (pull);
    CREATE TABLE visit (
        pull INTEGER NOT NULL REFERENCES pull ON DELETE CASCADE,
        node TEXT NOT NULL,
        outcome TEXT NOT NULL,
        why TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('pass', 'fail', 'unknown')),
        audit INTEGER REFERENCES audit ON DELETE SET NULL,
        PRIMARY KEY (pull, node)
    ) WITHOUT ROWID;
    CREATE INDEX visit_by_audit ON visit (audit);
    CREATE TABLE latest (
        node TEXT PRIMARY KEY,
        audit INTEGER NOT NULL REFERENCES audit ON DELETE CASCADE,
        document BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX latest_by_audit ON latest (audit);
    CREATE TABLE board (
        node TEXT NOT NULL,
        bus TEXT NOT NULL,
        uuid TEXT NOT NULL,
        serial TEXT NOT NULL,
        name TEXT NOT NULL,
        first REAL NOT NULL,
        last REAL NOT NULL,
        PRIMARY KEY (node, bus, uuid, serial)
    ) WITHOUT ROWID;
    CREATE TABLE spell (
        id INTEGER PRIMARY KEY,
        node TEXT NOT NULL,
        "check" TEXT NOT NULL,
        entity TEXT NOT NULL,
        board TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('fail', 'unknown')),
        severity TEXT NOT NULL,
        action TEXT NOT NULL,
        seen TEXT NOT NULL,
        fresh INTEGER NOT NULL,
        began REAL NOT NULL,
        last REAL NOT NULL,
        ended REAL,
        first_pull INTEGER REFERENCES pull ON DELETE SET NULL,
        ended_pull INTEGER REFERENCES pull ON DELETE SET NULL
    );
    CREATE UNIQUE INDEX spell_open ON spell (node, "check", entity) WHERE ended IS NULL;
    CREATE INDEX spell_by_began ON spell (began);
    CREATE INDEX spell_by_first ON spell (first_pull);
    CREATE INDEX spell_by_end ON spell (ended_pull);
    """,
)
"""What makes each version of the file out of the one before; the first out of nothing."""


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


def place(rack: str) -> Path:
    """The file that holds the history of a rack."""
    return state_home() / "audit" / f"{rack}.sqlite"


class History:
    """The history of one rack. Close it, or use it as a context."""

    def __init__(self, path: Path, migrations: Sequence[str] = MIGRATIONS) -> None:
        """Open or make the file, and bring it to this release's version.

        Raises:
            HoldfastError: it is not a history, is of a newer release, is damaged, or cannot be
                written (exit code 3).
        """
        self.path = path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not path.exists():
                path.touch(mode=0o600)
            # Each statement of a transaction is said here, none is begun behind our back.
            self.db = sqlite3.connect(path, timeout=_BUSY_MS / 1000, isolation_level=None)
            self.db.row_factory = sqlite3.Row
        except (OSError, sqlite3.Error) as error:
            raise _cannot(path, error) from error
        with self._said():
            self.db.execute("PRAGMA foreign_keys = ON")
            self._migrate(migrations)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ending: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self.db.close()

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            self.db.close()
            raise _cannot(self.path, error) from error

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """One transaction: all of it or nothing."""
        with self._said():
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self.db.execute("ROLLBACK")
                raise
            self.db.execute("COMMIT")

    def _migrate(self, migrations: Sequence[str]) -> None:
        if self._version(len(migrations)) == len(migrations):
            return
        lock = self.path.with_name(f"{self.path.name}.lock")
        try:
            # Two that begin a history at once would meet in the change to WAL, which waits for
            # nobody.
            with FileLock(lock, wait=_BUSY_MS / 1000):
                self._bring(migrations)
        except Held as error:
            self.db.close()
            raise _problem(self.path, "is being made by another process", "try again") from error

    def _bring(self, migrations: Sequence[str]) -> None:
        missing = migrations[self._version(len(migrations)) :]
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("BEGIN IMMEDIATE")
        try:
            for script in missing:
                for statement in filter(str.strip, script.split(";")):
                    self.db.execute(statement)
            self.db.execute(f"PRAGMA application_id = {_APPLICATION}")
            self.db.execute(f"PRAGMA user_version = {len(migrations)}")
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def _version(self, known: int) -> int:
        """The file's version; 0 where it is empty.

        Raises:
            HoldfastError: it is another program's file, or of a newer release.
        """
        self.db.execute("BEGIN")  # so that all three are of one moment
        version = self._number("user_version")
        ours = self._number("application_id") in (0, _APPLICATION)
        used = self.db.execute("SELECT 1 FROM sqlite_master").fetchone() is not None
        self.db.execute("COMMIT")
        if not ours or (version == 0 and used):
            self.db.close()
            raise _problem(self.path, "is not a history of audits", "move it away")
        if version > known:
            self.db.close()
            raise _problem(
                self.path,
                f"was written by a newer release (version {version})",
                "use that release, or move the file away",
            )
        return version

    def _number(self, pragma: str) -> int:
        return int(self.db.execute(f"PRAGMA {pragma}").fetchone()[0])

    @property
    def keep_days(self) -> int:
        """How long is kept."""
        row = self.db.execute("SELECT value FROM setting WHERE name = 'keep_days'").fetchone()
        return int(row[0]) if row else KEEP_DAYS

    def record(
        self, visits: Iterable[Visit], *, at: float, verb: str, keep_days: int | None = None
    ) -> Recorded:
        """Keep a pull, and forget what is older than is kept; one transaction.

        Args:
            visits: what came of each node.
            at: when the nodes were asked, Unix seconds.
            verb: ``run`` or ``report``.
            keep_days: how many days are kept from now on.

        Raises:
            HoldfastError: the file cannot be read or written (exit code 3).
        """
        with self._whole():
            if keep_days is not None:
                self.db.execute(
                    "INSERT INTO setting VALUES ('keep_days', ?)"
                    " ON CONFLICT (name) DO UPDATE SET value = excluded.value", (str(keep_days),)
                )  # fmt: skip
            found = _Pull(self.db, at, verb).record(list(visits))
            self._forget(at - self.keep_days * DAY_S)
        return found

    def _forget(self, before: float) -> None:
        self.db.execute("DELETE FROM spell WHERE ended < ?", (before,))
        self.db.execute("DELETE FROM pull WHERE at < ?", (before,))
        self.db.execute("DELETE FROM board WHERE last < ?", (before,))

    def last_pull(self) -> Recorded | None:
        """The last pull as `record` told of it, or None without any.

        Raises:
            HoldfastError: the file cannot be read (exit code 3).
        """
        with self._said():
            rows = self.db.execute("SELECT id, at FROM pull ORDER BY id DESC LIMIT 2").fetchall()
            if not rows:
                return None
            pull, at = int(rows[0]["id"]), float(rows[0]["at"])
            since = float(rows[1]["at"]) if len(rows) > 1 else None
            return Recorded(
                pull,
                at,
                since,
                began=self._spells("first_pull = ?", (pull,)),
                ended=self._spells("ended_pull = ?", (pull,)),
                before=_before(self.db, pull),
            )

    def outcomes(self) -> dict[str, tuple[str, str]]:
        """What came of asking each node the last time: outcome and reason.

        Raises:
            HoldfastError: the file cannot be read (exit code 3).
        """
        with self._said():
            rows = self.db.execute(
                "SELECT v.node, v.outcome, v.why FROM visit v"
                " JOIN (SELECT node, max(pull) AS pull FROM visit GROUP BY node) m"
                " ON m.node = v.node AND m.pull = v.pull"
            )
            return {str(r["node"]): (str(r["outcome"]), str(r["why"])) for r in rows}

    def latest(self) -> dict[str, tuple[bytes, float]]:
        """The last result of each node as it came, and when that audit ended by our clock.

        Raises:
            HoldfastError: the file cannot be read (exit code 3).
        """
        with self._said():
            rows = self.db.execute(
                "SELECT latest.node, document, at FROM latest JOIN audit ON audit.id = audit"
            ).fetchall()
            return {str(r["node"]): (zlib.decompress(r["document"]), float(r["at"])) for r in rows}

    def trends(self, pulls: int) -> tuple[list[float], dict[str, list[tuple[int, int | None]]]]:
        """The last pulls: when each was, and per node (index, how many checks are not well).

        The number is None where the pull brought nothing that proves anything.

        Raises:
            HoldfastError: the file cannot be read (exit code 3).
        """
        with self._said():
            rows = self.db.execute(
                "SELECT id, at FROM pull ORDER BY id DESC LIMIT ?", (pulls,)
            ).fetchall()[::-1]
            index = {int(r["id"]): n for n, r in enumerate(rows)}
            found: dict[str, list[tuple[int, int | None]]] = defaultdict(list)
            for pull, node, outcome, bad in self.db.execute(
                "SELECT visit.pull, visit.node, visit.outcome, audit.failed + audit.unknown"
                " FROM visit LEFT JOIN audit ON audit.id = visit.audit"
                " WHERE visit.pull >= ? ORDER BY visit.pull", (min(index, default=0),)
            ):  # fmt: skip
                if pull in index:
                    found[node].append((index[pull], bad if outcome == "fresh" else None))
            return [float(r["at"]) for r in rows], dict(found)

    def spells(
        self, *, since: float = 0.0, node: str = "*", check: str = "*", most: int = 100_000
    ) -> tuple[Spell, ...]:
        """Spells that lasted or were seen after `since`, the newest first.

        Args:
            since: Unix seconds.
            node: a shell pattern of names.
            check: a shell pattern of checks; everything below a check goes with it.
            most: the most spells.

        Raises:
            HoldfastError: the file cannot be read (exit code 3).
        """
        with self._said():
            return self._spells(
                '(ended IS NULL OR ended >= ?) AND node GLOB ? AND ("check" GLOB ?'
                ' OR "check" GLOB ?)', (since, node, check, f"{check}.*"), most,
            )  # fmt: skip

    def repeats(self, since: float) -> tuple[Spell, ...]:
        """Spells that began well after `since`, each a trouble of its own.

        Raises:
            HoldfastError: the file cannot be read (exit code 3).
        """
        with self._said():
            return self._spells("began >= ? AND fresh", (since,))

    def _spells(
        self, where: str, values: tuple[Any, ...], most: int = 1_000_000
    ) -> tuple[Spell, ...]:
        rows = self.db.execute(_SPELLS.replace("WHERE", f"WHERE {where}"), (*values, most))
        return tuple(_spell(row) for row in rows)


class _Pull:
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
        before = _before(self.db, self.id)
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
        self.gone.append(replace(_spell(row), ended=at))


_SPELLS = """
    SELECT node, "check", entity, board, status, severity, action, seen, fresh, began, last, ended
    FROM spell WHERE ORDER BY began DESC, node, "check", entity LIMIT ?
"""


def _spell(row: sqlite3.Row) -> Spell:
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


def _before(db: sqlite3.Connection, pull: int) -> dict[str, Before]:
    """What was known of each node before a pull: its visit before, its audit before."""
    rows = db.execute(
        "SELECT v.node, v.outcome, v.status, a.boot, a.driver FROM visit v"
        " JOIN (SELECT node, max(pull) AS pull FROM visit WHERE pull < ? GROUP BY node) m"
        " ON m.node = v.node AND m.pull = v.pull LEFT JOIN audit a ON a.id = v.audit", (pull,)
    )  # fmt: skip
    return {str(r[0]): Before(str(r[1]), str(r[2]), r[3] or "", r[4] or "") for r in rows}


def _cannot(path: Path, error: Exception) -> HoldfastError:
    hint = "free the disk or wait for the other process" if "locked" in str(error) else (
        "move the file away to begin a new history; what it held is then not shown any more"
    )  # fmt: skip
    return _problem(path, f"cannot be used: {error}", hint)


def _problem(path: Path, message: str, hint: str) -> HoldfastError:
    problem = Problem("history", f"the history {path} {message}", hint=hint)
    return HoldfastError([problem], ExitCode.NOT_DONE)
