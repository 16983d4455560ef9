"""What every use case that answers readers gives back: articles, and how they came about."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.columns import Columns, Facts
from service.exploration import Drawn
from service.ports import Activation


class Strategy(StrEnum):
    """How an answer was chosen."""

    PERSONAL = "personal"
    POPULAR = "popular"
    LATEST = "latest"
    SIMILAR = "similar"
    HYBRID = "hybrid"
    DENSE = "dense"
    BM25 = "bm25"
    NONE = "none"


class Degraded(StrEnum):
    """Why an answer is less than what was asked."""

    HISTORY = "history"
    HISTORY_UNKNOWN = "history_unknown"
    STALE = "stale"
    ENCODER = "encoder"
    CAPPED = "capped"
    CURSOR = "cursor"


class Empty(StrEnum):
    """Why an answer has no articles."""

    CATALOGUE = "catalogue"
    FILTER = "filter"
    EXCLUDED = "excluded"
    CANDIDATES = "candidates"
    END = "end"


class Picked(NamedTuple):
    """One article of an answer; `also` lists the ids that tell the same story, best first.

    `published` is in epoch seconds, None where the article states no time; `drawn` says how it was
    chosen where its slot was explored.
    """

    facts: Facts
    score: float
    rank: int
    published: float | None = None
    also: tuple[str, ...] = ()
    reasons: Mapping[str, object] | None = None
    drawn: Drawn | None = None

    @classmethod
    def of(
        cls,
        columns: Columns,
        row: int,
        *,
        score: float,
        rank: int,
        also: tuple[str, ...] = (),
        reasons: Mapping[str, object] | None = None,
        drawn: Drawn | None = None,
    ) -> "Picked":
        """Pick the article of a row."""
        published = None if columns.time_unknown[row] else float(columns.published[row])
        return cls(columns.facts[row], score, rank, published, also, reasons, drawn)


@dataclass(frozen=True, slots=True)
class Answer:
    """One page of articles, best first, and how they came about.

    `left` are the ids for the pages after this one, in order; `at` is the first page's clock and
    `shown` the number of articles on the pages so far, this one included.
    """

    articles: list[Picked]
    strategy: Strategy
    degraded: list[Degraded]
    empty: Empty | None
    left: tuple[str, ...]
    at: float
    shown: int
    activation: Activation


def ids_of(columns: Columns, rows: NDArray[np.intp]) -> tuple[str, ...]:
    """Return the ids of rows, in order."""
    return tuple(columns.ids.take(rows).tolist())
