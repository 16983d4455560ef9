"""The tables of the SQLite store, and the refusal to read any other format of them."""

import sqlite3
import time
import uuid
import zlib
from typing import Any, Final

from service.adapters.schema import SCHEMA, require_known

TABLES: Final = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS articles (
    id TEXT PRIMARY KEY, version INTEGER NOT NULL, body TEXT NOT NULL, fingerprint TEXT NOT NULL,
    first_seen REAL NOT NULL, taken_down INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS vectors (
    id TEXT NOT NULL, namespace TEXT NOT NULL, frame BLOB NOT NULL, PRIMARY KEY (id, namespace)
);
CREATE TABLE IF NOT EXISTS log (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, token TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS popularity (id TEXT PRIMARY KEY, weight REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS activations (
    generation INTEGER PRIMARY KEY, model TEXT NOT NULL, namespace TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS clicks (
    ends_at REAL NOT NULL, span TEXT NOT NULL, id TEXT NOT NULL, weight REAL NOT NULL,
    revision INTEGER NOT NULL, PRIMARY KEY (ends_at, span, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS clicked ON clicks (ends_at, span, revision);
"""
# Readers' records are on many shelves, each written anew when one of its readers is forgotten.
SHELF: Final = """
CREATE TABLE IF NOT EXISTS {0} (
    pseudonym TEXT PRIMARY KEY, expires_at REAL NOT NULL, body BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS {0}_times ON {0} (expires_at);
"""
SHELVES: Final = [f"readers_{number:02}" for number in range(64)]
# For stores from before positions had tokens: a position of then is a gap, and is scanned once.
ADD_TOKENS: Final = (
    "ALTER TABLE log ADD COLUMN token TEXT NOT NULL DEFAULT ''",
    "UPDATE log SET token = lower(hex(randomblob(8)))",
)
META: Final = "SELECT value FROM meta WHERE name = ?"


def prepare(connection: sqlite3.Connection) -> None:
    """Create what is missing, inside the caller's transaction; raise SchemaUnknown for another."""
    tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'meta'")
    if tables.fetchone()[0]:
        _check(connection)
        _add_tokens(connection)
    for script in (TABLES, *(SHELF.format(shelf) for shelf in SHELVES)):
        for statement in script.split(";"):
            connection.execute(statement)
    # Positions in the log of one file mean nothing in another that took its place.
    first = {"schema": SCHEMA, "birth": uuid.uuid4().hex, "popularity": "0"}
    first |= {"clicks": "0", "forgotten": "0", "wiped": "0"}
    connection.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", first.items())
    # What was imported before the time was kept counts from now on: it weighs against new clicks
    # as it did without any, and grows old from here.
    at = time.time() if int(meta(connection, "popularity")) else 0.0
    connection.execute("INSERT OR IGNORE INTO meta VALUES ('popularity_at', ?)", (repr(at),))


def shelf_of(pseudonym: str) -> str:
    """Return the table that a reader's record is in."""
    return SHELVES[zlib.crc32(pseudonym.encode()) % len(SHELVES)]


def meta(db: sqlite3.Connection, name: str) -> str:
    """Return one of the store's own values."""
    return str(first_row(db, META, (name,))[0])


def set_meta(db: sqlite3.Connection, name: str, value: str) -> None:
    """Change one of the store's own values."""
    db.execute("UPDATE meta SET value = ? WHERE name = ?", (value, name))


def first_row(db: sqlite3.Connection, query: str, values: tuple[object, ...]) -> tuple[Any, ...]:
    """Return a row that every store has; raise DatabaseError without it."""
    row: tuple[Any, ...] | None = db.execute(query, values).fetchone()
    if row is None:
        raise sqlite3.DatabaseError("a row that every store has is missing")
    return row


def _check(connection: sqlite3.Connection) -> None:
    row = connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
    require_known(str(row[0]) if row else "none")


def _add_tokens(connection: sqlite3.Connection) -> None:
    columns = connection.execute("SELECT name FROM pragma_table_info('log')").fetchall()
    if ("token",) in columns:
        return
    for statement in ADD_TOKENS:
        connection.execute(statement)
