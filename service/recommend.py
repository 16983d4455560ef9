"""The use case of the service: a history in, ranked articles out, by architecture section 5.

Eligible rows, the top R of them by inner product, the full click score, freshness, ties by id.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import log

import numpy as np
from numpy.typing import NDArray

from contract.article import Vectors
from contract.scoring import ClickModel
from service.columns import Facts
from service.criteria import ANY, Criteria
from service.ports import Activation, Clock, RowSearch, TextEncoder
from service.snapshot import Snapshot


class Strategy(StrEnum):
    """How an answer was chosen."""

    PERSONAL = "personal"
    POPULAR = "popular"
    LATEST = "latest"
    NONE = "none"


class Degraded(StrEnum):
    """Why an answer is less than what was asked."""

    HISTORY_UNKNOWN = "history_unknown"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Query:
    """What a reader is to be recommended; `candidates` None means the whole catalogue."""

    history: Sequence[str] = ()
    n: int = 10
    criteria: Criteria = ANY
    candidates: Sequence[str] | None = None
    exclude: Sequence[str] = ()
    exclude_seen: bool = True
    freshness_half_life_s: float | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """One article of an answer."""

    facts: Facts
    score: float


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Articles, best first, and how they came about."""

    articles: list[Scored]
    strategy: Strategy
    degraded: list[Degraded]
    activation: Activation


@dataclass(frozen=True, slots=True)
class Ranking:
    """The candidates that are known and may be shown, best first, and the ids of all others."""

    articles: list[Scored]
    missing: list[str]
    strategy: Strategy
    degraded: list[Degraded]
    activation: Activation


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader's known history as vectors, with the user vector made from it."""

    history: Vectors  # (H, D)
    user: Vectors  # (D,)


class Recommender:
    """Answers from one snapshot per request; reads no store and waits for nothing."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        encoder: TextEncoder,
        click_model: ClickModel,
        search: RowSearch,
        *,
        clock: Clock,
        history: int,
        retrieved: int,
    ) -> None:
        self._snapshot = snapshot
        self._encoder = encoder
        self._click_model = click_model
        self._search = search
        self._clock = clock
        self._history = history
        self._retrieved = retrieved

    def recommend(self, query: Query) -> Recommendation:
        """Return at most n eligible articles; fewer only when fewer exist."""
        snapshot, now = self._snapshot(), self._clock()
        eligible = _eligible(snapshot, query, now)
        known = snapshot.rows(query.history)[-self._history :]
        if known:
            articles = self._personal(snapshot, known, eligible, query, now)
            strategy = Strategy.PERSONAL if articles else Strategy.NONE
        else:
            articles, strategy = _impersonal(snapshot, eligible, query.n)
        return Recommendation(articles, strategy, _degraded(query, known), snapshot.activation)

    def rank(self, history: Sequence[str], candidates: Sequence[str]) -> Ranking:
        """Score exactly the candidates by the click model alone, in full precision."""
        snapshot, now = self._snapshot(), self._clock()
        found = {i: snapshot.row(i) for i in dict.fromkeys(candidates)}
        shown = {i: row for i, row in found.items() if row >= 0 and snapshot.is_live(row, now)}
        known = snapshot.rows(history)[-self._history :]
        rows = np.fromiter(shown.values(), np.intp, len(shown))
        scores = self._scores(snapshot, self._reader(snapshot, known), rows)
        return Ranking(
            articles=_top(snapshot, rows, scores, len(rows)),
            missing=[i for i in found if i not in shown],
            strategy=Strategy.PERSONAL if known else Strategy.NONE,
            degraded=_degraded(Query(history=history), known),
            activation=snapshot.activation,
        )

    def latest(self, criteria: Criteria, n: int) -> Recommendation:
        """Return the newest eligible articles; the score is the time, in epoch seconds."""
        snapshot = self._snapshot()
        rows = np.flatnonzero(snapshot.eligible(criteria, self._clock()))
        articles = _newest(snapshot, rows, n)
        strategy = Strategy.LATEST if articles else Strategy.NONE
        return Recommendation(articles, strategy, [], snapshot.activation)

    def _personal(
        self,
        snapshot: Snapshot,
        known: Sequence[int],
        eligible: NDArray[np.bool_],
        query: Query,
        now: float,
    ) -> list[Scored]:
        reader = self._reader(snapshot, known)
        retrieval = self._click_model.retrieval_query(reader.user)
        k = max(self._retrieved, query.n)
        rows, _ = self._search.top(retrieval, snapshot.vectors, eligible, k)
        scores = self._scores(snapshot, reader, rows).astype(np.float64)
        if query.freshness_half_life_s is not None:
            scores -= _ageing(snapshot, rows, now, query.freshness_half_life_s)
        return _top(snapshot, rows, scores, query.n)

    def _reader(self, snapshot: Snapshot, known: Sequence[int]) -> Reader:
        history = snapshot.vectors[known] if known else snapshot.vectors[:0]  # (H, D)
        if not known:
            return Reader(history, np.zeros(snapshot.vectors.shape[1], np.float32))
        mask = np.ones((1, len(known)), bool)
        return Reader(history, self._encoder.users(history[None], mask)[0])

    def _scores(self, snapshot: Snapshot, reader: Reader, rows: NDArray[np.intp]) -> Vectors:
        return self._click_model.score(reader.user, reader.history, snapshot.vectors[rows])


def _eligible(snapshot: Snapshot, query: Query, now: float) -> NDArray[np.bool_]:
    mask = snapshot.eligible(query.criteria, now)
    if query.candidates is not None:
        wanted = np.zeros(snapshot.count, bool)
        wanted[snapshot.rows(query.candidates)] = True
        mask &= wanted
    mask[snapshot.rows(query.exclude)] = False
    if query.exclude_seen:
        mask[snapshot.rows(query.history)] = False
    return mask


def _impersonal(
    snapshot: Snapshot, eligible: NDArray[np.bool_], n: int
) -> tuple[list[Scored], Strategy]:
    rows = np.flatnonzero(eligible)
    clicks = np.exp(snapshot.popularity[rows])
    popular = _top(snapshot, rows[clicks > 0], clicks[clicks > 0], n)
    newest = _newest(snapshot, rows[clicks == 0], n - len(popular))
    if popular:
        return popular + [Scored(one.facts, 0.0) for one in newest], Strategy.POPULAR
    return newest, Strategy.LATEST if newest else Strategy.NONE


def _newest(snapshot: Snapshot, rows: NDArray[np.intp], n: int) -> list[Scored]:
    return _top(snapshot, rows, snapshot.columns.published[rows], n)


def _ageing(
    snapshot: Snapshot, rows: NDArray[np.intp], now: float, half_life_s: float
) -> NDArray[np.float64]:
    # Clocks disagree: an article from the future is new, not negative in age.
    age = np.maximum(now - snapshot.columns.published[rows], 0.0)
    unknown = snapshot.columns.time_unknown[rows]
    # Without a time there is no freshness to earn: as old as the oldest that has one.
    age[unknown] = age[~unknown].max(initial=0.0)
    return np.asarray(log(2) * age / half_life_s)


def _top(
    snapshot: Snapshot, rows: NDArray[np.intp], scores: NDArray[np.floating], n: int
) -> list[Scored]:
    """Return the n best, ties by id: every row that ties with the n-th is compared by its id."""
    if 0 < n < len(rows):
        kept = scores >= np.partition(scores, len(scores) - n)[len(scores) - n]
        rows, scores = rows[kept], scores[kept]
    facts = snapshot.columns.facts
    order = sorted(
        (-score, facts[row].id, row)
        for score, row in zip(scores.tolist(), rows.tolist(), strict=True)
    )
    return [Scored(facts[row], -score) for score, _, row in order[:n]]


def _degraded(query: Query, known: Sequence[int]) -> list[Degraded]:
    return [Degraded.HISTORY_UNKNOWN] if query.history and not known else []
