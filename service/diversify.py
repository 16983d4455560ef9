"""Choose a page: one article a story, novelty against score, so many of a topic or a source.

Greedy by maximal marginal relevance (Carbonell and Goldstein, 1998), over rows found already.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from math import ceil, inf
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from contract.article import Mask, Vectors
from service.columns import Codes, Columns
from service.exploration import Draw, Drawn
from service.snapshot import Snapshot

Places: TypeAlias = NDArray[np.intp]
# Looks up one value for each of some places, or shapes of them.
Column: TypeAlias = Callable[[Places], NDArray[Any]]

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

    `scores` that rise along the order are lowered to the one before. The columns are looked up only
    where the choice depends on them: `published` is NaN where the time is not known; a topic or a
    source below 0 is not known either, and never full. Scores that are `near` to each other cannot
    be told apart.
    """

    order: Places  # (C,)
    scores: NDArray[np.float64]  # (C,)
    vectors: Vectors  # (C, D)
    published: Column  # float64
    topics: Column  # int32
    sources: Column  # int32
    near: float = 0.0


def offered(
    snapshot: Snapshot,
    rows: NDArray[np.intp],
    *,
    order: Places,
    scores: NDArray[np.float64],
    vectors: Vectors,
    near: float = 0.0,
) -> Offer:
    """Offer rows of a snapshot; an article without a topic or a source counts for none."""
    columns = snapshot.columns
    published = partial(_published, columns, rows)
    topics, sources = partial(_codes, columns.topics, rows), partial(_codes, columns.sources, rows)
    return Offer(order, scores, vectors, published, topics, sources, near)


def _published(columns: Columns, rows: NDArray[np.intp], places: Places) -> NDArray[np.float64]:
    asked = rows[places]
    return np.where(columns.time_unknown[asked], np.nan, columns.published[asked])


def _codes(codes: Codes, rows: NDArray[np.intp], places: Places) -> NDArray[np.int32]:
    values = codes.values[rows[places]].astype(np.int32)
    values[values == codes.names.get("", -1)] = -1
    return values


class Chosen(NamedTuple):
    """A chosen row, the rows that tell its story, best first, and what it lost to others.

    `drawn` says how it was chosen where its slot was explored.
    """

    place: int
    also: tuple[int, ...] = ()
    penalty: float = 0.0
    drawn: Drawn | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The rows of a page, and those left for later ones, in order."""

    chosen: list[Chosen]
    left: Places


def tells_any(columns: Columns, rows: Places, others: Places, stories: Variety) -> Mask:
    """Say which of some rows tell one story with any of the others: (rows,)."""
    vectors = columns.vectors
    cosines = vectors.take(rows, axis=0) @ vectors.take(others, axis=0).T  # (rows, others)
    places, beside = np.nonzero(cosines >= stories.same_story - ROUNDING)
    apart_s = np.abs(_published(columns, rows, places) - _published(columns, others, beside))
    mask = np.zeros(len(rows), bool)
    # Where a time is not known the distance is NaN, and no reason against one story.
    mask[places[~(apart_s > stories.window_s)]] = True
    return mask


def choose(offer: Offer, n: int, variety: Variety, draw: Draw | None = None) -> Choice:
    """Choose up to n rows, best first; fewer when stories and full topics leave no more.

    `draw` chooses for each slot, from the best place and all that are open, which to take.
    """
    shelf = (_Weighed if variety.penalty else _Shelf)(offer, n, variety)
    chosen: list[Chosen] = []
    while len(chosen) < n and (place := shelf.best()) is not None:
        chosen.append(shelf.take(place) if draw is None else shelf.explore(place, draw))
    return Choice(chosen, offer.order[shelf.left.take(offer.order)])


class _Cosines:
    """Cosines of rows with all others; those of the first, which are likely chosen, at once.

    One product of whole blocks is faster than a product for each row that is chosen.
    """

    def __init__(self, offer: Offer, n: int) -> None:
        self._vectors = offer.vectors
        self._first = offer.order[: BLOCK * ceil(1.2 * n / BLOCK)].tolist()
        self.turns = {place: turn for turn, place in enumerate(self._first)}
        first = self._vectors.take(self._first, axis=0)  # (L, D)
        self.of_first = np.ascontiguousarray((self._vectors @ first.T).T)  # (L, C)
        self._last: tuple[int, NDArray[np.float32]] | None = None
        # No row is near to itself.
        self.of_first[np.arange(len(first)), self._first] = -1

    def of(self, place: int) -> NDArray[np.float32]:
        """Return the cosines of a row with all rows: (C,)."""
        if (turn := self.turns.get(place)) is not None:
            return np.asarray(self.of_first[turn])
        if self._last is None or self._last[0] != place:
            self._last = place, np.asarray(self._vectors @ self._vectors[place])
        return self._last[1]

    def alike(self, least: float) -> dict[int, list[int]]:
        """Return for those of the first that have any the places of rows as near as that."""
        alike = defaultdict[int, list[int]](list)
        for number in np.flatnonzero(self.of_first >= least).tolist():
            turn, place = divmod(number, len(self._vectors))
            alike[self._first[turn]].append(place)
        return alike


class _Shelf:
    """What is left to choose from, by place; without penalties the first open row is the best."""

    def __init__(self, offer: Offer, n: int, variety: Variety) -> None:
        size = len(offer.order)
        self._offer, self._window_s = offer, variety.window_s
        self._same_story = variety.same_story - ROUNDING
        self._turns: Iterator[Any] = iter(offer.order)
        # Minus infinity: chosen, told by another, or of a full topic or source.
        self._worth = np.zeros(size)
        self.left = np.ones(size, bool)  # neither chosen nor told by another
        self._tells = variety.same_story < inf
        self._cosines = _Cosines(offer, n if self._tells or variety.penalty else 0)
        self._alike = self._cosines.alike(self._same_story) if self._tells else {}
        caps = (offer.topics, variety.per_topic), (offer.sources, variety.per_source)
        self._caps = [
            (codes(np.arange(size)), most, Counter[int]())
            for codes, most in caps
            if most is not None
        ]

    def best(self) -> int | None:
        """Return the place to choose next, None when there is none."""
        # Rows are worth what they score, and that falls along the order; none opens again.
        for place in self._turns:
            if self._worth[place] > -inf:
                return int(place)
        return None

    def take(self, place: int, lost: float = 0.0) -> Chosen:
        """Choose a row, which lost so much to others: close its story and whatever it fills."""
        self._worth[place], self.left[place] = -inf, False
        also = self._told_with(place) if self._tells else ()
        for codes, most, counts in self._caps:
            code = int(codes[place])
            counts[code] += 1
            if code >= 0 and counts[code] == most:
                self._worth[codes == code] = -inf
        return Chosen(place, also, lost)

    def explore(self, best: int, draw: Draw) -> Chosen:
        """Choose the row that is drawn; the best one stays open where that is another."""
        drawn = draw(best, np.flatnonzero(self._worth > -inf))
        if not drawn.is_best:
            self._turns = chain([best], self._turns)
        return self.take(drawn.place)._replace(drawn=drawn)

    def _told_with(self, place: int) -> tuple[int, ...]:
        if place in self._cosines.turns:
            alike = self._alike.get(place)
        else:
            alike = np.flatnonzero(self._cosines.of(place) >= self._same_story).tolist()
        same = [other for other in alike or () if self.left[other]]
        if not same:
            return ()
        at, *times = self._offer.published(np.array([place, *same])).tolist()
        # Where a time is not known the distance is NaN, and no reason against one story.
        told = [
            other
            for other, time in zip(same, times, strict=True)
            if not abs(time - at) > self._window_s
        ]
        self._worth[told], self.left[told] = -inf, False
        return tuple(told if len(told) < 2 else sorted(told, key=self._ranks().__getitem__))

    def _ranks(self) -> NDArray[np.intp]:
        ranks = np.empty_like(self._offer.order)
        ranks[self._offer.order] = np.arange(len(ranks))
        return ranks


class _Weighed(_Shelf):
    """What is left to choose from where nearness to what is chosen costs."""

    def __init__(self, offer: Offer, n: int, variety: Variety) -> None:
        super().__init__(offer, n, variety)
        self._penalty = variety.penalty
        self._near = offer.near + ROUNDING / 2 * variety.penalty
        self._scores = np.empty(len(offer.order))
        self._scores[offer.order] = np.minimum.accumulate(offer.scores.take(offer.order))
        self._worth = self._scores.copy()
        # What rows are worth beside each of the first.
        self._beside = self._scores - self._penalty * self._cosines.of_first  # (L, C)

    def best(self) -> int | None:
        """Return the place of the row that is worth most."""
        worth = self._worth
        if not len(worth) or (most := worth[place := int(worth.argmax())]) == -inf:
            return None
        is_near = worth >= most - self._near
        if np.count_nonzero(is_near) == 1:
            return place
        # Of rows that cannot be told apart the first.
        order = self._offer.order
        return int(order[is_near[order].argmax()])

    def take(self, place: int, lost: float = 0.0) -> Chosen:
        """Choose a row, which costs all that are near to it."""
        lost += float(self._scores[place] - self._worth[place])
        chosen, turn = super().take(place, lost), self._cosines.turns.get(place)
        if turn is None:
            beside = self._scores - self._penalty * self._cosines.of(place)
        else:
            beside = self._beside[turn]
        np.minimum(self._worth, beside, out=self._worth)
        return chosen
