"""The index finds the true best behind any filter and leaks no masked row."""

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from contract.article import Mask, Vectors
from service.adapters.faiss_index import FaissIndex, FaissIndexBuilder, lists_for
from tests.service.fakes import NumpyIndex, NumpySearch

ROWS, WIDTH, READERS, K = 20_000, 32, 40, 300
BUILDER = FaissIndexBuilder(1_000)


@lru_cache
def vectors(count: int = ROWS, seed: int = 0) -> Vectors:
    """Draw unit vectors around 20 topics: (count, D)."""
    rng = np.random.default_rng(seed)
    topics = np.random.default_rng(99).standard_normal((20, WIDTH))
    rows = topics[rng.integers(0, 20, count)] + rng.standard_normal((count, WIDTH))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@lru_cache
def index() -> FaissIndex:
    """Build the index that all tests only read."""
    built = BUILDER.build(vectors(), None)
    assert built is not None
    return built


def readers() -> Vectors:
    """Draw readers of three topics each: the mean of 50 articles."""
    rng, rows = np.random.default_rng(7), vectors()
    near = [
        np.argsort(-(rows @ rows[rng.integers(0, ROWS, 3)].T), axis=0)[:400] for _ in "x" * READERS
    ]
    return np.array([rows[rng.choice(n.ravel(), 50)].mean(axis=0) for n in near], np.float32)


def a_mask(kind: str, share: float, rng: np.random.Generator) -> Mask:
    """Leave a share of the rows: any, or those nearest to some article."""
    order = rng.random(ROWS) if kind == "random" else -(vectors() @ vectors()[rng.integers(ROWS)])
    mask = np.zeros(ROWS, bool)
    mask[np.argsort(order)[: int(share * ROWS)]] = True
    return mask


@pytest.mark.parametrize("kind", ["random", "topical"])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.001])
def test_at_every_selectivity_the_true_best_ten_are_found(share: float, kind: str) -> None:
    """Of the exact top 10 at least 98 % are among the 300 found, and no row is masked or twice."""
    rng, recalls = np.random.default_rng(int(1_000 * share)), []
    for query in readers():
        mask = a_mask(kind, share, rng)
        survivors = int(np.count_nonzero(mask))
        found = index().top(query, mask, K, survivors=survivors)
        assert mask[found].all()
        assert len(set(found.tolist())) == len(found) == min(K, survivors)
        exact, _ = NumpySearch().top(query, vectors(), mask, 10)
        recalls.append(len(np.intersect1d(found, exact)) / len(exact))
    assert np.mean(recalls) >= 0.98


def test_few_probes_behind_a_filter_would_miss_them() -> None:
    """The rule is needed: told that nothing is filtered, an index looks past the survivors."""
    rng, recalls = np.random.default_rng(3), {"told": [], "not told": []}
    quick = FaissIndexBuilder(1_000, share=1 / 8, fewest_lists=1).build(vectors(), like=index())
    assert quick is not None
    for query in readers():
        mask = a_mask("topical", 0.1, rng)
        exact, _ = NumpySearch().top(query, vectors(), mask, 10)
        for name, survivors in (("told", ROWS // 10), ("not told", ROWS)):
            found = quick.top(query, mask, 50, survivors=survivors)
            recalls[name].append(len(np.intersect1d(found, exact)) / 10)
    assert np.mean(recalls["told"]) > np.mean(recalls["not told"]) + 0.02


@pytest.mark.parametrize(
    ("survivors", "probes"),
    [(ROWS, 12), (16_000, 15), (10_000, 24), (7_501, 32), (7_500, 32), (1, 32), (0, 32)],
)
def test_the_fewer_survive_the_more_lists_are_looked_at(survivors: int, probes: int) -> None:
    """Of 32 lists three eighths when nothing is filtered, all when so many rows survive."""
    built = FaissIndexBuilder(1_000, fewest_lists=1).build(vectors(), like=index())
    assert built is not None
    assert built.probes(survivors) == probes


@pytest.mark.parametrize(("survivors", "probes"), [(ROWS, 24), (16_000, 30), (15_000, 32)])
def test_never_fewer_than_so_many_lists_are_looked_at(survivors: int, probes: int) -> None:
    """An index with few lists needs more of them."""
    assert index().probes(survivors) == probes


@pytest.mark.parametrize(
    ("rows", "lists"),
    [(1, 32), (10_000, 32), (32_000, 32), (33_000, 64), (65_000, 64), (10**9, 1_024)],
)
def test_lists_grow_with_the_root_of_the_rows(rows: int, lists: int) -> None:
    """A power of two near a quarter of the root, from 32 to 1,024."""
    assert lists_for(rows) == lists


def test_survivors_far_from_the_reader_are_found_all_the_same() -> None:
    """Where the lists looked at hold too few, all are: a filter never leaves fewer than exist."""
    query = readers()[0]
    mask = np.ones(ROWS, bool)
    mask[np.argsort(-(vectors() @ query))[: ROWS - 1_500]] = False
    # Told of more survivors than there are, it begins with too few lists.
    found = index().top(query, mask, 1_400, survivors=15_000)
    assert len(set(found.tolist())) == 1_400
    assert found.min() >= 0
    assert mask[found].all()


@pytest.mark.parametrize(("k", "survivors"), [(0, ROWS), (5, 0)])
def test_nothing_wanted_or_nothing_eligible_gives_nothing(k: int, survivors: int) -> None:
    """An empty answer, not padding."""
    assert index().top(readers()[0], np.zeros(ROWS, bool), k, survivors=survivors).tolist() == []


@pytest.mark.parametrize(
    ("query", "mask"),
    [
        (np.ones(WIDTH - 1, np.float32), np.ones(ROWS, bool)),
        (np.ones((1, WIDTH), np.float32), np.ones(ROWS, bool)),
        (np.ones(WIDTH), np.ones(ROWS, bool)),
        (np.ones(WIDTH, np.float32), np.ones(ROWS - 1, bool)),
        (np.ones(WIDTH, np.float32), np.ones(ROWS, np.uint8)),
        (np.full(WIDTH, np.nan, np.float32), np.ones(ROWS, bool)),
    ],
    ids=["dimension", "two queries", "query dtype", "mask", "mask dtype", "NaN"],
)
def test_what_does_not_fit_is_refused(query: Vectors, mask: NDArray[np.bool_]) -> None:
    """Shape, type and finiteness are checked before any memory is read by them."""
    with pytest.raises(ValueError, match="cannot search"):
        index().top(query, mask, 5, survivors=ROWS)


def test_few_rows_and_odd_dimensions_get_no_index() -> None:
    """Exact search serves them as well; by default that is below 10,000 rows."""
    rows = vectors()
    assert BUILDER.build(rows[:999], None) is None
    assert FaissIndexBuilder().build(rows[:9_999], None) is None
    assert BUILDER.build(rows[:2_000, :31], None) is None


def test_the_same_vectors_give_the_same_index() -> None:
    """Replicas agree: nothing in it is left to chance."""
    rows = vectors(4_000)
    first, second = BUILDER.build(rows, None), BUILDER.build(rows.copy(), None)
    assert first is not None
    assert second is not None
    assert trained(first) == trained(second)
    assert orders(first) == orders(second)


def test_an_index_lends_its_training_while_the_lists_stay_as_many() -> None:
    """Only the rows are coded anew, and the lender stays as it was."""
    before, rows = orders(index()), vectors(ROWS, seed=5)
    lent = BUILDER.build(rows, like=index())
    assert lent is not None
    assert trained(lent) == trained(index()) != trained(BUILDER.build(rows, like=None))
    found = lent.top(rows[17], np.ones(ROWS, bool), 10, survivors=ROWS)
    assert found[0] == 17
    assert orders(index()) == before != orders(lent)


@pytest.mark.parametrize("like", ["another width", "other lists", "another kind"])
def test_training_that_does_not_fit_is_not_borrowed(like: str) -> None:
    """Another dimension, another number of lists or another kind of index: it trains itself."""
    all_rows = np.ascontiguousarray(vectors()[:, :8])
    rows = all_rows[:2_000]
    lenders = {
        "another width": BUILDER.build(vectors(2_000), None),
        "other lists": BUILDER.build(np.tile(all_rows, (2, 1)), None),
        "another kind": NumpyIndex(rows),
    }
    assert trained(BUILDER.build(rows, lenders[like])) == trained(BUILDER.build(rows, None))


def orders(built: FaissIndex) -> list[list[int]]:
    """Return all rows as an index puts them in order for each of some readers."""
    everything = np.ones(built.size, bool)
    found = [built.top(q, everything, built.size, survivors=built.size) for q in readers()[:5]]
    return [rows.tolist() for rows in found]


def trained(built: FaissIndex | None) -> bytes:
    """Return what training made of an index."""
    assert built is not None
    lists = built.training(built.size, built.width)
    assert lists is not None
    return faiss.serialize_index(lists).tobytes()


def test_readers_at_once_get_the_answers_of_readers_one_by_one() -> None:
    """A search changes nothing in the index, not even the number of probes."""
    rng = np.random.default_rng(11)
    asked = [(q, a_mask("random", s, rng), s) for q in readers() for s in (1.0, 0.2, 0.01)]

    def search(one: tuple[Vectors, Mask, float]) -> list[int]:
        query, mask, share = one
        return index().top(query, mask, 20, survivors=int(share * ROWS)).tolist()

    expected = [search(one) for one in asked]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(search, asked)) == expected
