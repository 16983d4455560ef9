"""Words: every row of a snapshot has its BM25 score at once, from an index that follows behind."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from service.adapters.bm25_words import Bm25Builder, Bm25Words
from service.catalogue import Catalogue
from service.lexicon import Lexicon
from service.words import Words
from tests.service.fakes import PATIENCE_S, a_catalogue_with, a_stored, a_take_down, until

pytestmark = pytest.mark.anyio


class CountingBuilder(Bm25Builder):
    """Remembers over how many rows it built; `meanwhile` is called in the midst of each build."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def build(self, terms: Sequence[bytes], vocabulary: int) -> Bm25Words:
        """Build, and note the size."""
        self.meanwhile()
        self.sizes.append(len(terms))
        return super().build(terms, vocabulary)


class NotingLexicon(Lexicon):
    """Remembers in which thread a query's words were looked up last."""

    thread: threading.Thread | None = None

    def codes(self, text: str) -> NDArray[np.int32]:
        """Look words up, and note the thread."""
        self.thread = threading.current_thread()
        return super().codes(text)


def titles(*numbers: int, version: int = 1) -> list[Any]:
    """Build articles that share a word, and each have one of their own."""
    return [
        a_stored(f"N{i}", title=f"common own{i}", subtopic="", version=version) for i in numbers
    ]


class Case:
    """A catalogue with words, and all that they are made of."""

    def __init__(
        self, executor: Executor, *stored: Any, merge_rows: int = 2_000, **options: Any
    ) -> None:
        self.lexicon, self.builder = NotingLexicon(), CountingBuilder()
        self.catalogue: Catalogue = a_catalogue_with(
            *stored, terms=self.lexicon.terms, merge_rows=merge_rows
        )
        self.words = Words(
            lambda: self.catalogue.current,
            self.lexicon,
            self.builder,
            executor,
            **{"look_s": 0.01, "rest_s": 0.01, **options},
        )

    @property
    def rebuilt(self) -> list[int]:
        """Return the sizes of the indexes taken over, without the empty one at the start."""
        return self.builder.sizes[1 : 1 + self.words.rebuilt]

    def scores(self, text: str) -> NDArray[np.float32]:
        """Score the latest snapshot."""
        return self.words.scores(self.catalogue.current, text)

    async def thread_of_a_search(self) -> threading.Thread | None:
        """Search, and return the thread that did the work; the scores are as ever."""
        scores = await self.words.search(self.catalogue.current, "common own9")
        thread = self.lexicon.thread
        assert np.array_equal(scores, self.scores("common own9"))
        return thread

    def found(self, text: str) -> list[str]:
        """Return the ids of the current articles that have one of the words."""
        snapshot, scores = self.catalogue.current, self.scores(text)
        rows = np.flatnonzero(snapshot.is_current & (scores > 0))
        return [snapshot.columns.facts[row].id for row in rows]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Rebuild in the background for the length of a block."""
        task = asyncio.create_task(self.words.run())
        async with asyncio.timeout(PATIENCE_S):
            yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_an_article_is_found_as_soon_as_it_is_in_the_snapshot(executor: Executor) -> None:
    """Before the first index, behind one, and when a change brings a new word."""
    case = Case(executor, *titles(1, 2))
    assert case.found("own2") == ["N2"]
    async with case.running():
        await until(lambda: case.rebuilt == [2])
    case.catalogue.apply([*titles(3), a_stored("N1", title="changed", version=2)], 0.0)
    assert (case.found("own3"), case.found("changed")) == (["N3"], ["N1"])
    assert (case.found("own1"), case.found("common")) == ([], ["N2", "N3"])


async def test_an_article_taken_down_is_not_found(executor: Executor) -> None:
    """Its row is in the index, and no longer current."""
    case = Case(executor, *titles(1, 2))
    async with case.running():
        await until(lambda: case.rebuilt == [2])
    case.catalogue.apply([a_take_down("N1")], 0.0)
    assert case.found("common") == ["N2"]


async def test_scores_are_the_same_before_and_behind_an_index(executor: Executor) -> None:
    """Nothing about an answer tells whether the index was there yet."""
    case = Case(executor, *titles(*range(9)))
    before = case.scores("common own3 unheard")
    async with case.running():
        await until(lambda: case.rebuilt == [9])
    assert np.array_equal(case.scores("common own3 unheard"), before)


async def test_the_index_is_rebuilt_when_the_tail_is_long(executor: Executor) -> None:
    """Above 5 %: one row beyond forty is not, three are."""
    case = Case(executor, *titles(*range(40)))
    async with case.running():
        await until(lambda: case.rebuilt == [40])
        case.catalogue.apply(titles(40), 0.0)
        await asyncio.sleep(0.1)
        assert case.rebuilt == [40]
        case.catalogue.apply(titles(41, 42), 0.0)
        await until(lambda: case.rebuilt == [40, 43])


async def test_a_large_catalogue_does_not_wait_for_so_long_a_tail(executor: Executor) -> None:
    """Where 5 % are more rows than a tail may have, that bound counts."""
    case = Case(executor, *titles(*range(100)), tail_rows=1)
    async with case.running():
        await until(lambda: case.rebuilt == [100])
        case.catalogue.apply(titles(100, 101), 0.0)
        await until(lambda: case.rebuilt == [100, 102])


async def test_between_two_rebuilds_there_is_a_rest(executor: Executor) -> None:
    """However fast articles come."""
    case = Case(executor, *titles(1), rest_s=60.0)
    async with case.running():
        await until(lambda: case.rebuilt == [1])
        case.catalogue.apply(titles(2, 3, 4), 0.0)
        await asyncio.sleep(0.1)
        assert case.rebuilt == [1]


async def test_after_a_reload_there_is_no_rest(executor: Executor) -> None:
    """Most rows are beyond the index then, and each search would go through all of them."""
    case = Case(executor, *titles(1, 2, 3, 4), rest_s=60.0, tail_rows=2)
    async with case.running():
        await until(lambda: case.rebuilt == [4])
        case.catalogue.load([titles(5, 6, 7)], 0.0)
        await until(lambda: case.rebuilt == [4, 3])


@pytest.mark.parametrize("error", [MemoryError, ValueError])
async def test_a_rebuild_that_fails_is_tried_again(
    executor: Executor, error: type[Exception]
) -> None:
    """Whatever the error, and until then all is found as in any long tail."""
    case = Case(executor, *titles(1, 2))
    case.builder.meanwhile = failing(error)
    with capture_logs() as events:
        async with case.running():
            await until(lambda: len(events) > 1)
            assert case.found("own2") == ["N2"]
            case.builder.meanwhile = lambda: None
            await until(lambda: case.rebuilt == [2])
    assert {(e["event"], e["error"]) for e in events} == {("words_not_rebuilt", error.__name__)}


async def test_after_a_rebuild_that_fails_there_is_a_rest(executor: Executor) -> None:
    """Also where there would be none: what needs too much memory is not begun every second."""
    case = Case(executor, *titles(*range(9)), rest_s=60.0, tail_rows=2)
    case.builder.meanwhile = failing(MemoryError)
    with capture_logs() as events:
        async with case.running():
            await until(lambda: bool(events))
            await asyncio.sleep(0.1)
    assert len(events) == 1


@pytest.mark.parametrize("cause", ["no index yet", "a merge"])
async def test_what_takes_long_is_done_in_a_thread(executor: Executor, cause: str) -> None:
    """The event loop answers others meanwhile; what is at hand is looked up at once."""
    case = Case(executor, *titles(*range(30)), merge_rows=3, at_once=4)
    if cause == "a merge":
        async with case.running():
            await until(lambda: case.rebuilt == [30])
        assert (await case.thread_of_a_search()) is threading.current_thread()
        case.catalogue.apply(titles(1, 2, 3, 30, version=2), 0.0)
        assert (await case.thread_of_a_search()) is not threading.current_thread()
        assert (await case.thread_of_a_search()) is threading.current_thread()
    else:
        assert (await case.thread_of_a_search()) is not threading.current_thread()


async def test_a_search_of_before_a_merge_leaves_the_index_to_those_after(
    executor: Executor,
) -> None:
    """It is scored as it stands, and later ones need not do without an index."""
    case = Case(executor, *titles(*range(30)), merge_rows=3)
    async with case.running():
        await until(lambda: case.rebuilt == [30])
    older, before = case.catalogue.current, case.scores("common own9")
    case.catalogue.apply(titles(1, 2, 3, 30, version=2), 0.0)
    after = case.scores("common own9")
    assert np.array_equal(case.words.scores(older, "common own9"), before)
    assert case.words.covered(case.catalogue.current) == 27
    assert np.array_equal(case.scores("common own9"), after)


async def test_a_merge_keeps_the_index(executor: Executor) -> None:
    """Rows that are left out take nothing with them; the scores of the others stay."""
    case = Case(executor, *titles(*range(100)), merge_rows=3)
    async with case.running():
        await until(lambda: case.rebuilt == [100])
    before = case.scores("common own50")
    merged = case.catalogue.current.columns
    case.catalogue.apply(titles(7, 8, 9, 100, version=2), 0.0)
    assert case.catalogue.current.columns is not merged
    kept = [i for i in range(100) if i not in (7, 8, 9)]
    assert np.array_equal(case.scores("common own50")[:97], before[kept])
    assert case.found("own9 own100 own99") == ["N99", "N9", "N100"]


async def test_an_index_built_while_rows_were_merged_is_kept_too(executor: Executor) -> None:
    """It was built over rows that have other numbers now."""
    case = Case(executor, *titles(*range(30)), merge_rows=3)
    columns, newer = case.catalogue.current.columns, titles(1, 2, 3, 30, version=2)
    case.builder.meanwhile = lambda: case.catalogue.apply(newer, 0.0)
    async with case.running():
        await until(lambda: bool(case.rebuilt))
        assert case.catalogue.current.columns is not columns
        assert case.found("own0 own3 own30") == ["N0", "N3", "N30"]


async def test_a_new_catalogue_starts_without_the_old_index(executor: Executor) -> None:
    """After a gap in the change log every row is another one."""
    case = Case(executor, *titles(1, 2))
    async with case.running():
        await until(lambda: case.rebuilt == [2])
    case.catalogue.load([titles(3, 2)], 0.0)
    assert case.found("own1 own2 own3") == ["N3", "N2"]


async def test_a_snapshot_that_is_older_than_the_index_is_scored(executor: Executor) -> None:
    """Rows that came later are not part of it."""
    case = Case(executor, *titles(1, 2))
    older = case.catalogue.current
    case.catalogue.apply(titles(3), 0.0)
    async with case.running():
        await until(lambda: case.rebuilt == [3])
    assert len(case.words.scores(older, "common")) == older.count == 2


def failing(error: type[Exception]) -> Callable[[], None]:
    """Return what raises an error."""

    def fail() -> None:
        raise error

    return fail
