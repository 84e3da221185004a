"""What audits found over time: one SQLite file a rack.

A *pull* asks nodes; a *visit* is what came of one node in it; an *audit* is one result, once,
however often it was seen; a *spell* is the time during which one thing (a check, or a check's
part such as a GPU) was not well. Spells, not results, are kept for long: a thing that fails for a
week is one row, one that fails and clears three times is three.

The file is in WAL mode, and a pull is one transaction: a reader sees all of it or nothing.
Written for SQLite 3.34, which is EL 9's: no STRICT tables, no RETURNING.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from provision.core.exitcodes import ExitCode
from provision.core.locks import FileLock, Held
from provision.core.paths import state_home
from provision.core.problems import HoldfastError, Problem
from provision.fleet.kept import Recorded, Spell, Visit, before_of, spell_of
from provision.fleet.recording import Pull
from provision.fleet.tables import MIGRATIONS

KEEP_DAYS = 90
"""How long pulls and spells that ended are kept where nobody says otherwise."""
DAY_S = 86400.0
_APPLICATION = 0x48464155
"""SQLite's application id of our files, so that another program's file is not taken for one."""
_BUSY_MS = 30_000
_SPELLS = """
    SELECT node, "check", entity, board, status, severity, action, seen, fresh, began, last, ended
    FROM spell WHERE ORDER BY began DESC, node, "check", entity LIMIT ?
"""


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
            found = Pull(self.db, at, verb).record(list(visits))
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
                before=before_of(self.db, pull),
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
        return tuple(spell_of(row) for row in rows)


def _cannot(path: Path, error: Exception) -> HoldfastError:
    hint = "free the disk or wait for the other process" if "locked" in str(error) else (
        "move the file away to begin a new history; what it held is then not shown any more"
    )  # fmt: skip
    return _problem(path, f"cannot be used: {error}", hint)


def _problem(path: Path, message: str, hint: str) -> HoldfastError:
    problem = Problem("history", f"the history {path} {message}", hint=hint)
    return HoldfastError([problem], ExitCode.NOT_DONE)
