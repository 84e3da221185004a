"""The tables of the history, from version to version.

Written for SQLite 3.34, which is EL 9's: no STRICT tables.
"""

from __future__ import annotations

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
