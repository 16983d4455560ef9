"""Orders that need no reader: ties by id whatever they cost, and clicks that stay numbers."""

import time
from collections.abc import Callable
from math import log

import numpy as np
import orjson
import pytest

from service.orders import best, clicks, newest, popular
from service.popularity import PopularityUpdate
from service.snapshot import Snapshot
from tests.service.fakes import NOW, a_catalogue_with, a_stored

COUNT = 3_000


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    """Build articles of one time, in no order of ids."""
    order = np.random.default_rng(0).permutation(COUNT)
    return a_catalogue_with(*(a_stored(f"N{i:04}", first_seen=NOW) for i in order)).current


def ids_of(snapshot: Snapshot, rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> list[str]:
    """Return the ids of rows, in order."""
    return [snapshot.columns.facts[row].id for row in rows]


@pytest.mark.parametrize("k", [0, 1, 10, COUNT - 1, COUNT, COUNT + 1])
def test_the_newest_of_one_time_come_by_id(snapshot: Snapshot, k: int) -> None:
    """However many tie."""
    rows, scores = newest(snapshot, np.arange(COUNT), k)
    assert ids_of(snapshot, rows) == [f"N{i:04}" for i in range(min(k, COUNT))]
    assert set(scores) <= {NOW}


@pytest.mark.parametrize("k", [1, 7, 50, 299])
def test_what_ties_with_the_last_comes_by_id(snapshot: Snapshot, k: int) -> None:
    """Behind what scores more, which is all there."""
    scores = np.random.default_rng(k).integers(0, 20, COUNT).astype(np.float64)
    rows, given = best(snapshot, np.arange(COUNT), scores, k)
    keys = sorted((-s, f.id) for s, f in zip(scores, snapshot.columns.facts, strict=True))[:k]
    assert [(-s, i) for s, i in zip(given, ids_of(snapshot, rows), strict=True)] == keys


def test_many_ties_cost_little_more_than_none(snapshot: Snapshot) -> None:
    """A catalogue that was imported at once has one time for all."""
    rows, apart = np.arange(COUNT), np.random.default_rng(0).random(COUNT)
    none = least_cpu_s(lambda: best(snapshot, rows, apart, 10))
    assert least_cpu_s(lambda: best(snapshot, rows, np.ones(COUNT), 10)) < 30 * none


def least_cpu_s(call: Callable[[], object]) -> float:
    """Measure the CPU time of a call in this thread: the least of twenty."""
    times = []
    for _ in range(20):
        started = time.thread_time()
        call()
        times.append(time.thread_time() - started)
    return min(times)


def test_clicks_are_told_as_they_weigh_by_now() -> None:
    """In the same order; without any there is nothing to cool."""
    catalogue = a_catalogue_with(*(a_stored(f"N{i}") for i in range(3)))
    catalogue.set_popularity(PopularityUpdate({"N0": log(4), "N1": log(8)}, cooling=log(4)))
    rows, scores = popular(catalogue.current, np.arange(3), 3)
    assert ids_of(catalogue.current, rows) == ["N1", "N0", "N2"]
    assert scores.tolist() == pytest.approx([2.0, 1.0, 0.0])


def test_weights_beyond_all_numbers_are_numbers() -> None:
    """An import may give any; JSON has no infinity, and order stays."""
    catalogue = a_catalogue_with(*(a_stored(f"N{i}") for i in range(4)))
    catalogue.set_popularity(PopularityUpdate({"N0": 2.0, "N1": 800.0, "N2": 900.0}))
    snapshot = catalogue.current
    rows, scores = popular(snapshot, np.arange(4), 4)
    assert ids_of(snapshot, rows) == ["N2", "N1", "N0", "N3"]
    assert scores.tolist() == clicks(snapshot, rows).tolist()
    assert np.isfinite(scores).all()
    assert None not in orjson.loads(orjson.dumps(scores.tolist()))
