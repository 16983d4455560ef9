"""Orders that need no reader: the newest first, the most clicked first."""

from collections.abc import Callable
from heapq import nsmallest
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.snapshot import Snapshot

# JSON has no infinity.
MOST: Final = 709.0

Ordered = tuple[NDArray[np.intp], NDArray[np.float64]]


def best(
    snapshot: Snapshot, rows: NDArray[np.intp], scores: NDArray[np.float64], k: int
) -> Ordered:
    """Return the k rows of the highest scores and these, best first, ties by id."""
    if k == 0:
        return rows[:0], scores[:0]
    ids = snapshot.columns.ids
    if k < len(rows):
        kept = _best_of_many(scores, k, lambda places: ids.take(rows[places]))
        rows, scores = rows[kept], scores[kept]
    keys = list(zip((-scores).tolist(), ids.take(rows).tolist(), strict=True))
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return rows[order], scores[order]


def _best_of_many(
    scores: NDArray[np.float64], k: int, ids_of: Callable[[NDArray[np.intp]], NDArray[np.object_]]
) -> NDArray[np.intp]:
    """Return the places of the k highest scores, in no order; of those that tie the first ids."""
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    above, ties = np.flatnonzero(scores > least), np.flatnonzero(scores == least)
    if len(above) + len(ties) > k:
        ids = ids_of(ties)
        # Not sorted: a catalogue that was imported at once ties as a whole.
        last = nsmallest(k - len(above), ids.tolist())[-1]
        ties = ties[ids <= last]
    return np.concatenate([above, ties])


def newest(snapshot: Snapshot, rows: NDArray[np.intp], k: int) -> Ordered:
    """Return the k newest of the rows; the score is the time, in epoch seconds."""
    return best(snapshot, rows, snapshot.columns.published[rows], k)


def popular(snapshot: Snapshot, rows: NDArray[np.intp], k: int) -> Ordered:
    """Return the k most clicked of the rows, then the newest of those never clicked.

    The score is the weight of an article's clicks, 0 where there were none.
    """
    is_clicked = clicks(snapshot, rows) > 0
    clicked = rows[is_clicked]
    first, _ = best(snapshot, clicked, snapshot.popularity[clicked], k)
    rest, _ = newest(snapshot, rows[~is_clicked], k - len(first))
    found = np.concatenate([first, rest])
    return found, clicks(snapshot, found)


def clicks(snapshot: Snapshot, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the weight of the rows' clicks, 0 where there were none.

    An import may give any weights: beyond e^709 (1e308) all are told as that.
    """
    return np.exp(np.minimum(snapshot.popularity[rows] - snapshot.cooling, MOST))
