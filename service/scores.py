"""Scores: a reader made from a history, the scores of rows for that reader, and their order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contract.article import Mask, Vectors
from contract.scoring import ClickModel
from service import orders
from service.snapshot import Snapshot

# Single precision rounds a product by where its row stands: copies of one vector, scored in 3,000
# requests of all sizes, were at most 8.5e-7 of the largest score apart (1.7e-7 by AVX-512 kernels).
# What is nearer than this cannot be told apart; below a score of LEAST the parts, which are larger,
# decide.
NEAR: Final = 1e-6
LEAST: Final = 5.0


@dataclass(frozen=True, slots=True)
class Reader:
    """A known history: its rows, their vectors (H, D), and their shares (H,) in the user (D,)."""

    rows: NDArray[np.intp]
    history: Vectors
    shares: Vectors
    user: Vectors

    @property
    def is_known(self) -> bool:
        """Say whether there is any history to go by."""
        return len(self.rows) > 0


@dataclass(frozen=True, slots=True)
class Terms:
    """What is added to the click score: popularity, and minus ln 2 for each half-life of age."""

    popularity_weight: float = 0.0
    half_life_s: float | None = None
    now: float = 0.0


NO_TERMS: Final = Terms()


@dataclass(frozen=True, slots=True)
class Scored:
    """C rows with their scores and what the scores were made of.

    `products` (H + 2, C) are the inner products that `ClickModel.combine` takes; `popularity` and
    `freshness` (C,) are the terms added to its result. Scores that are `near` to each other cannot
    be told apart.
    """

    rows: NDArray[np.intp]
    scores: NDArray[np.float64]
    vectors: Vectors
    products: Vectors
    popularity: NDArray[np.float64]
    freshness: NDArray[np.float64]
    near: float


class Scorer:
    """The click model over the rows of a snapshot, in single precision by one product."""

    def __init__(self, click_model: ClickModel) -> None:
        self.click_model = click_model

    def reader(self, snapshot: Snapshot, rows: Sequence[int] | NDArray[np.intp]) -> Reader:
        """Make a reader from the rows of a history, oldest first; none at all is the zero vector.

        The user encoder's attention looks at one article at a time, so its logits are a column of
        the catalogue and the user vector is a mean (`BundleEncoder.click_logits`).
        """
        rows = np.asarray(rows, np.intp)
        history = snapshot.vectors.take(rows, axis=0)  # (H, D)
        logits = snapshot.columns.logits.take(rows)
        shares = np.exp(logits - logits.max(initial=-np.inf))
        shares /= shares.sum() or 1.0
        return Reader(rows, history, shares, shares @ history)

    def retrieval_query(self, reader: Reader) -> Vectors:
        """Return the one vector (D,) by which the first R rows are found."""
        return self.click_model.retrieval_query(reader.user)

    def scored(
        self,
        snapshot: Snapshot,
        reader: Reader,
        rows: NDArray[np.intp],
        terms: Terms = NO_TERMS,
    ) -> Scored:
        """Score rows for a reader: by the click model, and by what else counts."""
        vectors = snapshot.vectors.take(rows, axis=0)  # (C, D)
        factors = self.click_model.factors(reader.user, reader.history)  # (H + 2, D)
        # Candidates first: the faster way round, the turning (5 us) paid for.
        products = np.ascontiguousarray((vectors @ factors.T).T)  # (H + 2, C)
        popularity = _popularity(snapshot, rows, terms)
        freshness = _freshness(snapshot, rows, terms)
        clicks = self.click_model.combine(products)  # (C,)
        near = NEAR * max(LEAST, float(np.abs(clicks).max(initial=0.0)))
        scores = clicks + popularity + freshness
        return Scored(rows, scores, vectors, products, popularity, freshness, near)


def by_clicks(snapshot: Snapshot, rows: NDArray[np.intp]) -> Scored:
    """Score rows by their clicks alone, for whoever has no known history."""
    weights, none = orders.clicks(snapshot, rows), np.zeros((2, len(rows)), np.float32)
    vectors = snapshot.vectors.take(rows, axis=0)
    return Scored(rows, weights, vectors, none, weights, np.zeros(len(rows)), 0.0)


def ranked(snapshot: Snapshot, scored: Scored) -> NDArray[np.intp]:
    """Return the places of scored rows, best first; what cannot be told apart goes by id."""
    ids, rows = snapshot.columns.ids, scored.rows
    return best_first(scored.scores, lambda place: ids[rows[place]], scored.near)


def best_first(
    scores: NDArray[np.float64], id_of: Callable[[int], str], near: float
) -> NDArray[np.intp]:
    """Order places by score; a run of scores each `near` the one before goes by id."""
    order = np.argsort(-scores)  # not stable: equal ones go by id below
    falling = scores[order]
    ties = falling[:-1] - falling[1:] <= near
    if ties.any():
        for start, end in _stretches(ties):
            order[start : end + 1] = sorted(order[start : end + 1].tolist(), key=id_of)
    return order


def _stretches(mask: Mask) -> NDArray[np.intp]:
    """Return start and end of each stretch of true values: (stretches, 2)."""
    padded = np.concatenate([[False], mask, [False]])
    return np.flatnonzero(padded[1:] != padded[:-1]).reshape(-1, 2)


def _popularity(snapshot: Snapshot, rows: NDArray[np.intp], terms: Terms) -> NDArray[np.float64]:
    if not terms.popularity_weight:
        return np.zeros(len(rows))
    # The logarithm of clicks: without any there is nothing to earn, and nothing to lose.
    clicks = snapshot.popularity[rows] - snapshot.cooling
    return terms.popularity_weight * np.maximum(clicks, 0.0)


def _freshness(snapshot: Snapshot, rows: NDArray[np.intp], terms: Terms) -> NDArray[np.float64]:
    if terms.half_life_s is None:
        return np.zeros(len(rows))
    # Clocks disagree: an article from the future is new, not negative in age.
    age = np.maximum(terms.now - snapshot.columns.published[rows], 0.0)
    unknown = snapshot.columns.time_unknown[rows]
    # Without a time there is no freshness to earn: as old as the oldest that has one.
    age[unknown] = age[~unknown].max(initial=0.0)
    return np.asarray(-log(2) * age / terms.half_life_s)
