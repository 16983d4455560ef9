"""Orders that need no reader: the newest first, the most clicked first."""

import numpy as np
from numpy.typing import NDArray

from service.snapshot import Snapshot

Ordered = tuple[NDArray[np.intp], NDArray[np.float64]]


def best(
    snapshot: Snapshot, rows: NDArray[np.intp], scores: NDArray[np.float64], k: int
) -> Ordered:
    """Return the k rows of the highest scores and these, best first, ties by id.

    Every row that ties with the k-th is compared by its id.
    """
    if k == 0:
        return rows[:0], scores[:0]
    if k < len(rows):
        kept = scores >= np.partition(scores, len(scores) - k)[len(scores) - k]
        rows, scores = rows[kept], scores[kept]
    facts = snapshot.columns.facts
    keys = [(-s, facts[row].id) for s, row in zip(scores.tolist(), rows.tolist(), strict=True)]
    order = sorted(range(len(keys)), key=keys.__getitem__)[:k]
    return rows[order], scores[order]


def newest(snapshot: Snapshot, rows: NDArray[np.intp], k: int) -> Ordered:
    """Return the k newest of the rows; the score is the time, in epoch seconds."""
    return best(snapshot, rows, snapshot.columns.published[rows], k)


def popular(snapshot: Snapshot, rows: NDArray[np.intp], k: int) -> Ordered:
    """Return the k most clicked of the rows, then the newest of those never clicked.

    The score is the weight of an article's clicks, 0 where there were none.
    """
    weights = clicks(snapshot, rows)
    is_clicked = weights > 0
    first, scores = best(snapshot, rows[is_clicked], weights[is_clicked], k)
    rest, _ = newest(snapshot, rows[~is_clicked], k - len(first))
    return np.concatenate([first, rest]), np.concatenate([scores, np.zeros(len(rest))])


def clicks(snapshot: Snapshot, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the weight of the rows' clicks, 0 where there were none."""
    return np.exp(snapshot.popularity[rows])
