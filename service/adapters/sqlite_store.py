"""The store in one SQLite file: one host, any number of processes, nothing installed beside."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from secrets import token_hex
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from service.adapters import sqlite_clicks, sqlite_schema
from service.adapters.frames import FrameError, OnRejected, encode, ignore
from service.adapters.records import Raw, Reading
from service.adapters.shared_keys import field_of, new_key, read_key
from service.adapters.sqlite_database import BUSY_TIMEOUT_S, Database
from service.adapters.sqlite_readers import SqliteReaders
from service.adapters.sqlite_schema import META, first_row, meta
from service.ports import (
    Activation,
    Amend,
    Amendment,
    Changes,
    Clicks,
    PopularityTable,
    Position,
    Publication,
    Span,
    StoredArticle,
)

BATCH = 500
CHANGES_LIMIT = 4_096
LOG_LIMIT = 100_000

COLUMNS = "a.id, a.version, a.body, a.fingerprint, a.first_seen, a.taken_down, v.frame"
JOINED = "FROM articles a LEFT JOIN vectors v ON v.id = a.id AND v.namespace = ?"
FETCH = f"SELECT {COLUMNS} {JOINED} WHERE a.id IN (SELECT value FROM json_each(?))"  # noqa: S608
SCAN = f"SELECT {COLUMNS} {JOINED} WHERE a.id > ? AND NOT a.taken_down ORDER BY a.id LIMIT ?"
PUBLISH = """
INSERT INTO articles (id, version, body, fingerprint, first_seen) VALUES (?, 1, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET version = version + 1, body = excluded.body,
fingerprint = excluded.fingerprint, taken_down = 0 RETURNING version
"""
TAKE_DOWN = """
UPDATE articles SET version = version + 1, body = '', fingerprint = '', taken_down = 1
WHERE id = ? AND NOT taken_down RETURNING version
"""
Row = tuple[str, int, str, str, float, int, bytes | None]


class SqliteStore:
    """Keeps everything in one file in WAL mode; a write returns after its fsync."""

    def __init__(
        self,
        path: Path,
        *,
        on_rejected: OnRejected = ignore,
        log_limit: int = LOG_LIMIT,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
    ) -> None:
        self._on_rejected = on_rejected
        self._log_limit = log_limit
        self._dims: dict[str, int] = {}
        self._database = Database(path, busy_timeout_s=busy_timeout_s)
        with self._database.writing() as db:
            sqlite_schema.prepare(db)
        self._readers = SqliteReaders(self._database, patience_s=busy_timeout_s)
        self._readers.wipe(within_s=0.0)

    def publish(
        self, publications: Sequence[Publication], *, namespace: str, now: float
    ) -> list[int]:
        """Write each article with its vector atomically; return its new version, in order.

        All of one call is one transaction.
        """
        frames = [_frame(p.vector, p.fingerprint, namespace) for p in publications]
        versions = []
        with self._database.writing() as db:
            self._claim_dim(db, namespace, (p.vector for p in publications))
            for publication, frame in zip(publications, frames, strict=True):
                article = publication.article
                values = (article.id, article.model_dump_json(), publication.fingerprint, now)
                versions.append(int(first_row(db, PUBLISH, values)[0]))
                _write_frame(db, article.id, namespace, frame)
            self._notify(db, [p.article.id for p in publications])
        return versions

    def take_down(self, article_id: str) -> int | None:
        """Remove an article and all its vectors; return the new version, None if unknown."""
        with self._database.writing() as db:
            changed = db.execute(TAKE_DOWN, (article_id,)).fetchall()
            if not changed:
                return None
            db.execute("DELETE FROM vectors WHERE id = ?", (article_id,))
            self._notify(db, [article_id])
        return int(changed[0][0])

    def fetch(self, ids: Sequence[str], *, namespace: str) -> dict[str, StoredArticle]:
        """Read articles by id, those taken down included; unknown ids are absent."""
        with self._database.reading() as db:
            return self._fetch(db, ids, namespace)

    def scan(self, *, namespace: str) -> Iterator[list[StoredArticle]]:
        """Read every article that is not taken down, in batches, in no set order."""
        last = ""
        while True:
            # A transaction for each batch: a slow reader must not keep the WAL from shrinking.
            with self._database.reading() as db:
                rows = db.execute(SCAN, (namespace, last, BATCH)).fetchall()
                reading = self._reading(db, namespace)
            if not rows:
                return
            yield list(_articles(rows, reading))
            last = rows[-1][0]

    def fill(
        self, vectors: Mapping[str, tuple[str, NDArray[np.float32]]], *, namespace: str
    ) -> None:
        """Add vectors where this very text has none: id -> (fingerprint of the text, vector)."""
        frames = {i: _frame(vector, text, namespace) for i, (text, vector) in vectors.items()}
        with self._database.writing() as db:
            self._claim_dim(db, namespace, (vector for _, vector in vectors.values()))
            there = self._fetch(db, list(vectors), namespace)
            wanted = [
                stored.id
                for stored in there.values()
                if stored.fingerprint == vectors[stored.id][0] and stored.vector is None
            ]
            for article_id in wanted:
                _write_frame(db, article_id, namespace, frames[article_id])
            self._notify(db, wanted)

    def position(self) -> Position:
        """Return the end of the log as of now; take it before a scan."""
        with self._database.reading() as db:
            return _position(db, _log_end(db))

    def changes(self, since: Position) -> Changes:
        """Return what was written since, at most a few thousand ids; never blocks for news.

        Where the log does not reach back that far, the position is its end as of now.
        """
        with self._database.reading() as db:
            end = _log_end(db)
            seq = int(since[1]) if since[:1] == (meta(db, "birth"),) else -1
            # A file restored from a backup numbers other writes alike; their tokens differ.
            if not _log_start(db, end) <= seq <= end or since != _position(db, seq):
                return Changes((), _position(db, end), is_complete=False)
            query = "SELECT seq, id FROM log WHERE seq > ? ORDER BY seq LIMIT ?"
            rows = db.execute(query, (seq, CHANGES_LIMIT)).fetchall()
            last = _position(db, rows[-1][0]) if rows else since
        return Changes(tuple(row[1] for row in rows), last, is_complete=True)

    def replace_popularity(self, weights: Mapping[str, float], *, at: float) -> int:
        """Replace all imported log-weights, as of a time; return the new revision."""
        with self._database.writing() as db:
            return sqlite_clicks.replace(db, weights, at)

    def popularity(self, since: int) -> PopularityTable | None:
        """Return the table when its revision is beyond `since`, else None; revision 0 is empty."""
        with self._database.reading() as db:
            return sqlite_clicks.table(db, since)

    def clicks(self, spans: Sequence[Span], since: Position) -> Clicks:
        """Return the sums of some spans that changed since a mark; () before the first."""
        with self._database.reading() as db:
            return sqlite_clicks.changed(db, spans, since)

    def amend(
        self, pseudonyms: Sequence[str], amend: Amend, *, expires_at: float, now: float
    ) -> list[Amendment]:
        """Write what `amend` makes of readers' records, with the clicks that it counts.

        All of one call is one transaction, and `amend` is asked once.
        """
        return self._readers.amend(pseudonyms, amend, expires_at=expires_at)

    def reader(self, pseudonym: str) -> bytes | None:
        """Return a reader's record, None where there is none."""
        return self._readers.reader(pseudonym)

    def forget(self, pseudonym: str) -> bool:
        """Remove a reader's record for good; say whether there was one.

        No file holds anything of it then; but what a read of another process keeps in the WAL is
        wiped by the first `let_go` or amendment of any process after that read.
        """
        return self._readers.forget(pseudonym)

    def readers(self) -> Iterator[Mapping[str, bytes]]:
        """Read all records by pseudonym, in batches, in no set order."""
        return self._readers.readers()

    def let_go(self, now: float) -> None:
        """Remove records and sums whose time is over, and finish what `forget` could not."""
        self._readers.let_go(now)

    def activate(self, *, model: str, namespace: str) -> Activation:
        """Make a model active; the one already active keeps its generation."""
        # Without a write lock where nothing is to be written: processes start beside long imports.
        current = self.active()
        if _is_of(current, model, namespace):
            return current
        with self._database.writing() as db:
            current = _active(db)
            if _is_of(current, model, namespace):
                return current
            activation = Activation(current.generation + 1 if current else 1, model, namespace)
            values = (activation.generation, model, namespace)
            db.execute("INSERT INTO activations VALUES (?, ?, ?)", values)
        return activation

    def active(self) -> Activation | None:
        """Return the active record, None before the first activation."""
        with self._database.reading() as db:
            return _active(db)

    def secret(self, name: str) -> bytes:
        """Return 32 random bytes, made by whoever asks first and the same for everybody after."""
        field = field_of(name)
        with self._database.reading() as db:
            found = db.execute(META, (field,)).fetchone()
        if found is None:
            with self._database.writing() as db:
                db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (field, new_key()))
                found = (meta(db, field),)
        return read_key(str(found[0]))

    def ping(self) -> None:
        """Return when the file can be read."""
        with self._database.reading() as db:
            meta(db, "schema")

    def close(self) -> None:
        """Close the file."""
        self._readers.wipe(within_s=0.0)
        self._database.close()

    def _fetch(
        self, db: sqlite3.Connection, ids: Sequence[str], namespace: str
    ) -> dict[str, StoredArticle]:
        rows = db.execute(FETCH, (namespace, json.dumps(list(ids)))).fetchall()
        return {stored.id: stored for stored in _articles(rows, self._reading(db, namespace))}

    def _reading(self, db: sqlite3.Connection, namespace: str) -> Reading:
        if namespace not in self._dims:
            found = db.execute(META, (f"dim:{namespace}",)).fetchone()
            if found is not None:
                self._dims[namespace] = int(found[0])
        return Reading(namespace, self._dims.get(namespace), self._on_rejected)

    def _claim_dim(
        self, db: sqlite3.Connection, namespace: str, vectors: Iterable[NDArray[np.float32] | None]
    ) -> None:
        """Hold every vector of a namespace to the width of its first."""
        sizes = {vector.size for vector in vectors if vector is not None}
        for size in sizes - {self._dims.get(namespace)}:
            name = f"dim:{namespace}"
            db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, str(size)))
            if int(meta(db, name)) != size:
                raise FrameError("dim")

    def _notify(self, db: sqlite3.Connection, ids: Sequence[str]) -> None:
        token = token_hex(8)
        db.executemany("INSERT INTO log (id, token) VALUES (?, ?)", ((i, token) for i in ids))
        db.execute("DELETE FROM log WHERE seq <= ?", (_log_end(db) - self._log_limit,))


def _frame(vector: NDArray[np.float32] | None, fingerprint: str, namespace: str) -> bytes | None:
    if vector is None:
        return None
    return encode(vector, namespace=namespace, fingerprint=fingerprint)


def _write_frame(
    db: sqlite3.Connection, article_id: str, namespace: str, frame: bytes | None
) -> None:
    if frame is not None:
        values = (article_id, namespace, frame)
        db.execute("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", values)


def _articles(rows: Iterable[Row], reading: Reading) -> Iterator[StoredArticle]:
    for article_id, version, body, fingerprint, first_seen, taken_down, frame in rows:
        # Any column of SQLite can hold any type; only bytes can be a frame.
        frames = [frame] if isinstance(frame, bytes) else []
        text = None if taken_down else body
        stored = reading.article(Raw(article_id, version, text, fingerprint, first_seen, frames))
        if stored is not None:
            yield stored


def _position(db: sqlite3.Connection, seq: int) -> Position:
    """Return the birth of the file, a number in its log, and the token of the write of then.

    Numbers that were never given, or whose entry was trimmed, have the empty token.
    """
    row = db.execute("SELECT token FROM log WHERE seq = ?", (seq,)).fetchone()
    return meta(db, "birth"), str(seq), str(row[0]) if row else ""


def _log_end(db: sqlite3.Connection) -> int:
    """Return the last number ever given, also when nothing is left of the log."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'log'").fetchone()
    return int(row[0]) if row else 0


def _log_start(db: sqlite3.Connection, end: int) -> int:
    """Return the number from which on nothing was trimmed."""
    (first,) = first_row(db, "SELECT min(seq) FROM log", ())
    return end if first is None else int(first) - 1


def _is_of(current: Activation | None, model: str, namespace: str) -> TypeGuard[Activation]:
    return current is not None and (current.model, current.namespace) == (model, namespace)


def _active(db: sqlite3.Connection) -> Activation | None:
    query = "SELECT generation, model, namespace FROM activations ORDER BY generation DESC LIMIT 1"
    row = db.execute(query).fetchone()
    return Activation(*row) if row else None
