"""What is lost when only R rows are scored in full, and when an index chose them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.comparison import DIGITS
from benchmarks.shelves import DAY_S, NOW, Shelf
from contract.intervals import interval
from service.retrieval import Retrieval
from service.scores import NO_TERMS, Reader, Scorer, Terms, ranked
from service.settings import Settings
from service.snapshot import Snapshot

DEPTHS = (300, 1_000, 3_000)
HALF_LIVES_H = (None, 24.0, 6.0)
WEIGHTS = (0.0, 1.0)
# All articles of 30 days, and what is left by `published_after` two days ago.
AGES_DAYS = (None, 2.0)
RETRIEVED: Final[int] = Settings.model_fields["retrieved"].default
N = 10
Rows = NDArray[np.intp]
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """What counts besides clicks, and how old articles may be."""

    half_life_h: float | None
    popularity_weight: float
    age_days: float | None

    @property
    def terms(self) -> Terms:
        """Return the terms of the score."""
        half_life_s = None if self.half_life_h is None else 3_600 * self.half_life_h
        return Terms(self.popularity_weight, half_life_s, NOW)


def cases() -> list[Case]:
    """List every combination."""
    return [Case(h, w, a) for a in AGES_DAYS for h in HALF_LIVES_H for w in WEIGHTS]


def losses(shelf: Shelf, scorer: Scorer) -> list[Figures]:
    """Compare the top ten of R rows with that of all eligible rows, for each case and R."""
    return [
        {
            "catalogue": shelf.name,
            "half_life_h": case.half_life_h,
            "popularity_weight": case.popularity_weight,
            "age_days": case.age_days,
            "retrieved": depth,
            **figures(pairs),
        }
        for case in cases()
        for depth, pairs in lost(shelf, scorer, case).items()
    ]


def lost(shelf: Shelf, scorer: Scorer, case: Case) -> dict[int, list[tuple[float, float]]]:
    """Return overlap and mean score lost of each reader, by R."""
    snapshot, found = shelf.snapshot, {depth: [] for depth in DEPTHS}  # type: ignore[var-annotated]
    age = np.inf if case.age_days is None else DAY_S * case.age_days
    eligible = snapshot.columns.published[: snapshot.count] > NOW - age
    for history in shelf.histories:
        reader = scorer.reader(snapshot, history)
        is_unread = eligible.copy()
        is_unread[history] = False
        rows = np.flatnonzero(is_unread)
        pull = snapshot.vectors[rows] @ scorer.retrieval_query(reader)
        by_pull = rows[np.argsort(-pull, kind="stable")]
        everything = scorer.scored(snapshot, reader, by_pull, case.terms)
        order = ranked(snapshot, everything)
        best = order[:N]
        for depth, pairs in found.items():
            # Places are in the order of retrieval: those below R were retrieved.
            kept = order[order < depth][:N]
            drop = everything.scores[best].mean() - everything.scores[kept].mean()
            pairs.append((len(np.intersect1d(best, kept)) / N, float(drop)))
    return found


def by_index(
    shelf: Shelf, scorer: Scorer, retrievals: tuple[Retrieval, Retrieval]
) -> list[Figures]:
    """Compare the top ten of R rows by an index (first) with that of R rows by exact search."""
    plain = [case for case in cases() if case.age_days is None]
    pairs = {case: list[tuple[float, float]]() for case in plain}
    for history in shelf.histories:
        reader = scorer.reader(shelf.snapshot, history)
        is_unread = np.ones(shelf.snapshot.count, bool)
        is_unread[history] = False
        query = scorer.retrieval_query(reader)
        rows = [one.rows(shelf.snapshot, query, is_unread, RETRIEVED) for one in retrievals]
        for case in plain:
            (found, scores), (best, truth) = (
                top(shelf.snapshot, scorer, reader, some, case.terms) for some in rows
            )
            drop = float(truth.mean() - scores.mean())
            pairs[case].append((len(np.intersect1d(found, best)) / N, drop))
    return [
        {
            "catalogue": shelf.name,
            "half_life_h": case.half_life_h,
            "popularity_weight": case.popularity_weight,
            **figures(own),
        }
        for case, own in pairs.items()
    ]


def top(
    snapshot: Snapshot, scorer: Scorer, reader: Reader, rows: Rows, terms: Terms = NO_TERMS
) -> tuple[Rows, NDArray[np.float64]]:
    """Score rows in full; return the ten best and their scores."""
    scored = scorer.scored(snapshot, reader, rows, terms)
    best = ranked(snapshot, scored)[:N]
    return rows[best], scored.scores[best]


def figures(pairs: Sequence[tuple[float, float]]) -> Figures:
    """Average over readers, with intervals."""
    overlap, drop = zip(*pairs, strict=True)
    return {
        "overlap10": [round(x, DIGITS) for x in interval(overlap)],
        "score_lost": [round(x, DIGITS) for x in interval(drop)],
    }
