"""Retrieval: the rows worth scoring in full, from the index where there is one."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from contract.article import Mask, Vectors
from service.ports import RowSearch
from service.snapshot import Snapshot

# Of fewer eligible rows, exact search over just these is as fast as an index.
FEW = 1_000


class Retrieval:
    """Finds the top rows of a snapshot by inner product; holds no state between requests."""

    def __init__(self, exact: RowSearch, mode: Literal["auto", "exact"] = "auto") -> None:
        self._exact = exact
        self._mode = mode

    def rows(
        self, snapshot: Snapshot, query: NDArray[np.float32], eligible: Mask, k: int
    ) -> NDArray[np.int64]:
        """Return min(k, eligible) rows, best first; about so where an index chose them.

        `eligible` is (count,). Exact where mode says so, no index is there or few rows survive.
        """
        index = snapshot.index
        if self._mode == "exact" or index is None or np.count_nonzero(eligible) < FEW:
            return self._exact.top(query, snapshot.vectors, eligible, k)[0]
        covered = eligible[: index.size]
        survivors = int(np.count_nonzero(covered))
        known = index.top(query, covered, k, survivors=survivors)
        if index.size == snapshot.count:
            return known
        return _with_tail(known, index.size, snapshot.vectors, query, eligible, k)


def _with_tail(
    known: NDArray[np.int64],
    size: int,
    vectors: Vectors,
    query: NDArray[np.float32],
    eligible: Mask,
    k: int,
) -> NDArray[np.int64]:
    """Join rows of the index with those beyond it, and cut to k by the exact products."""
    products, beyond = vectors[known] @ query, vectors[size:] @ query
    # Few rows of the tail are better than the last one known: only those are sorted in.
    least = products.min() if len(known) == k else -np.inf
    better = np.flatnonzero(eligible[size:] & (beyond > least))
    if not len(better):
        return known
    rows = np.concatenate([known, better + size])
    products = np.concatenate([products, beyond[better]])
    return rows[np.argsort(-products, kind="stable")[:k]]
