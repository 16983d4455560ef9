"""Spool: impressions come in any order and leave by time, then id; they wait on disk."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from contract.article import Impression
from service.mind_export import Shown, mind_time

_SCHEMA = """
CREATE TABLE shown (
at REAL, id TEXT, user TEXT, history TEXT, candidates TEXT, clicks TEXT, propensities TEXT)
"""
# Keys alone are sorted: to sort whole rows would be to write all of them once more.
_SORT = "CREATE INDEX IF NOT EXISTS in_order ON shown (at, id, user)"
_FROM = "FROM shown INDEXED BY in_order"
_BY = "ORDER BY at, id, user"


class Spool:
    """A temporary database of impressions, which SQLite keeps on disk beyond a few megabytes.

    First all are added, then they are read. It raises OSError where the disk has no room.
    """

    def __init__(self) -> None:
        with _told_as_os_error():
            self._db = sqlite3.connect("")
            self._db.execute("PRAGMA journal_mode = OFF")
            self._db.execute(_SCHEMA)

    def add(self, shown: Iterable[tuple[Shown, str]]) -> None:
        """Take impressions, each with the line of its propensities, blank where it has none."""
        rows = (
            (
                one.at,
                one.impression.id,
                one.impression.user_id,
                " ".join(one.impression.history),
                " ".join(one.impression.candidates),
                "".join(map(str, map(int, one.impression.clicks))),
                propensities,
            )
            for one, propensities in shown
        )
        with _told_as_os_error():
            self._db.executemany("INSERT INTO shown VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def impressions(self) -> Iterator[Impression]:
        """Yield the impressions in order."""
        columns = "id, user, at, history, candidates, clicks"
        for event_id, user, at, history, candidates, clicks in self._select(columns):
            yield Impression(
                event_id,
                user,
                mind_time(at),
                tuple(history.split()),
                tuple(candidates.split()),
                tuple(click == "1" for click in clicks),
            )

    def propensities(self) -> Iterator[tuple[str, str, str]]:
        """Yield id, user and propensities of the impressions that have any, in order."""
        return self._select("id, user, propensities", "WHERE propensities != ''")

    def close(self) -> None:
        """Remove the database."""
        self._db.close()

    def _select(self, columns: str, where: str = "") -> Iterator[tuple[Any, ...]]:
        with _told_as_os_error():
            self._db.execute(_SORT)
            yield from self._db.execute(f"SELECT {columns} {_FROM} {where} {_BY}")


@contextmanager
def _told_as_os_error() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(f"the impressions cannot be sorted: {error}") from error
