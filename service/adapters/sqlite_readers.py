"""Readers' records in SQLite, amended with the clicks that they count, and erased for good."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from service.adapters import sqlite_clicks
from service.adapters.sqlite_database import Database
from service.adapters.sqlite_schema import SHELVES, meta, set_meta, shelf_of
from service.errors import StoreError
from service.ports import Amend, Amendment

BATCH: Final = 500
# Records or sums that one transaction removes: other writers wait for it.
SWEPT_AT_ONCE: Final = 200
# Any column of SQLite can hold any type; only bytes can be a record.
READ = "SELECT body FROM {} WHERE pseudonym = ? AND typeof(body) = 'blob'"
WRITE = """
INSERT INTO {} VALUES (?, ?, ?)
ON CONFLICT (pseudonym) DO UPDATE SET expires_at = excluded.expires_at, body = excluded.body
"""
OTHERS = "SELECT * FROM {} WHERE pseudonym != ? ORDER BY pseudonym"
SCAN = """
SELECT pseudonym, body FROM {} WHERE pseudonym > ? AND typeof(body) = 'blob'
ORDER BY pseudonym LIMIT ?
"""
DUE = "SELECT 1 FROM {} WHERE expires_at <= ? LIMIT 1"
SWEEP = """
DELETE FROM {0} WHERE pseudonym IN
(SELECT pseudonym FROM {0} WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)
"""
SWEEPS = [
    *((DUE.format(shelf), SWEEP.format(shelf)) for shelf in SHELVES),
    (sqlite_clicks.DUE, sqlite_clicks.SWEEP),
]


class SqliteReaders:
    """Keeps each reader's record on one of many shelves, which are small enough to write anew."""

    def __init__(self, database: Database, *, patience_s: float) -> None:
        self._database = database
        self._patience_s = patience_s

    def amend(
        self, pseudonyms: Sequence[str], amend: Amend, *, expires_at: float
    ) -> list[Amendment]:
        """Write what `amend` makes of readers' records, all of them one group and transaction."""
        if not pseudonyms:
            return []
        with self._database.writing() as db:
            made = amend({pseudonym: _record(db, pseudonym) for pseudonym in pseudonyms})
            for pseudonym, raw in made.records.items():
                db.execute(WRITE.format(shelf_of(pseudonym)), (pseudonym, expires_at, raw))
            sqlite_clicks.count(db, made.clicks)
        self.wipe(within_s=0.0)
        return [made]

    def reader(self, pseudonym: str) -> bytes | None:
        """Return a reader's record, None where there is none."""
        with self._database.reading() as db:
            return _record(db, pseudonym)

    def forget(self, pseudonym: str) -> bool:
        """Remove a reader's record; say whether there was one.

        As SQLite balances its trees, copies of a row stay in the gaps of pages that it was once on,
        also with secure_delete. So a whole shelf is emptied, which clears its pages, and filled
        again with all the others.
        """
        shelf = shelf_of(pseudonym)
        with self._database.writing() as db:
            is_there = _record(db, pseudonym) is not None
            others = db.execute(OTHERS.format(shelf), (pseudonym,)).fetchall()
            db.execute(f"DELETE FROM {shelf}")  # noqa: S608 - a name of our own
            db.executemany(f"INSERT INTO {shelf} VALUES (?, ?, ?)", others)  # noqa: S608
            set_meta(db, "forgotten", str(int(meta(db, "forgotten")) + 1))
        self.wipe(within_s=self._patience_s)
        return is_there

    def readers(self) -> Iterator[dict[str, bytes]]:
        """Read all records by pseudonym, in batches."""
        for shelf in SHELVES:
            last = ""
            while True:
                # A transaction for each batch: a slow reader keeps nothing from being wiped.
                with self._database.reading() as db:
                    rows = db.execute(SCAN.format(shelf), (last, BATCH)).fetchall()
                if not rows:
                    break
                yield dict(rows)
                last = rows[-1][0]

    def wipe(self, *, within_s: float) -> None:
        """Let the WAL hold nothing of those who were forgotten, where it still may.

        The file counts who was forgotten and who is wiped, so what one process could not finish,
        beside a long read or because it was killed, is finished by the next write of any.
        """
        with suppress(StoreError):
            with self._database.reading() as db:
                forgotten, wiped = int(meta(db, "forgotten")), int(meta(db, "wiped"))
            if forgotten == wiped or not self._database.empty_wal(within_s=within_s):
                return
            with self._database.writing() as db:
                set_meta(db, "wiped", str(max(forgotten, int(meta(db, "wiped")))))

    def let_go(self, now: float) -> None:
        """Remove what is over, a little at a time, and wipe what is still to be wiped."""
        for due, sweep in SWEEPS:
            while self._is_any(due, now):
                with self._database.writing() as db:
                    db.execute(sweep, (now, SWEPT_AT_ONCE))
        self.wipe(within_s=0.0)

    def _is_any(self, due: str, now: float) -> bool:
        with self._database.reading() as db:
            return db.execute(due, (now,)).fetchone() is not None


def _record(db: sqlite3.Connection, pseudonym: str) -> bytes | None:
    row = db.execute(READ.format(shelf_of(pseudonym)), (pseudonym,)).fetchone()
    return row[0] if row else None
