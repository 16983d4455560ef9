"""Keep the current snapshot: the only place where rows are added, masked and merged."""

import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from contract.article import Article
from service.columns import Columns, Facts, Times
from service.ports import Activation, StoredArticle
from service.snapshot import ABSENT, Snapshot

# Rows written beyond the live ones before they are merged: 1 % of the catalogue or 2,000.
MERGE_SHARE, MERGE_ROWS = 0.01, 2_000


class Catalogue:
    """Applies what the store says to snapshots; readers take `current` and never lock."""

    def __init__(
        self,
        activation: Activation,
        dim: int,
        *,
        history_ttl_s: float,
        merge_rows: int = MERGE_ROWS,
    ) -> None:
        self._dim = dim
        self._history_ttl_s = history_ttl_s
        self._merge_rows = merge_rows
        self._spare_rows = 2 * merge_rows
        self._versions: dict[str, int] = {}
        self._weights: Mapping[str, float] = {}
        self._writing = threading.Lock()
        self.current = _empty(activation, dim)

    def load(self, batches: Iterable[list[StoredArticle]], now: float) -> None:
        """Replace the whole catalogue by what a scan of the store gives."""
        found = {stored.id: stored for batch in batches for stored in batch}
        columns = Columns.empty(len(found) + self._spare_rows, self._dim)
        for stored in found.values():
            if not self._is_forgotten(stored, now):
                _append(columns, stored)
        with self._writing:
            self._versions = {stored.id: stored.version for stored in found.values()}
            self.current = self._over(columns)

    def apply(self, changed: Iterable[StoredArticle], now: float) -> int:
        """Take over articles as the store now holds them; return how many were news.

        A version not above the one applied last is ignored, so notifications may come twice or
        out of order. An article without a vector is not shown until its vector arrives.
        """
        with self._writing:
            return self._take_over(changed, now)

    def fill(self, filled: Iterable[StoredArticle], now: float) -> int:
        """Take over vectors that were made for the very versions applied here, and no others.

        A take-down meanwhile is known here by its version, or not at all after a new load.
        """
        with self._writing:
            known = [s for s in filled if s.version == self._versions.get(s.id)]
            return self._take_over(known, now)

    def set_popularity(self, weights: Mapping[str, float]) -> None:
        """Replace the articles' popularity: log-weights by id."""
        with self._writing:
            self._weights = weights
            snapshot = self.current
            ids = (facts.id for facts in snapshot.columns.facts[: snapshot.count])
            self.current = replace(snapshot, popularity=self._popularity(ids))

    def set_activation(self, activation: Activation) -> None:
        """Note the activation under which the same namespace is now served."""
        with self._writing:
            self.current = replace(self.current, activation=activation)

    def _take_over(self, changed: Iterable[StoredArticle], now: float) -> int:
        newer = _newest_of_each(stored for stored in changed if self._is_news(stored))
        if newer:
            self.current = self._extended(newer, now)
            self._versions.update({s.id: s.version for s in newer})
        return len(newer)

    def _is_news(self, stored: StoredArticle) -> bool:
        applied = self._versions.get(stored.id, 0)
        # The vector of a version already applied without one has arrived.
        fills = stored.vector is not None and self.current.row(stored.id) == ABSENT
        return stored.version > applied or (stored.version == applied and fills)

    def _is_forgotten(self, stored: StoredArticle, now: float) -> bool:
        article = stored.article
        expires = article.expires_at if article is not None else None
        return expires is not None and expires.timestamp() + self._history_ttl_s <= now

    def _extended(self, newer: list[StoredArticle], now: float) -> Snapshot:
        snapshot = self.current
        if snapshot.columns.room < len(newer):
            snapshot = self._merged(snapshot, now, extra=len(newer))
        recent, masked = dict(snapshot.recent), []
        for stored in newer:
            masked.append(recent.get(stored.id, snapshot.base.get(stored.id, ABSENT)))
            recent[stored.id] = _append(snapshot.columns, stored)
        snapshot = self._sees_all(snapshot, recent, masked)
        return self._merged(snapshot, now) if self._wants_merge(snapshot) else snapshot

    def _wants_merge(self, snapshot: Snapshot) -> bool:
        return len(snapshot.recent) > max(self._merge_rows, MERGE_SHARE * len(snapshot.base))

    def _sees_all(self, snapshot: Snapshot, recent: dict[str, int], masked: list[int]) -> Snapshot:
        count = len(snapshot.columns.facts)
        is_current = np.ones(count, bool)
        is_current[: snapshot.count] = snapshot.is_current
        is_current[[row for row in masked if row != ABSENT]] = False
        added = (facts.id for facts in snapshot.columns.facts[snapshot.count : count])
        popularity = np.concatenate([snapshot.popularity, self._popularity(added)])
        return replace(
            snapshot, count=count, is_current=is_current, recent=recent, popularity=popularity
        )

    def _merged(self, snapshot: Snapshot, now: float, extra: int = 0) -> Snapshot:
        room = self._spare_rows + extra
        expires = snapshot.columns.expires[: snapshot.count]
        kept = snapshot.is_current & (expires + self._history_ttl_s > now)
        return self._over(snapshot.columns.taken(np.flatnonzero(kept), room))

    def _over(self, columns: Columns) -> Snapshot:
        ids = [facts.id for facts in columns.facts]
        return Snapshot(
            activation=self.current.activation,
            columns=columns,
            count=len(ids),
            is_current=np.ones(len(ids), bool),
            base={article_id: n for n, article_id in enumerate(ids)},
            recent={},
            popularity=self._popularity(ids),
        )

    def _popularity(self, ids: Iterable[str]) -> NDArray[np.float64]:
        return np.fromiter((self._weights.get(i, -np.inf) for i in ids), np.float64)


def _newest_of_each(changed: Iterable[StoredArticle]) -> list[StoredArticle]:
    newest: dict[str, StoredArticle] = {}
    for stored in changed:
        known = newest.get(stored.id)
        if known is None or _order(stored) > _order(known):
            newest[stored.id] = stored
    return list(newest.values())


def _order(stored: StoredArticle) -> tuple[int, bool]:
    return stored.version, stored.vector is not None


def _append(columns: Columns, stored: StoredArticle) -> int:
    article, vector = stored.article, stored.vector
    if article is None or vector is None:
        return ABSENT
    return columns.append(
        _facts(article, stored.version), _times(article, stored.first_seen), vector
    )


def _facts(article: Article, version: int) -> Facts:
    # Few names are shared by many articles: interned, each is held once.
    topic, source, language = map(sys.intern, (article.topic, article.source, article.language))
    return Facts(article.id, version, article.title, topic, source, language)


def _times(article: Article, first_seen: float) -> Times:
    published = article.published_at
    return Times(
        published=published.timestamp() if published else first_seen,
        is_unknown=published is None,
        embargo=article.embargo_until.timestamp() if article.embargo_until else -np.inf,
        expires=article.expires_at.timestamp() if article.expires_at else np.inf,
    )


def _empty(activation: Activation, dim: int) -> Snapshot:
    return Snapshot(
        activation=activation,
        columns=Columns.empty(0, dim),
        count=0,
        is_current=np.ones(0, bool),
        base={},
        recent={},
        popularity=np.zeros(0),
    )
