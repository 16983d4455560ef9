"""Retrieval joins the index and the tail, and searches exactly where an index would not pay."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from service.adapters.faiss_index import FaissIndexBuilder
from service.adapters.faiss_search import FaissSearch
from service.columns import Columns
from service.id_table import IdTable
from service.retrieval import FEW, Retrieval
from service.snapshot import Snapshot
from tests.service.fakes import ACTIVATION, DIM, NumpyIndex, NumpySearch

INDEXED, TAIL, K = 3_000, 200, 50
QUERY = np.random.default_rng(8).standard_normal(DIM).astype(np.float32)


def a_snapshot(
    indexed: int | None = INDEXED, count: int = INDEXED + TAIL, dim: int = DIM
) -> Snapshot:
    """Build a snapshot of random rows, some of them behind the index."""
    columns = Columns.empty(count, dim)
    columns.vectors[:] = np.random.default_rng(0).standard_normal((count, dim))
    nothing = np.zeros(count)
    snapshot = Snapshot(ACTIVATION, columns, count, nothing == 0, IdTable([]), {}, nothing)
    return snapshot if indexed is None else with_index(snapshot, indexed)


def with_index(snapshot: Snapshot, indexed: int) -> Snapshot:
    """Hang an index over the first rows in."""
    return replace(snapshot, index=NumpyIndex(snapshot.vectors[:indexed]))


def exact_rows(snapshot: Snapshot, eligible: NDArray[np.bool_], k: int = K) -> list[int]:
    """Return what exact search over everything gives."""
    return NumpySearch().top(QUERY, snapshot.vectors, eligible, k)[0].tolist()


def asked(snapshot: Snapshot) -> list[int]:
    """Return the numbers of survivors that the index was told."""
    assert isinstance(snapshot.index, NumpyIndex)
    return snapshot.index.told


@pytest.mark.parametrize("indexed", [INDEXED, INDEXED + TAIL, INDEXED + TAIL - 1, 40])
@pytest.mark.parametrize("k", [1, K, 300])
def test_index_and_tail_together_equal_one_exact_search(indexed: int, k: int) -> None:
    """At most k rows, cut by the exact product, wherever the index ends."""
    snapshot = a_snapshot(indexed)
    for seed in range(5):
        eligible = np.random.default_rng(seed).random(snapshot.count) < 0.6
        rows = Retrieval(NumpySearch()).rows(snapshot, QUERY, eligible, k)
        assert rows.tolist() == exact_rows(snapshot, eligible, k)
        assert asked(snapshot)[-1] == np.count_nonzero(eligible[:indexed])


def test_a_row_beyond_the_index_is_found() -> None:
    """An article is recommended from the moment it is there, and masked like any other."""
    snapshot = a_snapshot()
    newest = snapshot.count - 1
    snapshot.columns.vectors[newest] = 10 * QUERY
    eligible = np.ones(snapshot.count, bool)
    assert Retrieval(NumpySearch()).rows(snapshot, QUERY, eligible, K)[0] == newest
    eligible[newest] = False
    assert newest not in Retrieval(NumpySearch()).rows(snapshot, QUERY, eligible, K)


@pytest.mark.parametrize("where", ["index", "tail"])
def test_a_filter_may_leave_only_one_side(where: str) -> None:
    """All survivors indexed, or all of them in the tail."""
    snapshot = a_snapshot(INDEXED, INDEXED + 2 * FEW)
    eligible = np.arange(snapshot.count) < INDEXED
    eligible = eligible if where == "index" else ~eligible
    rows = Retrieval(NumpySearch()).rows(snapshot, QUERY, eligible, K)
    assert rows.tolist() == exact_rows(snapshot, eligible)


@pytest.mark.parametrize(("survivors", "uses_index"), [(FEW - 1, False), (FEW, True)])
def test_few_survivors_are_searched_exactly(survivors: int, uses_index: bool) -> None:
    """From 1,000 on the index is asked; below, only the survivors are looked at."""
    snapshot = a_snapshot()
    eligible = np.arange(snapshot.count) >= snapshot.count - survivors
    rows = Retrieval(NumpySearch()).rows(snapshot, QUERY, eligible, K)
    assert rows.tolist() == exact_rows(snapshot, eligible)
    assert bool(asked(snapshot)) is uses_index


def test_exact_mode_never_asks_an_index() -> None:
    """The setting says so, whatever the snapshot holds."""
    snapshot = a_snapshot()
    eligible = np.ones(snapshot.count, bool)
    rows = Retrieval(NumpySearch(), mode="exact").rows(snapshot, QUERY, eligible, K)
    assert rows.tolist() == exact_rows(snapshot, eligible)
    assert asked(snapshot) == []


def test_without_an_index_everything_is_searched_exactly() -> None:
    """As just after a merge, and in a small catalogue."""
    snapshot = a_snapshot(None)
    eligible = np.ones(snapshot.count, bool)
    rows = Retrieval(NumpySearch()).rows(snapshot, QUERY, eligible, K)
    assert rows.tolist() == exact_rows(snapshot, eligible)


@pytest.mark.parametrize("share", [1.0, 0.3, 0.05, 0.001])
def test_the_real_parts_find_the_best_of_index_and_tail(share: float) -> None:
    """With FAISS on both sides at least 98 % of the exact top 10 are found, and no masked row."""
    snapshot, recalls, rng = topical_snapshot(22_000), [], np.random.default_rng(2)
    built = FaissIndexBuilder().build(snapshot.vectors[:20_000], None)
    snapshot, retrieval = replace(snapshot, index=built), Retrieval(FaissSearch())
    for _ in range(30):
        query, eligible = snapshot.vectors[rng.integers(22_000)], rng.random(22_000) < share
        rows = retrieval.rows(snapshot, query, eligible, 300)
        assert eligible[rows].all()
        assert len(rows) == min(300, np.count_nonzero(eligible))
        best = NumpySearch().top(query, snapshot.vectors, eligible, 10)[0]
        recalls.append(len(np.intersect1d(rows, best)) / len(best))
    assert np.mean(recalls) >= 0.98


def topical_snapshot(count: int) -> Snapshot:
    """Build a snapshot of rows around 20 topics, 32 numbers wide."""
    rng, snapshot = np.random.default_rng(1), a_snapshot(None, count, dim=32)
    snapshot.columns.vectors[:] += rng.standard_normal((20, 32))[rng.integers(0, 20, count)]
    return snapshot
