"""Ranking metrics by MIND's conventions: computed per impression, then averaged over impressions.

An impression whose candidates are all clicked or all skipped has no order to judge and is left out
of every mean. Source: `evaluate.py` of the MIND competition (Wu et al., ACL 2020, section 4).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ranked: TypeAlias = tuple[ArrayLike, Sequence[bool]]
METRICS = ("auc", "mrr", "ndcg5", "ndcg10")


@dataclass(frozen=True, slots=True)
class RankingMetrics:
    """Means over the impressions that have both clicks and skips; `impressions` counts those."""

    auc: float
    mrr: float
    ndcg5: float
    ndcg10: float
    impressions: int

    def as_dict(self) -> dict[str, float | int]:
        """Return the figures by name."""
        return asdict(self)


def impression_auc(scores: ArrayLike, clicks: Sequence[bool]) -> float:
    """Return the share of click-skip pairs in the right order; ties count one half."""
    values, clicked = np.asarray(scores, dtype=np.float64), np.asarray(clicks, dtype=bool)
    click, skip = values[clicked][:, None], values[~clicked][None, :]
    # Compared, not subtracted: the scores of two candidates without a text are both -inf.
    return float((click > skip).mean() + 0.5 * (click == skip).mean())


def mrr(scores: ArrayLike, clicks: Sequence[bool]) -> float:
    """Return the mean of 1 / rank over all clicks (MIND's MRR, not the first hit's)."""
    ordered = _in_order(scores, clicks)
    return float((ordered / np.arange(1, len(ordered) + 1)).sum() / ordered.sum())


def ndcg(scores: ArrayLike, clicks: Sequence[bool], k: int) -> float:
    """Return nDCG@k with gain 1 for a click, discount log2(rank + 1)."""
    ideal = _dcg(np.sort(np.asarray(clicks, dtype=np.float64))[::-1], k)
    return _dcg(_in_order(scores, clicks), k) / ideal


def impression_values(ranked: Iterable[Ranked]) -> dict[str, list[float]]:
    """Return each metric of each impression of (scores, clicks) that has clicks and skips."""
    rows = [
        (impression_auc(s, c), mrr(s, c), ndcg(s, c, 5), ndcg(s, c, 10))
        for s, c in ranked
        if any(c) and not all(c)
    ]
    if not rows:
        raise ValueError("no impression has both a click and a skip: nothing to measure")
    return {name: [row[i] for row in rows] for i, name in enumerate(METRICS)}


def mean_over_impressions(ranked: Iterable[Ranked]) -> RankingMetrics:
    """Average the metrics over impressions of (scores, clicks)."""
    return mean_values(impression_values(ranked))


def mean_values(values: Mapping[str, Sequence[float]]) -> RankingMetrics:
    """Average what `impression_values` returns."""
    means = {name: float(np.mean(values[name])) for name in METRICS}
    return RankingMetrics(**means, impressions=len(values[METRICS[0]]))


def _in_order(scores: ArrayLike, clicks: Sequence[bool]) -> NDArray[np.float64]:
    values = np.asarray(scores, dtype=np.float64)
    if np.isnan(values).any():
        raise ValueError("a score is NaN: there is no order to judge")
    # As the competition's argsort()[::-1], made stable: of equal scores the later comes first.
    order = np.argsort(values, kind="stable")[::-1]
    return np.asarray(clicks, dtype=np.float64)[order]


def _dcg(gains: NDArray[np.float64], k: int) -> float:
    top = gains[:k]
    return float((top / np.log2(np.arange(2, len(top) + 2))).sum())
