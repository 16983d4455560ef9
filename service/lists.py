"""The lists that need no reader: latest, trending, and what is similar to an article.

Each is a walk: its first page settles which articles come and in which order, the pages after it
only leave out what may no longer be shown.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.article import Mask
from service.answer import Answer, Strategy, ids_of
from service.criteria import ANY, Criteria
from service.diversify import Variety, choose, offered
from service.emptiness import why_empty
from service.errors import ArticleUnknown
from service.id_table import ABSENT
from service.orders import best, clicks, newest, popular
from service.paging import Position, remaining
from service.picking import picked
from service.ports import Clock
from service.retrieval import Retrieval
from service.snapshot import Snapshot

Rows = NDArray[np.intp]
Scores = NDArray[np.float64]
# Vectors are of unit length to single precision only: copies of one have a cosine of just 1.
COSINE_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Wanted:
    """One page of a list; with a position it is a later one of the same walk."""

    n: int = 10
    criteria: Criteria = ANY
    collapse: bool = True
    position: Position | None = None


@dataclass(frozen=True, slots=True)
class _Order:
    """How one list ranks: the best k of the eligible rows, in order, and the scores of any."""

    first: Callable[[Mask, int], Rows]
    scores: Callable[[Rows], Scores]
    strategy: Callable[[Scores], Strategy]


class Lists:
    """Answers from one snapshot per request; reads no store and waits for nothing."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        retrieval: Retrieval,
        *,
        clock: Clock,
        retrieved: int,
        stories: Variety,
    ) -> None:
        self._snapshot = snapshot
        self._retrieval = retrieval
        self._clock = clock
        self._retrieved = retrieved
        self._stories = stories

    def latest(self, wanted: Wanted) -> Answer:
        """Return the newest articles; the score is the time, in epoch seconds."""
        snapshot = self._snapshot()
        order = _Order(
            first=lambda eligible, k: newest(snapshot, np.flatnonzero(eligible), k)[0],
            scores=lambda rows: snapshot.columns.published[rows],
            strategy=lambda _: Strategy.LATEST,
        )
        return self._page(snapshot, wanted, order)

    def trending(self, wanted: Wanted) -> Answer:
        """Return the most clicked articles, then the newest; the score is the clicks' weight."""
        snapshot = self._snapshot()
        order = _Order(
            first=lambda eligible, k: popular(snapshot, np.flatnonzero(eligible), k)[0],
            scores=lambda rows: clicks(snapshot, rows),
            strategy=lambda s: Strategy.POPULAR if s.any() else Strategy.LATEST,
        )
        return self._page(snapshot, wanted, order)

    def similar(self, article_id: str, wanted: Wanted) -> Answer:
        """Return the articles nearest to one, which may be expired; the score is the cosine.

        Raise ArticleUnknown when it is not there, taken down, or still under embargo.
        """
        snapshot = self._snapshot()
        row = snapshot.row(article_id)
        if row == ABSENT or snapshot.columns.embargo[row] > self._clock():
            raise ArticleUnknown("no such article")
        vector = snapshot.vectors[row]

        def cosines(rows: Rows) -> Scores:
            products: Scores = snapshot.vectors[rows].astype(np.float64) @ vector
            return products.round(COSINE_DECIMALS)

        def nearest(eligible: Mask, k: int) -> Rows:
            eligible[row] = False
            rows = self._retrieval.rows(snapshot, vector, eligible, k)
            return best(snapshot, rows, cosines(rows), k)[0]

        return self._page(snapshot, wanted, _Order(nearest, cosines, lambda _: Strategy.SIMILAR))

    def _page(self, snapshot: Snapshot, wanted: Wanted, order: _Order) -> Answer:
        now, position = self._clock(), wanted.position
        if position is None:
            eligible = snapshot.eligible(wanted.criteria, now)
            rows = order.first(eligible, max(self._retrieved, wanted.n))
            at, before = now, 0
        else:
            rows = remaining(snapshot, position.ids, now)
            at, before = position.at, position.shown
        scores, places = order.scores(rows), np.arange(len(rows))
        vectors = snapshot.vectors.take(rows, axis=0)
        offer = offered(snapshot, rows, order=places, scores=scores, vectors=vectors)
        choice = choose(offer, wanted.n, self._stories if wanted.collapse else Variety())
        return Answer(
            articles=picked(snapshot.columns, rows, scores, choice.chosen, before=before),
            strategy=order.strategy(scores) if len(rows) else Strategy.NONE,
            degraded=[],
            empty=None if len(rows) else why_empty(snapshot, wanted.criteria, now, position),
            left=ids_of(snapshot.columns, rows[choice.left]),
            at=at,
            shown=before + len(choice.chosen),
            activation=snapshot.activation,
        )
