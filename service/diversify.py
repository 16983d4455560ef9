"""Choose a page: one article a story, novelty against score, so many of a topic or a source.

Greedy by maximal marginal relevance (Carbonell and Goldstein, 1998), over rows found already.
"""

from collections import Counter
from dataclasses import dataclass
from math import ceil, inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contract.article import Vectors
from service.columns import Codes
from service.snapshot import Snapshot

# Single precision: the cosine of a vector with itself may fall so far short of 1.
ROUNDING: Final = 1e-6
# At 1 no score would matter and the worth of a row be without bound.
MOST_DIVERSE: Final = 0.99
# Rows that a product is fastest at: two of the registers that it works in.
BLOCK: Final = 16


@dataclass(frozen=True, slots=True)
class Variety:
    """What a page is to be like; by default nothing is asked.

    `diversity` d weighs novelty against score/`scale`. Articles with a cosine from `same_story` on
    tell one story, when at most `window_s` seconds lie between them.
    """

    diversity: float = 0.0
    scale: float = 1.0
    same_story: float = inf
    window_s: float = inf
    per_topic: int | None = None
    per_source: int | None = None

    @property
    def penalty(self) -> float:
        """Return what a cosine of 1 with a chosen article costs, in units of the score.

        The best (1 - d) score / scale - d cosine is the best score - penalty * cosine.
        """
        d = min(self.diversity, MOST_DIVERSE)
        return self.scale * d / (1 - d)


@dataclass(frozen=True, slots=True)
class Offer:
    """C rows to choose from, and their order (C,), best first.

    `scores` that rise along the order are lowered to the one before. `published` is NaN where the
    time is not known; a topic or a source below 0 is not known either, and never full. Scores that
    are `near` to each other cannot be told apart.
    """

    order: NDArray[np.intp]  # (C,)
    scores: NDArray[np.float64]  # (C,)
    vectors: Vectors  # (C, D)
    published: NDArray[np.float64]  # (C,)
    topics: NDArray[np.int32]  # (C,)
    sources: NDArray[np.int32]  # (C,)
    near: float = 0.0


def offered(
    snapshot: Snapshot,
    rows: NDArray[np.intp],
    *,
    order: NDArray[np.intp],
    scores: NDArray[np.float64],
    vectors: Vectors,
    near: float = 0.0,
) -> Offer:
    """Offer rows of a snapshot; an article without a topic or a source counts for none."""
    columns = snapshot.columns
    published = np.where(columns.time_unknown[rows], np.nan, columns.published[rows])
    topics, sources = _codes(columns.topics, rows), _codes(columns.sources, rows)
    return Offer(order, scores, vectors, published, topics, sources, near)


def _codes(codes: Codes, rows: NDArray[np.intp]) -> NDArray[np.int32]:
    values = codes.values[rows].astype(np.int32)
    values[values == codes.names.get("", -1)] = -1
    return values


@dataclass(frozen=True, slots=True)
class Chosen:
    """A chosen row, the rows that tell its story, best first, and what it lost to others."""

    place: int
    also: tuple[int, ...] = ()
    penalty: float = 0.0


@dataclass(frozen=True, slots=True)
class Choice:
    """The rows of a page, and those left for later ones, in order."""

    chosen: list[Chosen]
    left: NDArray[np.intp]


def choose(offer: Offer, n: int, variety: Variety) -> Choice:
    """Choose up to n rows, best first; fewer when stories and full topics leave no more."""
    shelf = _Shelf(offer, n, variety)
    chosen: list[Chosen] = []
    while len(chosen) < n and (row := shelf.best()) is not None:
        chosen.append(shelf.take(row))
    return Choice(chosen, offer.order[shelf.left])


class _Shelf:
    """What is left to choose from; its rows are numbered in the order of the offer."""

    def __init__(self, offer: Offer, n: int, variety: Variety) -> None:
        order, self._penalty = offer.order, variety.penalty
        self._order, self._published, self._vectors = order, offer.published, offer.vectors
        self._same_story, self._window_s = variety.same_story - ROUNDING, variety.window_s
        self._near = offer.near + ROUNDING / 2 * self._penalty
        # Minus infinity: chosen, told by another, or of a full topic or source.
        self._open = np.minimum.accumulate(offer.scores[order])
        self._next = 0  # no row before it is open
        self._lost = np.zeros(len(order))  # to what is chosen, in units of the score
        self.left = np.ones(len(order), bool)  # neither chosen nor told by another
        self._compares = self._penalty > 0 or variety.same_story < inf
        self._likely = self._cosines_of_first(n if self._compares else 0)  # (L, C)
        self._tells = np.count_nonzero(self._likely >= self._same_story, axis=1).tolist()
        caps = (offer.topics, variety.per_topic), (offer.sources, variety.per_source)
        self._caps = [
            (codes[order], most, Counter[int]()) for codes, most in caps if most is not None
        ]

    def best(self) -> int | None:
        """Return the row to choose next, None when there is none."""
        if not self._penalty:
            return self._first_open()
        if not len(self._open):
            return None
        worth = self._open - self._lost
        most = worth[worth.argmax()]
        # Of rows that cannot be told apart the first.
        return None if most == -inf else int((worth >= most - self._near).argmax())

    def take(self, row: int) -> Chosen:
        """Choose a row: close its story and whatever it fills."""
        lost = float(self._lost[row])
        self._open[row], self.left[row] = -inf, False
        also = self._told_with(row) if self._compares else ()
        for codes, most, counts in self._caps:
            code = int(codes[row])
            counts[code] += 1
            if code >= 0 and counts[code] == most:
                self._open[codes == code] = -inf
        return Chosen(int(self._order[row]), also, lost)

    def _first_open(self) -> int | None:
        # Without penalties rows are worth what they score, and that falls along the order.
        while self._next < len(self._open):
            if self._open[self._next] > -inf:
                return self._next
            self._next += 1
        return None

    def _cosines_of_first(self, n: int) -> Vectors:
        """Return the cosines of the rows that are likely chosen with all others: (L, C).

        One product of whole blocks is faster than a product for each row that is chosen.
        """
        likely = BLOCK * ceil(1.2 * n / BLOCK)
        first = self._vectors.take(self._order[:likely], axis=0)  # (L, D)
        return np.ascontiguousarray((self._vectors @ first.T).take(self._order, axis=0).T)

    def _told_with(self, row: int) -> tuple[int, ...]:
        cosines = self._cosines(row)
        if self._penalty:
            np.maximum(self._lost, self._penalty * cosines, out=self._lost)
        if row < len(self._tells) and self._tells[row] < 2:  # nobody's story but its own
            return ()
        same = np.flatnonzero((cosines >= self._same_story) & self.left)
        places = self._order[same]
        apart = np.abs(self._published[places] - self._published[self._order[row]])
        # Where a time is not known the distance is NaN, and no reason against one story.
        is_told = ~(apart > self._window_s)
        self._open[same[is_told]], self.left[same[is_told]] = -inf, False
        return tuple(places[is_told].tolist())

    def _cosines(self, row: int) -> NDArray[np.float32]:
        """Return the cosines of a row with all rows: (C,)."""
        if row < len(self._likely):
            return np.asarray(self._likely[row])
        return np.asarray((self._vectors @ self._vectors[self._order[row]]).take(self._order))
