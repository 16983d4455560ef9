"""Keep the current snapshot: the only place where rows are added, masked and merged."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, repeat
from operator import attrgetter
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from contract.article import Article, Vectors
from service.columns import Columns, Facts, Times
from service.id_table import ABSENT, IdTable
from service.popularity import PopularityUpdate
from service.ports import Activation, IndexBuilder, Position, StoredArticle, VectorIndex
from service.saved import Saved
from service.snapshot import Snapshot

# Rows written beyond the live ones before they are merged: 1 % of the catalogue or 2,000.
MERGE_SHARE, MERGE_ROWS = 0.01, 2_000
LOGITS_AT_ONCE = 4_096

Logits: TypeAlias = Callable[[Vectors], NDArray[np.float32]]
Terms: TypeAlias = Callable[[Article], bytes]
Rows: TypeAlias = NDArray[np.intp]
Row: TypeAlias = tuple[Facts, Times, NDArray[np.float32], bytes]
Starter: TypeAlias = Callable[[Callable[[], None]], object]


class Catalogue:
    """Applies what the store says to snapshots; readers take `current` and never lock.

    `logits` gives the attention logits of vectors, (N, D) -> (N,), and `terms` an article's word
    codes; one thread at a time asks for them, and without them there are none. With `indexes` a
    snapshot that was loaded or merged gets an index soon after it is live; building one takes
    seconds, so `start` may hand the work to a thread of its own.
    """

    def __init__(
        self,
        activation: Activation,
        dim: int,
        *,
        history_ttl_s: float,
        merge_rows: int = MERGE_ROWS,
        logits: Logits | None = None,
        terms: Terms | None = None,
        indexes: IndexBuilder | None = None,
        start: Starter = lambda work: work(),
    ) -> None:
        self._dim = dim
        self._history_ttl_s = history_ttl_s
        self._merge_rows = merge_rows
        self.spare_rows = 2 * merge_rows
        self._logits = logits
        self._terms = terms
        self._indexes = indexes
        self._start = start
        self._last_index: VectorIndex | None = None
        self._versions: dict[str, int] = {}
        # Articles that wait for a vector, each with its version.
        self._lacking: dict[str, int] = {}
        self._weights: dict[str, float] = {}
        self._writing, self._is_building = threading.Lock(), False
        self.current = _empty(activation, dim)

    def load(self, batches: Iterable[list[StoredArticle]], now: float) -> None:
        """Replace the whole catalogue by what a scan of the store gives."""
        self._replace(batches, now)
        # What the scan gave is let go of by now: the index needs memory of its own.
        self._index()

    def saved(self, position: Position, revision: int) -> Saved:
        """Return all that `restore` needs; no earlier than a position in the change log."""
        with self._writing:
            snapshot = self.current
            return Saved(
                activation=snapshot.activation,
                position=position,
                revision=revision,
                lacking=dict(self._lacking),
                columns=snapshot.columns,
                rows=np.flatnonzero(snapshot.is_current),
                popularity=snapshot.popularity - snapshot.cooling,
            )

    def restore(self, saved: Saved) -> None:
        """Replace the whole catalogue, its activation included, by one that was saved."""
        columns, popularity = saved.columns, saved.popularity.tolist()
        with self._writing:
            known = {
                facts.id: weight for facts, weight in zip(columns.facts, popularity, strict=True)
            }
            self._weights = {i: weight for i, weight in known.items() if weight > -np.inf}
            self._lacking = dict(saved.lacking)
            self._versions = {facts.id: facts.version for facts in columns.facts} | self._lacking
            self.current = replace(self._over(columns), activation=saved.activation, cooling=0.0)
        self._index()

    def lacking(self) -> list[str]:
        """Return the ids of the articles that wait for a vector."""
        return list(self._lacking)

    def apply(self, changed: Iterable[StoredArticle], now: float) -> int:
        """Take over articles as the store now holds them; return how many were news.

        A version not above the one applied last is ignored, so notifications may come twice or
        out of order. An article without a vector is not shown until its vector arrives.
        """
        with self._writing:
            taken = self._take_over(changed, now)
        self._index()
        return taken

    def fill(self, filled: Iterable[StoredArticle], now: float) -> int:
        """Take over vectors that were made for the very versions applied here, and no others.

        A take-down meanwhile is known here by its version, or not at all after a new load.
        """
        with self._writing:
            known = [s for s in filled if s.version == self._versions.get(s.id)]
            taken = self._take_over(known, now)
        self._index()
        return taken

    def set_popularity(self, update: PopularityUpdate) -> None:
        """Replace the articles' popularity, or that of those whose popularity changed."""
        with self._writing:
            snapshot = self.current
            if update.is_whole:
                self._weights = dict(update.weights)
                popularity = self._popularity(snapshot.columns.facts[: snapshot.count])
            else:
                self._weights.update(update.weights)
                popularity = _changed(snapshot, update.weights)
            self.current = replace(snapshot, popularity=popularity, cooling=update.cooling)

    def set_activation(self, activation: Activation) -> None:
        """Note the activation under which the same namespace is now served."""
        with self._writing:
            self.current = replace(self.current, activation=activation)

    def _replace(self, batches: Iterable[list[StoredArticle]], now: float) -> None:
        rows: dict[str, Row | None] = {}
        versions: dict[str, int] = {}
        lacking: dict[str, int] = {}
        with self._writing:
            # Of an article only what is kept is held: all of all articles is several times as much.
            for stored in chain.from_iterable(batches):
                versions[stored.id] = stored.version
                _note_lacking(lacking, stored)
                rows[stored.id] = None if self._is_forgotten(stored, now) else self._row(stored)
            self.current = self._over(self._columns(rows))
            self._versions, self._lacking = versions, lacking

    def _columns(self, rows: dict[str, Row | None]) -> Columns:
        columns = Columns.empty(len(rows) + self.spare_rows, self._dim)
        for article_id in list(rows):
            # One copy of a vector at a time.
            row = rows.pop(article_id)
            if row is not None:
                columns.append(*row)
        self._fill_logits(columns, 0)
        return columns

    def _take_over(self, changed: Iterable[StoredArticle], now: float) -> int:
        newer = _newest_of_each(stored for stored in changed if self._is_news(stored))
        if newer:
            self.current = self._extended(newer, now)
            self._versions.update({s.id: s.version for s in newer})
            for stored in newer:
                _note_lacking(self._lacking, stored)
        return len(newer)

    def _is_news(self, stored: StoredArticle) -> bool:
        applied = self._versions.get(stored.id, 0)
        if stored.version != applied or stored.vector is None:
            return stored.version > applied
        # The vector of a version already applied without one has arrived.
        return self.current.row(stored.id) == ABSENT

    def _is_forgotten(self, stored: StoredArticle, now: float) -> bool:
        article = stored.article
        expires = article.expires_at if article is not None else None
        return expires is not None and expires.timestamp() + self._history_ttl_s <= now

    def _extended(self, newer: list[StoredArticle], now: float) -> Snapshot:
        snapshot = self.current
        # Rows beyond the count are left over from a write that failed.
        snapshot.columns.cut(snapshot.count)
        if snapshot.columns.room < len(newer):
            snapshot = self._merged(snapshot, now, extra=len(newer))
        recent, masked = dict(snapshot.recent), snapshot.rows([stored.id for stored in newer])
        for stored in newer:
            recent[stored.id] = self._append(snapshot.columns, stored)
        self._fill_logits(snapshot.columns, snapshot.count)
        snapshot = self._sees_all(snapshot, recent, masked)
        return self._merged(snapshot, now) if self._wants_merge(snapshot) else snapshot

    def _wants_merge(self, snapshot: Snapshot) -> bool:
        return len(snapshot.recent) > max(self._merge_rows, MERGE_SHARE * len(snapshot.base))

    def _sees_all(self, snapshot: Snapshot, recent: dict[str, int], masked: Rows) -> Snapshot:
        count = len(snapshot.columns.facts)
        is_current = np.ones(count, bool)
        is_current[: snapshot.count] = snapshot.is_current
        is_current[masked] = False
        added = snapshot.columns.facts[snapshot.count : count]
        popularity = np.concatenate([snapshot.popularity, self._popularity(added)])
        return replace(
            snapshot, count=count, is_current=is_current, recent=recent, popularity=popularity
        )

    def _merged(self, snapshot: Snapshot, now: float, extra: int = 0) -> Snapshot:
        room = self.spare_rows + extra
        expires = snapshot.columns.expires[: snapshot.count]
        kept = snapshot.is_current & (expires + self._history_ttl_s > now)
        return self._over(snapshot.columns.taken(np.flatnonzero(kept), room))

    def _over(self, columns: Columns) -> Snapshot:
        count = len(columns.facts)
        return Snapshot(
            activation=self.current.activation,
            columns=columns,
            count=count,
            is_current=np.ones(count, bool),
            base=IdTable(columns.ids[:count].tolist()),
            recent={},
            popularity=self._popularity(columns.facts),
            cooling=self.current.cooling,
        )

    def _popularity(self, facts: Sequence[Facts]) -> NDArray[np.float64]:
        weights = map(self._weights.get, map(attrgetter("id"), facts), repeat(-np.inf))
        return np.fromiter(weights, np.float64, len(facts))

    def _append(self, columns: Columns, stored: StoredArticle) -> int:
        row = self._row(stored)
        return ABSENT if row is None else columns.append(*row)

    def _row(self, stored: StoredArticle) -> Row | None:
        article, vector = stored.article, stored.vector
        if article is None or vector is None:
            return None
        facts = Facts.of(article, stored.version)
        times = Times.of(article, stored.first_seen)
        return facts, times, vector, self._terms(article) if self._terms is not None else b""

    def _fill_logits(self, columns: Columns, first: int) -> None:
        if self._logits is None:
            return
        for start in range(first, len(columns.facts), LOGITS_AT_ONCE):
            rows = slice(start, min(start + LOGITS_AT_ONCE, len(columns.facts)))
            columns.logits[rows] = self._logits(columns.vectors[rows])

    def _index(self) -> None:
        """Index the live snapshot where it has none; until then it is searched exactly."""
        with self._writing:
            if self._indexes is None or self._is_building or self.current.index is not None:
                return
            self._is_building = True
        self._start(partial(self._build, self._indexes))

    def _build(self, indexes: IndexBuilder) -> None:
        try:
            while self._is_building:
                snapshot = self.current
                index = indexes.build(snapshot.vectors, self._last_index)
                self._hang_in(index, snapshot.columns)
        except BaseException:
            self._is_building = False
            raise

    def _hang_in(self, index: VectorIndex | None, columns: Columns) -> None:
        with self._writing:
            if self.current.columns is not columns:
                # A merge meanwhile has numbered the rows anew: the next index is of those.
                return
            self._is_building = False
            if index is not None:
                self._last_index = index
                self.current = replace(self.current, index=index)


def _changed(snapshot: Snapshot, weights: Mapping[str, float]) -> NDArray[np.float64]:
    rows = snapshot.look_up(list(weights))
    is_known, popularity = rows != ABSENT, snapshot.popularity.copy()
    popularity[rows[is_known]] = np.fromiter(weights.values(), float, len(weights))[is_known]
    return popularity


def _newest_of_each(changed: Iterable[StoredArticle]) -> list[StoredArticle]:
    newest: dict[str, StoredArticle] = {}
    for stored in changed:
        known = newest.get(stored.id)
        if known is None or _order(stored) > _order(known):
            newest[stored.id] = stored
    return list(newest.values())


def _note_lacking(lacking: dict[str, int], stored: StoredArticle) -> None:
    if stored.article is not None and stored.vector is None:
        lacking[stored.id] = stored.version
    else:
        lacking.pop(stored.id, None)


def _order(stored: StoredArticle) -> tuple[int, bool]:
    return stored.version, stored.vector is not None


def _empty(activation: Activation, dim: int) -> Snapshot:
    return Snapshot(
        activation=activation,
        columns=Columns.empty(0, dim),
        count=0,
        is_current=np.ones(0, bool),
        base=IdTable([]),
        recent={},
        popularity=np.zeros(0),
    )
