"""Exact search over the rows a mask leaves, by FAISS, on the matrix itself (no second copy)."""

import faiss
import numpy as np
from numpy.typing import NDArray

from contract.article import Mask, Vectors

# Where fewer than one row in 20 survives, gathering them beats a scan that skips all others.
SCANNED_PER_SURVIVOR = 20


class FaissSearch:
    """Inner-product top-k; looks at no masked row, so fewer survivors cost less."""

    def top(
        self, query: NDArray[np.float32], rows: Vectors, eligible: Mask, k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return row numbers and inner products, best first, at most k and only eligible ones."""
        _check(query, rows, eligible)
        survivors = int(np.count_nonzero(eligible))
        if survivors * SCANNED_PER_SURVIVOR < len(rows):
            return _gathered(query, rows, eligible, k)
        return _scanned(query, rows, eligible, min(k, survivors))


def _gathered(
    query: NDArray[np.float32], rows: Vectors, eligible: Mask, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    numbers = np.flatnonzero(eligible)
    products = rows[numbers] @ query
    best = np.argsort(-products, kind="stable")[:k]
    return numbers[best], products[best]


def _scanned(
    query: NDArray[np.float32], rows: Vectors, eligible: Mask, found: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    products = np.empty((1, found), np.float32)
    numbers = np.empty((1, found), np.int64)
    if found:
        bits = np.packbits(eligible, bitorder="little")
        query = np.ascontiguousarray(query)
        faiss.knn_inner_product(
            faiss.swig_ptr(query),
            faiss.swig_ptr(rows),
            rows.shape[1],
            1,
            len(rows),
            found,
            faiss.swig_ptr(products),
            faiss.swig_ptr(numbers),
            faiss.IDSelectorBitmap(len(rows), faiss.swig_ptr(bits)),
        )
    return numbers[0], products[0]


def _check(query: NDArray[np.float32], rows: Vectors, eligible: Mask) -> None:
    # FAISS reads memory by these numbers and checks them with an assert at most.
    is_sound = (
        query.shape == rows.shape[1:]
        and eligible.shape == rows.shape[:1]
        and query.dtype == rows.dtype == np.float32
        and rows.flags.c_contiguous
        and np.isfinite(query).all()
    )
    if not is_sound:
        raise ValueError(f"cannot search {rows.shape} {rows.dtype} by {query.shape} {query.dtype}")
