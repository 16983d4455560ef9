"""Approximate search: an inverted file of 4-bit codes, by FAISS, that never touches the matrix.

Rows are kept in lists by their nearest centroid; within a list each row is the code of its residual
(two dimensions to four bits), which FastScan reads 32 rows at a time.
"""

from math import ceil, log2, sqrt

import faiss
import numpy as np
from numpy.typing import NDArray

from contract.article import Mask, Vectors
from service.ports import VectorIndex

FEWEST_ROWS = 10_000
# The lists to search when nothing is filtered: a share of them, and never fewer than so many.
# Readers of many topics have their best articles all over, and of few lists more are needed. Chosen
# with a step to spare (benchmarks/results/retrieval.json).
SHARE, FEWEST_LISTS = 3 / 8, 24
SEED, ROUNDS, TRAINED_PER_LIST = 5, 10, 256
ADDED_AT_ONCE = 8_192


class FaissIndex:
    """The lists of one matrix; searched by several threads at once and never changed."""

    def __init__(
        self,
        lists: faiss.IndexIVFPQFastScan,
        share: float = SHARE,
        fewest_lists: int = FEWEST_LISTS,
    ) -> None:
        self._lists = lists
        self._unfiltered = max(fewest_lists, lists.nlist * share)

    @property
    def size(self) -> int:
        """Return the number of rows that it covers."""
        return int(self._lists.ntotal)

    @property
    def width(self) -> int:
        """Return the dimension of its vectors."""
        return int(self._lists.d)

    def probes(self, survivors: int) -> int:
        """Return in how many of the lists to search: the more, the fewer rows survive.

        So as many survivors are met as rows without a filter, until no list is left out.
        """
        wanted = ceil(self._unfiltered * self.size / max(survivors, 1))
        return min(int(self._lists.nlist), wanted)

    def top(
        self, query: NDArray[np.float32], eligible: Mask, k: int, *, survivors: int
    ) -> NDArray[np.int64]:
        """Return at most k row numbers, about best first; fewer only when fewer are eligible."""
        self._check(query, eligible)
        wanted, probes = min(k, survivors), self.probes(survivors)
        if wanted <= 0:
            return np.empty(0, np.int64)
        bits = np.packbits(eligible, bitorder="little")
        rows = self._searched(query, bits, wanted, probes)
        if len(rows) < wanted and probes < self._lists.nlist:
            # The survivors are far from the query, in lists that were not looked at.
            rows = self._searched(query, bits, wanted, self._lists.nlist)
        return rows

    def training(self, rows: int, dim: int) -> faiss.IndexIVFPQFastScan | None:
        """Copy what was trained, empty; None where it does not do for so many rows."""
        if self.width != dim or self._lists.nlist != lists_for(rows):
            return None
        lists = _as_lists(faiss.clone_index(self._lists))
        lists.reset()
        return lists

    def _searched(
        self, query: NDArray[np.float32], bits: NDArray[np.uint8], k: int, probes: int
    ) -> NDArray[np.int64]:
        selector = faiss.IDSelectorBitmap(self.size, faiss.swig_ptr(bits))
        how = faiss.SearchParametersIVF()
        how.nprobe, how.sel = probes, selector
        _, found = self._lists.search(query[None], k, params=how)
        rows: NDArray[np.int64] = found[0]
        return rows[rows >= 0]

    def _check(self, query: NDArray[np.float32], eligible: Mask) -> None:
        # FAISS reads the mask by the number of rows, and a NaN has no nearest list.
        is_sound = (
            query.shape == (self.width,)
            and eligible.shape == (self.size,)
            and query.dtype == np.float32
            and eligible.dtype == np.bool_
            and np.isfinite(query).all()
        )
        if not is_sound:
            shapes = f"{query.shape} {query.dtype} and {eligible.shape} {eligible.dtype}"
            raise ValueError(f"cannot search {self.size} x {self.width} by {shapes}")


class FaissIndexBuilder:
    """Builds such indexes; the same vectors give the same index."""

    def __init__(
        self,
        fewest_rows: int = FEWEST_ROWS,
        share: float = SHARE,
        fewest_lists: int = FEWEST_LISTS,
    ) -> None:
        self._fewest_rows = fewest_rows
        self._share = share
        self._fewest_lists = fewest_lists

    def build(self, vectors: Vectors, like: VectorIndex | None) -> FaissIndex | None:
        """Index the rows (N, D); None where exact search is faster or D is odd.

        `like` lends its training while the number of lists stays the same: only the rows are coded.
        """
        rows, dim = vectors.shape
        if rows < self._fewest_rows or dim % 2:
            return None
        # Of this thread: requests keep the other cores.
        faiss.omp_set_num_threads(1)
        lent = like.training(rows, dim) if isinstance(like, FaissIndex) else None
        lists = _trained(vectors) if lent is None else lent
        # In blocks: coding makes a copy of what it codes.
        for start in range(0, rows, ADDED_AT_ONCE):
            lists.add(vectors[start : start + ADDED_AT_ONCE])
        return FaissIndex(lists, self._share, self._fewest_lists)


def lists_for(rows: int) -> int:
    """Return the number of lists for so many rows: a power of two near a quarter of the root."""
    exponent: int = round(log2(sqrt(max(rows, 1)) / 4))
    return 1 << min(max(exponent, 5), 10)


def _trained(vectors: Vectors) -> faiss.IndexIVFPQFastScan:
    rows, dim = vectors.shape
    how = f"IVF{lists_for(rows)},PQ{dim // 2}x4fsr"
    lists = _as_lists(faiss.index_factory(dim, how, faiss.METRIC_INNER_PRODUCT))
    lists.cp.niter, lists.cp.seed, lists.pq.cp.seed = ROUNDS, SEED, SEED
    # Drawn at random: rows that come in turns must not be missed in turns.
    drawn = min(rows, TRAINED_PER_LIST * lists.nlist)
    lists.train(vectors[np.random.default_rng(SEED).choice(rows, drawn, replace=False)])
    return lists


def _as_lists(index: faiss.Index) -> faiss.IndexIVFPQFastScan:
    if not isinstance(index, faiss.IndexIVFPQFastScan):
        raise ValueError(f"not such an index: {type(index).__name__}")
    return index
