"""Recommendations and rankings: a history in, articles out, by architecture section 5.

Eligible rows, the top R of them by inner product, the full score and what else counts, then a page
of them: one article a story, novelty against score, so many of a topic or a source.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from contract.article import Mask
from service.answer import Answer, Degraded, Empty, Strategy, ids_of
from service.criteria import ANY, Criteria
from service.diversify import Choice, Chosen, Variety, choose, offered, tells_any
from service.emptiness import why_empty
from service.explaining import Reasons, reasons
from service.exploration import Draw
from service.orders import popular
from service.paging import Position, remaining
from service.picking import picked
from service.ports import Activation, Clock
from service.retrieval import Retrieval
from service.scores import Reader, Scored, Scorer, Terms, by_clicks, ranked
from service.snapshot import Snapshot
from service.stages import Stages

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Query:
    """What a reader is to be recommended.

    `candidates` None means the whole catalogue; `popularity_weight` and `diversity` 0 leave the
    score as it is; `per_topic` and `per_source` are the most of one on a page. `seen` are articles
    read besides the history; of `hidden` ones not even the stories come. `draw` explores. With a
    position it is a later page of the same walk.
    """

    history: Sequence[str] = ()
    n: int = 10
    criteria: Criteria = ANY
    candidates: Sequence[str] | None = None
    exclude: Sequence[str] = ()
    exclude_seen: bool = True
    seen: Sequence[str] = ()
    hidden: Sequence[str] = ()
    half_life_s: float | None = None
    popularity_weight: float = 0.0
    diversity: float = 0.0
    per_topic: int | None = None
    per_source: int | None = None
    collapse: bool = True
    explain: bool = False
    draw: Draw | None = None
    position: Position | None = None

    @property
    def unwanted(self) -> list[str]:
        """Return what the reader does not want, or not again: that may grow from page to page."""
        return [*self.hidden, *(self.seen if self.exclude_seen else ())]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is looked at: clicks of a history, rows scored in full, what one story is.

    An expired article counts in histories for `history_ttl_s` seconds.
    """

    history: int
    history_ttl_s: float
    retrieved: int
    same_story: float
    same_story_s: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """The candidates that are known and may be shown, best first, and the ids of all others.

    Columns, not articles: hundreds are ranked in one request. `reasons` are empty unless asked for.
    """

    ids: list[str]
    scores: list[float]
    reasons: list[Reasons]
    missing: list[str]
    strategy: Strategy
    degraded: list[Degraded]
    activation: Activation


class Recommender:
    """Answers from one snapshot per request; reads no store and waits for nothing."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        scorer: Scorer,
        retrieval: Retrieval,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._snapshot = snapshot
        self._scorer = scorer
        self._retrieval = retrieval
        self._limits = limits
        self._stories = Variety(same_story=limits.same_story, window_s=limits.same_story_s)
        self._clock = clock

    def recommend(self, query: Query, stages: Stages | None = None) -> Answer:
        """Return a page of at most n eligible articles.

        Fewer only when fewer exist, when the rest tells the same stories, or when caps are reached.
        """
        snapshot, now, stages = self._snapshot(), self._clock(), stages or Stages()
        read = snapshot.history_rows(query.history, now, self._limits.history_ttl_s)
        reader = self._reader(snapshot, read)
        stages.mark("reader")
        position = query.position
        at, before = (position.at, position.shown) if position else (now, 0)
        rows = self._rows(snapshot, reader, query, read, now, stages)
        scored, order = self._scored(snapshot, reader, rows, query, at)
        stages.mark("score")
        offer = offered(
            snapshot,
            scored.rows,
            order=order,
            scores=scored.scores,
            vectors=scored.vectors,
            near=scored.near,
        )
        choice = choose(offer, query.n, self._variety(query, reader), query.draw)
        why = partial(self._reasons, snapshot, reader, scored)
        articles = picked(
            snapshot.columns,
            scored.rows,
            scored.scores,
            choice.chosen,
            before=before,
            why=why if query.explain else None,
        )
        stages.mark("choose")
        return Answer(
            articles=articles,
            strategy=_strategy(reader, scored) if articles else Strategy.NONE,
            degraded=_degraded(query.history, reader) + _capped(query.n, choice),
            empty=None if articles else _why_empty(snapshot, query, now),
            left=ids_of(snapshot.columns, scored.rows[choice.left]),
            at=at,
            shown=before + len(articles),
            activation=snapshot.activation,
        )

    def rank(
        self,
        history: Sequence[str],
        candidates: Sequence[str],
        *,
        explain: bool = False,
        stages: Stages | None = None,
    ) -> Ranking:
        """Score exactly the candidates by the click model alone."""
        snapshot, now, stages = self._snapshot(), self._clock(), stages or Stages()
        # In one go, for most of what looking up costs does not depend on the number of ids.
        rows = snapshot.look_up([*history, *candidates])
        read = snapshot.still_read(rows[: len(history)], now, self._limits.history_ttl_s)
        reader = self._reader(snapshot, read)
        stages.mark("reader")
        asked, rows = _each_once(candidates, rows[len(history) :])
        is_shown = snapshot.shown(rows, now)
        # The ids are at hand already: the catalogue's own lie all over its memory.
        shown = list(compress(asked, is_shown.tolist()))
        stages.mark("filter")
        scored = self._scorer.scored(snapshot, reader, rows[is_shown])
        order = ranked(snapshot, scored)
        stages.mark("score")
        places = order.tolist() if explain else []
        return Ranking(
            ids=[shown[place] for place in order.tolist()],
            scores=scored.scores[order].tolist(),
            reasons=[self._reasons(snapshot, reader, scored, Chosen(place)) for place in places],
            missing=list(compress(asked, (~is_shown).tolist())),
            strategy=Strategy.PERSONAL if reader.is_known else Strategy.NONE,
            degraded=_degraded(history, reader),
            activation=snapshot.activation,
        )

    def _reader(self, snapshot: Snapshot, read: Rows) -> Reader:
        return self._scorer.reader(snapshot, read[-self._limits.history :])

    def _rows(
        self,
        snapshot: Snapshot,
        reader: Reader,
        query: Query,
        read: Rows,
        now: float,
        stages: Stages,
    ) -> Rows:
        """Return the rows worth scoring, on a later page those left of the first."""
        if query.position is not None:
            rows = remaining(snapshot, query.position.ids, now)
            if unwanted := query.unwanted:
                rows = rows[~np.isin(rows, snapshot.rows(unwanted))]
            return self._untold(snapshot, rows, query)
        eligible = _eligible(snapshot, query, read, now)
        stages.mark("filter")
        rows = self._found(snapshot, reader, query, eligible)
        stages.mark("search")
        return rows

    def _found(self, snapshot: Snapshot, reader: Reader, query: Query, eligible: Mask) -> Rows:
        """Return the best R of the eligible rows that tell no hidden story."""
        wanted = max(self._limits.retrieved, query.n)
        k = wanted + len(query.hidden)
        while True:
            found = self._first(snapshot, reader, eligible, k)
            rows = self._untold(snapshot, found, query)
            if len(rows) >= wanted or len(found) < k:
                return rows[:wanted]
            k *= 2  # hidden stories took more than one row each

    def _first(self, snapshot: Snapshot, reader: Reader, eligible: Mask, k: int) -> Rows:
        if not reader.is_known:
            return popular(snapshot, np.flatnonzero(eligible), k)[0]
        return self._retrieval.rows(snapshot, self._scorer.retrieval_query(reader), eligible, k)

    def _untold(self, snapshot: Snapshot, rows: Rows, query: Query) -> Rows:
        """Leave out the rows that tell a story which the reader has hidden, expired or not."""
        if not query.hidden:
            return rows
        hidden = snapshot.rows(query.hidden)
        return rows[~tells_any(snapshot.columns, rows, hidden, self._stories)]

    def _scored(
        self, snapshot: Snapshot, reader: Reader, rows: Rows, query: Query, at: float
    ) -> tuple[Scored, Rows]:
        """Score the rows as of a time; return them with their order, best first."""
        if not reader.is_known:
            return by_clicks(snapshot, rows), np.arange(len(rows))
        terms = Terms(query.popularity_weight, query.half_life_s, at)
        scored = self._scorer.scored(snapshot, reader, rows, terms)
        # The order of a walk is settled on its first page, whatever has changed since.
        is_first = query.position is None
        return scored, ranked(snapshot, scored) if is_first else np.arange(len(rows))

    def _variety(self, query: Query, reader: Reader) -> Variety:
        variety = Variety(
            scale=self._scorer.click_model.scale,
            # Clicks are no scores that novelty could be weighed against.
            diversity=query.diversity if reader.is_known else 0.0,
            per_topic=query.per_topic,
            per_source=query.per_source,
        )
        if not query.collapse:
            return variety
        stories = self._stories
        return replace(variety, same_story=stories.same_story, window_s=stories.window_s)

    def _reasons(self, snapshot: Snapshot, reader: Reader, scored: Scored, one: Chosen) -> Reasons:
        return reasons(
            self._scorer.click_model,
            scored.products[:, one.place],
            history=ids_of(snapshot.columns, reader.rows),
            shares=reader.shares,
            terms={
                "popularity": float(scored.popularity[one.place]),
                "freshness": float(scored.freshness[one.place]),
                "diversity": -one.penalty,
            },
        )


def _eligible(snapshot: Snapshot, query: Query, read: Rows, now: float) -> Mask:
    mask = snapshot.eligible(query.criteria, now)
    if query.candidates is not None:
        wanted = np.zeros(snapshot.count, bool)
        wanted[snapshot.rows(query.candidates)] = True
        mask &= wanted
    if excluded := [*query.exclude, *query.unwanted]:
        mask[snapshot.rows(excluded)] = False
    if query.exclude_seen:
        # What no longer counts as read has expired, and is not eligible either.
        mask[read] = False
    return mask


def _each_once(ids: Sequence[str], rows: Rows) -> tuple[Sequence[str], Rows]:
    """Leave out of ids and their rows those that come again."""
    ordered = np.sort(rows)
    if (ordered[1:] != ordered[:-1]).all():
        # Of one id there is one row: ids of different rows need not be compared.
        return ids, rows
    once = dict(zip(ids, rows.tolist(), strict=True))
    return list(once), np.fromiter(once.values(), np.intp, len(once))


def _strategy(reader: Reader, scored: Scored) -> Strategy:
    if reader.is_known:
        return Strategy.PERSONAL
    # Of the best one, whichever was drawn: without a history rows come in their order.
    return Strategy.POPULAR if scored.scores[0] > 0 else Strategy.LATEST


def _degraded(history: Sequence[str], reader: Reader) -> list[Degraded]:
    return [Degraded.HISTORY_UNKNOWN] if history and not reader.is_known else []


def _capped(n: int, choice: Choice) -> list[Degraded]:
    # What is neither chosen nor told by another was kept out by a cap.
    is_capped = len(choice.chosen) < n and len(choice.left) > 0
    return [Degraded.CAPPED] if is_capped else []


def _why_empty(snapshot: Snapshot, query: Query, now: float) -> Empty:
    passing, otherwise = snapshot.eligible(query.criteria, now), Empty.EXCLUDED
    if query.candidates is not None and not passing[snapshot.rows(query.candidates)].any():
        otherwise = Empty.CANDIDATES
    return why_empty(snapshot, query.criteria, now, query.position, otherwise)
