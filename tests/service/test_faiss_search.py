"""FAISS search equals NumPy for any mask, and refuses what it would read as wild memory."""

import numpy as np
import pytest
from numpy.typing import NDArray

from service.adapters.faiss_search import FaissSearch
from tests.service.fakes import NumpySearch

ROWS, DIM = 500, 16


def some_vectors(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Draw vectors (count, D)."""
    return np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)


ALL = np.ones(ROWS, bool)
QUERY = some_vectors(1, seed=1)[0]


@pytest.mark.parametrize("share", [0.0, 0.002, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("k", [1, 20, 300, 10_000])
def test_search_equals_numpy_for_random_masks(share: float, k: int) -> None:
    """Same rows in the same order, with the same products, never a masked one."""
    rows = some_vectors(ROWS)
    for seed in range(10):
        eligible = np.random.default_rng(seed).random(ROWS) < share
        query = some_vectors(1, seed=100 + seed)[0]
        numbers, products = FaissSearch().top(query, rows, eligible, k)
        expected, expected_products = NumpySearch().top(query, rows, eligible, k)
        assert numbers.tolist() == expected.tolist()
        assert products == pytest.approx(expected_products, abs=1e-4)


@pytest.mark.parametrize("size", [1, 7, 8, 9, 63, 64, 65])
def test_a_mask_that_fills_no_whole_byte_hides_nothing(size: int) -> None:
    """The last row is found alone, whatever the number of rows."""
    eligible = np.zeros(size, bool)
    eligible[-1] = True
    numbers, _ = FaissSearch().top(QUERY, some_vectors(size), eligible, 5)
    assert numbers.tolist() == [size - 1]


def test_nothing_eligible_gives_nothing() -> None:
    """All masked, or no rows at all: an empty answer, not padding."""
    for rows, eligible in ((some_vectors(ROWS), ~ALL), (some_vectors(0), np.ones(0, bool))):
        numbers, products = FaissSearch().top(QUERY, rows, eligible, 5)
        assert (numbers.size, products.size) == (0, 0)


def test_a_query_that_is_a_slice_is_read_right() -> None:
    """A query with gaps in memory is the same query."""
    spread = np.repeat(QUERY, 2)[::2]
    rows = some_vectors(ROWS)
    assert not spread.flags.c_contiguous
    expected = FaissSearch().top(QUERY, rows, ALL, 9)[0]
    assert FaissSearch().top(spread, rows, ALL, 9)[0].tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("query", "rows", "eligible"),
    [
        (QUERY[:-1], some_vectors(ROWS), ALL),
        (QUERY[None], some_vectors(ROWS), ALL),
        (QUERY, some_vectors(ROWS), ALL[:-1]),
        (QUERY.astype(np.float64), some_vectors(ROWS), ALL),
        (QUERY, some_vectors(ROWS).astype(np.float64), ALL),
        (QUERY, some_vectors(2 * ROWS)[::2], ALL),
        (np.full(DIM, np.nan, np.float32), some_vectors(ROWS), ALL),
        (np.full(DIM, np.inf, np.float32), some_vectors(ROWS), ALL),
    ],
    ids=[
        "dimension", "two queries", "mask", "query dtype", "rows dtype", "gaps", "NaN", "infinity",
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    query: NDArray[np.float32], rows: NDArray[np.float32], eligible: NDArray[np.bool_]
) -> None:
    """Shape, type and finiteness are checked before any memory is read by them."""
    with pytest.raises(ValueError, match="cannot search"):
        FaissSearch().top(query, rows, eligible, 5)
