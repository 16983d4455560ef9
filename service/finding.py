"""Find articles for a query: by its vector, by its words, or by both joined by their ranks.

Both lists hold the best R of the rows that pass every filter. Joined, an article scores the sum of
1 / (60 + rank) over the lists that it is on (Cormack et al., SIGIR 2009): ranks can be added where
a cosine and a BM25 score cannot.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from contract.article import Mask
from contract.text import canonical
from service.answer import Answer, Degraded, Empty, Strategy, ids_of
from service.batching import Batcher
from service.criteria import ANY, Criteria
from service.diversify import Chosen, Variety, choose, offered
from service.emptiness import why_empty
from service.errors import ServiceError
from service.orders import Ordered, best
from service.paging import Position, remaining
from service.picking import picked
from service.ports import Clock
from service.retrieval import Retrieval
from service.snapshot import Snapshot
from service.stages import Stages
from service.words import Words

FUSION = 60


NOTHING: Ordered = np.empty(0, np.intp), np.empty(0)


@dataclass(frozen=True, slots=True)
class FindQuery:
    """What is looked for, and how: `mode` is HYBRID, DENSE or BM25.

    With a position it is a later page of the same walk, in the first page's order.
    """

    text: str
    n: int = 10
    mode: Strategy = Strategy.HYBRID
    criteria: Criteria = ANY
    exclude: Sequence[str] = ()
    collapse: bool = True
    explain: bool = False
    timeout_s: float = 1.0
    position: Position | None = None


class ByVector(TypedDict):
    """Where an article stands by its vector."""

    rank: int
    cosine: float


class ByWords(TypedDict):
    """Where an article stands by its words."""

    rank: int
    score: float


class Places(TypedDict):
    """Why an article was found: where it stands on each list, None where it is not on it."""

    dense: ByVector | None
    bm25: ByWords | None


@dataclass(frozen=True, slots=True)
class Ways:
    """The best R rows by each way of looking, best first; None for a way not gone."""

    dense: Ordered | None
    bm25: Ordered | None

    @property
    def strategy(self) -> Strategy:
        """Say which ways were gone."""
        if self.dense is None:
            return Strategy.BM25
        return Strategy.DENSE if self.bm25 is None else Strategy.HYBRID

    def joined(self, snapshot: Snapshot, k: int) -> Ordered:
        """Return the k best rows by both ways; one alone stays as it is."""
        if self.dense is None or self.bm25 is None:
            return self.dense or self.bm25 or NOTHING
        scores: defaultdict[int, float] = defaultdict(float)
        for rows, _ in (self.dense, self.bm25):
            for rank, row in enumerate(rows.tolist(), 1):
                scores[row] += 1 / (FUSION + rank)
        rows = np.fromiter(scores, np.intp, len(scores))
        return best(snapshot, rows, np.fromiter(scores.values(), np.float64, len(scores)), k)

    def places(self, rows: NDArray[np.intp]) -> Callable[[Chosen], Places]:
        """Return what says of one chosen of the rows where it stands."""
        dense, bm25 = _by_row(self.dense), _by_row(self.bm25)

        def places(one: Chosen) -> Places:
            row = int(rows[one.place])
            near, worded = dense.get(row), bm25.get(row)
            return {
                "dense": {"rank": near[0], "cosine": near[1]} if near else None,
                "bm25": {"rank": worded[0], "score": worded[1]} if worded else None,
            }

        return places


class Finder:
    """Answers from the latest snapshot, and waits for nothing but the query's vector.

    `stories` says which articles tell one story.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        batcher: Batcher,
        retrieval: Retrieval,
        words: Words,
        *,
        clock: Clock,
        retrieved: int,
        stories: Variety,
    ) -> None:
        self._snapshot = snapshot
        self._batcher = batcher
        self._retrieval = retrieval
        self._words = words
        self._clock = clock
        self._retrieved = retrieved
        self._stories = stories

    async def find(self, query: FindQuery, stages: Stages) -> Answer:
        """Return at most n eligible articles, best first.

        Without the encoder in time a hybrid search goes by words alone and says so; a dense one
        raises what the batcher did (DeadlineExceeded, Overloaded, NotReady).
        """
        vector = await self._vector(query)
        stages.mark("encode")
        # Pinned only now, so that the answer is as new as can be: nothing waits from here on but a
        # search by words of which most are in no index yet.
        snapshot, now = self._snapshot(), self._clock()
        worded = None
        if query.mode != Strategy.DENSE:
            worded = await self._words.search(snapshot, query.text)
        ways = self._ways(snapshot, query, vector, worded, now)
        stages.mark("search")
        answer = self._answer(snapshot, query, ways, now)
        stages.mark("choose")
        return answer

    async def _vector(self, query: FindQuery) -> NDArray[np.float32] | None:
        if query.mode == Strategy.BM25:
            return None
        try:
            # Encoded as a title alone is, which is how queries were learnt.
            text = canonical(query.text)
            (vector,) = await self._batcher.vectors([text], timeout_s=query.timeout_s)
        except ServiceError:
            if query.mode == Strategy.DENSE:
                raise
            return None
        return vector

    def _ways(
        self,
        snapshot: Snapshot,
        query: FindQuery,
        vector: NDArray[np.float32] | None,
        worded: NDArray[np.float32] | None,
        now: float,
    ) -> Ways:
        eligible, k = _eligible(snapshot, query, now), self._most(query)
        dense, bm25 = None, None
        if vector is not None:
            rows = self._retrieval.rows(snapshot, vector, eligible, k)
            # Once more in double precision, so that equal vectors tie and their ids decide.
            cosines = (snapshot.vectors[rows].astype(np.float64) @ vector).astype(np.float32)
            dense = best(snapshot, rows, cosines.astype(np.float64), k)
        if worded is not None:
            rows = np.flatnonzero(eligible & (worded > 0))
            bm25 = best(snapshot, rows, worded[rows].astype(np.float64), k)
        return Ways(dense, bm25)

    def _answer(self, snapshot: Snapshot, query: FindQuery, ways: Ways, now: float) -> Answer:
        position, (rows, scores) = query.position, ways.joined(snapshot, self._most(query))
        if position is not None:
            rows, scores = _continued(snapshot, position, now, rows, scores)
        vectors, places = snapshot.vectors.take(rows, axis=0), np.arange(len(rows))
        offer = offered(snapshot, rows, order=places, scores=scores, vectors=vectors)
        choice = choose(offer, query.n, self._stories if query.collapse else Variety())
        before = position.shown if position else 0
        articles = picked(
            snapshot.columns,
            rows,
            scores,
            choice.chosen,
            before=before,
            why=ways.places(rows) if query.explain else None,
        )
        is_without_encoder = query.mode == Strategy.HYBRID and ways.dense is None
        return Answer(
            articles=articles,
            strategy=ways.strategy if articles else Strategy.NONE,
            degraded=[Degraded.ENCODER] if is_without_encoder else [],
            empty=None if articles else self._why_empty(snapshot, query, now),
            left=ids_of(snapshot.columns, rows[choice.left]),
            at=position.at if position else now,
            shown=before + len(articles),
            activation=snapshot.activation,
        )

    def _why_empty(self, snapshot: Snapshot, query: FindQuery, now: float) -> Empty:
        otherwise = _left_out(snapshot, query, now)
        return why_empty(snapshot, query.criteria, now, query.position, otherwise)

    def _most(self, query: FindQuery) -> int:
        return max(self._retrieved, query.n)


def _continued(
    snapshot: Snapshot,
    position: Position,
    now: float,
    rows: NDArray[np.intp],
    scores: NDArray[np.float64],
) -> Ordered:
    """Return what is left of a walk in its order, with today's scores; 0 for what has none now."""
    known = dict(zip(rows.tolist(), scores.tolist(), strict=True))
    left = remaining(snapshot, position.ids, now)
    return left, np.array([known.get(row, 0.0) for row in left.tolist()])


def _by_row(ordered: Ordered | None) -> dict[int, tuple[int, float]]:
    if ordered is None:
        return {}
    pairs = zip(*(column.tolist() for column in ordered), strict=True)
    return {row: (rank, score) for rank, (row, score) in enumerate(pairs, 1)}


def _eligible(snapshot: Snapshot, query: FindQuery, now: float) -> Mask:
    eligible = snapshot.eligible(query.criteria, now)
    eligible[snapshot.rows(query.exclude)] = False
    return eligible


def _left_out(snapshot: Snapshot, query: FindQuery, now: float) -> Empty:
    # What is neither filtered nor excluded has none of the query's words.
    is_any_left = _eligible(snapshot, query, now).any()
    return Empty.FILTER if is_any_left else Empty.EXCLUDED
