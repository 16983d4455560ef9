"""BM25 words: an index and a tail that score alike, whichever rows are in which."""

import time
from collections.abc import Callable, Sequence

import bm25s
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.adapters.bm25_words import Bm25Builder, Bm25Words

VOCABULARY = 12
Rows = list[list[int]]

some_rows = st.lists(st.lists(st.integers(0, VOCABULARY - 1), max_size=9), min_size=1, max_size=25)
some_words = st.lists(st.integers(0, VOCABULARY - 1), max_size=5)


def terms(rows: Sequence[Sequence[int]]) -> list[bytes]:
    """Write word codes as columns hold them."""
    return [np.array(row, np.int32).tobytes() for row in rows]


LeastCpu = Callable[[Callable[[], object]], float]


@pytest.fixture
def least_cpu_s() -> LeastCpu:
    """Give what measures the CPU time of a call in this thread: the least of ten."""

    def measured(call: Callable[[], object]) -> float:
        times = []
        for _ in range(10):
            started = time.thread_time()
            call()
            times.append(time.thread_time() - started)
        return min(times)

    return measured


def an_index(rows: Rows, vocabulary: int = VOCABULARY) -> Bm25Words:
    """Index rows of word codes."""
    return Bm25Builder().build(terms(rows), vocabulary)


def asked(words: Sequence[int]) -> NDArray[np.int32]:
    """Return a query's word codes."""
    return np.array(words, np.int32)


def whole(index: Bm25Words, rows: Rows, words: list[int]) -> NDArray[np.float32]:
    """Score rows that an index was built over; without a word among them it covers none."""
    return index.scores(asked(words), terms(rows[index.size :]))


def by_bm25s(rows: Rows, words: list[int]) -> NDArray[np.float32]:
    """Score rows by bm25s itself, from words as text."""
    index = bm25s.BM25(method="lucene")
    index.index([[f"w{code}" for code in row] for row in rows], show_progress=False)
    known = [f"w{code}" for code in words if any(code in row for row in rows)]
    return np.asarray(index.get_scores(known) if known else np.zeros(len(rows)), np.float32)


def by_hand(rows: Rows, words: list[int]) -> list[float]:
    """Score rows by the formula of Lucene, k1 = 1.5 and b = 0.75, term by term."""
    mean = sum(map(len, rows)) / len(rows)
    scores = []
    for row in rows:
        score = 0.0
        for word in words:
            holding = sum(word in other for other in rows)
            rarity = np.log(1 + (len(rows) - holding + 0.5) / (holding + 0.5))
            count = row.count(word)
            score += rarity * count / (count + 1.5 * (0.25 + 0.75 * len(row) / (mean or 1)))
        scores.append(score)
    return scores


@given(some_rows, some_words)
def test_index_tail_bm25s_and_the_formula_agree(rows: Rows, words: list[int]) -> None:
    """On a frozen catalogue, to 1e-5: all rows indexed, or none of them."""
    indexed = whole(an_index(rows), rows, words)
    fresh = an_index([]).scores(asked(words), terms(rows))
    np.testing.assert_allclose(indexed, by_hand(rows, words), atol=1e-5)
    np.testing.assert_array_equal(fresh, indexed)
    if any(rows):
        np.testing.assert_allclose(indexed, by_bm25s(rows, words), atol=1e-5)


@given(some_rows, some_words)
def test_a_row_in_the_tail_scores_as_its_copy_in_the_index(rows: Rows, words: list[int]) -> None:
    """To the bit: two copies of a text tie, wherever they stand."""
    index = an_index(rows)
    scores = index.scores(asked(words), terms(rows))
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores[: index.size], scores[-len(rows) :][: index.size])


def test_a_word_that_only_the_tail_has_finds_it() -> None:
    """Also one that came after the index: nothing waits for the next one."""
    index = an_index([[0, 1], [1, 2]], vocabulary=3)
    scores = index.scores(asked([7]), terms([[1], [7, 1]]))
    assert scores[:3].tolist() == [0, 0, 0]
    assert scores[3] > 0


def test_the_tail_does_not_change_how_rare_a_word_is() -> None:
    """The index's frequencies hold for both until the next one is built."""
    index = an_index([[0, 1], [1, 2]])
    alone = index.scores(asked([0]), [])
    assert np.array_equal(index.scores(asked([0]), terms([[0]] * 50))[:2], alone)


def test_words_said_twice_count_twice() -> None:
    """As bm25s has it."""
    index = an_index([[0, 1], [1, 2]])
    once, twice = (index.scores(asked(words), terms([[0]])) for words in ([0], [0, 0]))
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-6)


def test_words_said_again_cost_nothing(least_cpu_s: LeastCpu) -> None:
    """Nor do many words cost many times one: the tail is gone through once."""
    random = np.random.default_rng(0)
    tail = [random.integers(0, 5_000, 20).astype(np.int32).tobytes() for _ in range(5_000)]
    index = an_index([])
    once = least_cpu_s(lambda: index.scores(asked([7]), tail))
    again = least_cpu_s(lambda: index.scores(asked([7] * 128), tail))
    many = least_cpu_s(lambda: index.scores(asked(range(128)), tail))
    assert again < 2 * once
    assert many < 8 * once


@pytest.mark.parametrize("rows", [[], [[]], [[], []]])
def test_without_words_there_is_nothing_to_score(rows: Rows) -> None:
    """No row, or rows of no words: the tail brings its own frequencies then."""
    index = an_index(rows)
    assert index.size == 0
    assert index.scores(asked([3]), terms([[3], [4]])).argmax() == 0
    assert index.scores(asked([]), []).tolist() == []


def test_a_query_of_no_words_finds_nothing() -> None:
    """Zeros for every row."""
    assert an_index([[0], [1]]).scores(asked([]), terms([[0]])).tolist() == [0, 0, 0]


@given(some_rows, some_words, st.data())
def test_some_rows_of_an_index_are_an_index(
    rows: Rows, words: list[int], data: st.DataObject
) -> None:
    """Twice over: rows keep their scores, and what is covered is just these."""
    index = an_index(rows)
    whole = index.scores(asked(words), [])
    for _ in range(2):
        picks = st.lists(st.sampled_from(range(index.size))) if index.size else st.just([])
        kept = np.array(sorted(set(data.draw(picks))), np.intp)
        index, whole = index.taken(kept), whole[kept]
        assert index.size == len(kept)
        np.testing.assert_array_equal(index.scores(asked(words), []), whole)
