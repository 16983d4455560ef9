"""Popularity in SQLite: the imported table, and the sums of clicks, numbered as they change."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from service.adapters.marks import mark_of, revision_of
from service.adapters.sqlite_schema import meta, set_meta
from service.ports import Clicks, PopularityTable, Position, Span, Weights

COUNT = """
INSERT INTO clicks VALUES (?, ?, ?, ?, ?)
ON CONFLICT (ends_at, span, id) DO UPDATE SET weight = weight + excluded.weight,
revision = excluded.revision
"""
CHANGED = "SELECT id, weight FROM clicks WHERE ends_at = ? AND span = ? AND revision > ?"
DUE = "SELECT 1 FROM clicks WHERE ends_at <= ? LIMIT 1"
SWEEP = """
DELETE FROM clicks WHERE (ends_at, span, id) IN
(SELECT ends_at, span, id FROM clicks WHERE ends_at <= ? LIMIT ?)
"""


def replace(db: sqlite3.Connection, weights: Mapping[str, float], at: float) -> int:
    """Replace the imported log-weights, as of a time; return the new revision."""
    db.execute("DELETE FROM popularity")
    db.executemany("INSERT INTO popularity VALUES (?, ?)", weights.items())
    revision = int(meta(db, "popularity")) + 1
    set_meta(db, "popularity", str(revision))
    set_meta(db, "popularity_at", repr(float(at)))
    return revision


def table(db: sqlite3.Connection, since: int) -> PopularityTable | None:
    """Return the imported table when its revision is beyond `since`, else None."""
    revision = int(meta(db, "popularity"))
    if revision <= since:
        return None
    weights = dict(db.execute("SELECT id, weight FROM popularity"))
    return PopularityTable(revision, weights, float(meta(db, "popularity_at")))


def count(db: sqlite3.Connection, clicks: Weights) -> None:
    """Add weights to the sums, under a revision of their own."""
    if not clicks:
        return
    revision = int(meta(db, "clicks")) + 1
    set_meta(db, "clicks", str(revision))
    db.executemany(COUNT, _rows(clicks, revision))


def changed(db: sqlite3.Connection, spans: Sequence[Span], since: Position) -> Clicks:
    """Return the sums of some spans that changed since a mark, all where it is not of this file."""
    birth, now = meta(db, "birth"), int(meta(db, "clicks"))
    revision = revision_of(since, birth, spans)
    # A file restored from a backup knows nothing of revisions beyond its own.
    is_whole = revision is None or revision > now
    last = -1 if revision is None or is_whole else revision
    sums = {span: dict(db.execute(CHANGED, (span.ends_at, span.name, last))) for span in spans}
    return Clicks(sums, mark_of(birth, now, spans), is_whole)


def _rows(clicks: Weights, revision: int) -> Iterable[tuple[float, str, str, float, int]]:
    for span, weights in clicks.items():
        for article_id, weight in weights.items():
            yield span.ends_at, span.name, article_id, weight, revision
