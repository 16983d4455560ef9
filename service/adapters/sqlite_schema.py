"""The tables of the SQLite store, and the refusal to read any other format of them."""

import sqlite3
import uuid
from typing import Final

from service.adapters.schema import SCHEMA, require_known

TABLES = """
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
"""
# For stores from before positions had tokens: a position of then is a gap, and is scanned once.
ADD_TOKENS: Final = (
    "ALTER TABLE log ADD COLUMN token TEXT NOT NULL DEFAULT ''",
    "UPDATE log SET token = lower(hex(randomblob(8)))",
)


def prepare(connection: sqlite3.Connection) -> None:
    """Create what is missing, inside the caller's transaction; raise SchemaUnknown for another."""
    tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'meta'")
    if tables.fetchone()[0]:
        _check(connection)
        _add_tokens(connection)
        return
    for statement in TABLES.split(";"):
        connection.execute(statement)
    # Positions in the log of one file mean nothing in another that took its place.
    values = [("schema", SCHEMA), ("birth", uuid.uuid4().hex), ("popularity", "0")]
    connection.executemany("INSERT INTO meta VALUES (?, ?)", values)


def _check(connection: sqlite3.Connection) -> None:
    row = connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
    require_known(str(row[0]) if row else "none")


def _add_tokens(connection: sqlite3.Connection) -> None:
    columns = connection.execute("SELECT name FROM pragma_table_info('log')").fetchall()
    if ("token",) in columns:
        return
    for statement in ADD_TOKENS:
        connection.execute(statement)
