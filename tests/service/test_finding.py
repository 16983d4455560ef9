"""Finding: by vector, by words, by both; filters first, ties by id, and why there is nothing."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from service.adapters.bm25_words import Bm25Builder
from service.answer import Answer, Degraded, Empty, Strategy
from service.batching import Batcher
from service.catalogue import Catalogue
from service.criteria import Criteria
from service.diversify import Variety
from service.errors import DeadlineExceeded, NotReady
from service.finding import Finder, FindQuery
from service.lexicon import Lexicon
from service.paging import Kind, Position
from service.ports import StoredArticle
from service.retrieval import Retrieval
from service.stages import Stages
from service.words import Words
from tests.service.fakes import (
    HOUR,
    NOW,
    PATIENCE_S,
    FakeClock,
    FakeEncoder,
    NumpySearch,
    a_catalogue_with,
    a_stored,
    a_take_down,
    a_vector,
)
from tests.service.recommending import at, ids

pytestmark = pytest.mark.anyio
HYBRID, DENSE, BM25 = MODES = (Strategy.HYBRID, Strategy.DENSE, Strategy.BM25)
QUERY = "tidal power"


def leaning(share: float, seed: str = "across") -> Any:
    """Make a unit vector whose cosine with the query's is the share given."""
    query, other = a_vector(QUERY).astype(np.float64), a_vector(seed).astype(np.float64)
    across = other - (other @ query) * query
    across /= np.linalg.norm(across)
    return (share * query + np.sqrt(1 - share**2) * across).astype(np.float32)


def an_article(id: str, share: float, title: str = "Rain", **fields: Any) -> StoredArticle:  # noqa: A002
    """Build an article that is so near to the query, of its own story."""
    return a_stored(id, title=title, vector=leaning(share, id), **fields)


# By vector N1, N2, N3, N4; by words N4, N3, and no other.
SOME = (
    an_article("N1", 0.9),
    an_article("N2", 0.8),
    an_article("N3", 0.7, "Power to the people of the town"),
    an_article("N4", 0.6, "Tidal power"),
)


@dataclass
class Search:
    """A finder and what it works on."""

    encoder: FakeEncoder
    clock: FakeClock
    catalogue: Catalogue
    batcher: Batcher
    finder: Finder

    async def find(self, mode: Strategy = HYBRID, **fields: Any) -> Answer:
        """Search for the query, unless told otherwise."""
        query = FindQuery(**{"text": QUERY, "mode": mode, **fields})
        return await self.finder.find(query, Stages())


@asynccontextmanager
async def searching(
    executor: Executor, *stored: StoredArticle, retrieved: int = 300, same_story: float = np.inf
) -> AsyncIterator[Search]:
    """Search some articles for the length of a block, on a fake encoder."""
    encoder, clock, lexicon = FakeEncoder(), FakeClock(), Lexicon()
    catalogue = a_catalogue_with(*(stored or SOME), terms=lexicon.terms)
    batcher = Batcher(encoder.vectors, executor)
    words = Words(lambda: catalogue.current, lexicon, Bm25Builder(), executor)
    finder = Finder(
        lambda: catalogue.current,
        batcher,
        Retrieval(NumpySearch()),
        words,
        clock=clock,
        retrieved=retrieved,
        stories=Variety(same_story=same_story),
    )
    task = asyncio.create_task(batcher.run())
    async with asyncio.timeout(PATIENCE_S):
        yield Search(encoder, clock, catalogue, batcher, finder)
    encoder.gate.set()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_each_mode_ranks_in_its_own_way(executor: Executor) -> None:
    """By the cosine, by BM25, by the sum of 1 / (60 + rank) over both lists."""
    async with searching(executor) as search:
        dense, bm25, hybrid = [await search.find(mode) for mode in (DENSE, BM25, HYBRID)]
    assert [one.strategy for one in (dense, bm25, hybrid)] == [DENSE, BM25, HYBRID]
    assert ids(dense) == ["N1", "N2", "N3", "N4"]
    assert [one.score for one in dense.articles] == pytest.approx([0.9, 0.8, 0.7, 0.6], abs=1e-6)
    assert ids(bm25) == ["N4", "N3"]
    assert ids(hybrid) == ["N4", "N3", "N1", "N2"]
    expected = [1 / 64 + 1 / 61, 1 / 63 + 1 / 62, 1 / 61, 1 / 62]
    assert [one.score for one in hybrid.articles] == pytest.approx(expected)
    assert [one.rank for one in hybrid.articles] == [1, 2, 3, 4]


async def test_a_query_is_encoded_as_a_title_is(executor: Executor) -> None:
    """In canonical form, on its own; by words alone nothing is encoded."""
    async with searching(executor) as search:
        await search.find(BM25)
        await search.find(HYBRID, text=" tidal\x00 \n power ")
    assert search.encoder.texts == [QUERY]


async def test_the_reasons_are_the_places_on_both_lists(executor: Executor) -> None:
    """Rank and score on each; nothing where an article is not on it, and none unless asked."""
    async with searching(executor) as search:
        answer = await search.find(explain=True)
        by_words = await search.find(BM25, explain=True)
        plain = await search.find()
    first, *_, last = (one.reasons for one in answer.articles)
    assert first == {
        "dense": {"rank": 4, "cosine": pytest.approx(0.6)},
        "bm25": {"rank": 1, "score": by_words.articles[0].score},
    }
    assert last == {"dense": {"rank": 2, "cosine": pytest.approx(0.8)}, "bm25": None}
    assert by_words.articles[1].reasons["dense"] is None  # type: ignore[index]
    assert {one.reasons for one in plain.articles} == {None}


@pytest.mark.parametrize("mode", MODES)
async def test_filters_come_before_either_search(executor: Executor, mode: Strategy) -> None:
    """What a filter leaves is found, however far down the lists it is; live articles only."""
    better = [an_article(f"B{i}", 0.9, QUERY, topic="other") for i in range(9)]
    hidden = [
        an_article("E1", 0.9, QUERY, expires_at=at(NOW - HOUR)),
        an_article("E2", 0.9, QUERY, embargo_until=at(NOW + HOUR)),
    ]
    wanted = [an_article(f"N{i}", 0.1, "Much about power", topic="rare") for i in range(3)]
    async with searching(executor, *better, *hidden, *wanted, retrieved=2) as search:
        criteria = Criteria(topics=frozenset({"rare"}))
        answer = await search.find(mode, n=3, criteria=criteria, exclude=["N1", "unknown"])
        assert set(ids(answer)) == {"N0", "N2"}
        everything = await search.find(mode, n=200)
        assert set(ids(everything)) == {one.id for one in (*better, *wanted)}


@pytest.mark.parametrize("mode", MODES)
async def test_ties_go_by_id(executor: Executor, mode: Strategy) -> None:
    """Copies of one article, also where only some are asked for."""
    copies = [a_stored(f"N{i}", title=QUERY, vector=leaning(0.5)) for i in (3, 1, 4, 2, 0)]
    async with searching(executor, *copies) as search:
        assert ids(await search.find(mode, n=3)) == ["N0", "N1", "N2"]


async def test_a_new_article_is_found_at_once(executor: Executor) -> None:
    """And one that is taken down is not."""
    async with searching(executor) as search:
        search.catalogue.apply([an_article("N9", 1.0, QUERY), a_take_down("N4")], NOW)
        assert [ids(await search.find(mode, n=1)) for mode in MODES] == [["N9"]] * 3
        assert "N4" not in ids(await search.find(n=200))


async def test_hybrid_goes_by_words_when_the_encoder_is_late(executor: Executor) -> None:
    """At its deadline, and says so; dense alone is refused, words alone never waited."""
    async with searching(executor) as search:
        search.encoder.gate.clear()
        answer = await search.find(timeout_s=0.02)
        assert (ids(answer), answer.strategy) == (["N4", "N3"], BM25)
        assert answer.degraded == [Degraded.ENCODER]
        with pytest.raises(DeadlineExceeded):
            await search.find(DENSE, timeout_s=0.02)
        assert (await search.find(BM25)).degraded == []


async def test_hybrid_goes_by_words_when_the_encoder_is_gone(executor: Executor) -> None:
    """Whatever keeps a vector from it."""
    async with searching(executor) as search:
        assert len(ids(await search.find())) == 4
    assert ids(await search.find()) == ["N4", "N3"]
    with pytest.raises(NotReady):
        await search.find(DENSE)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"criteria": Criteria(topics=frozenset({"none"}))}, Empty.FILTER),
        ({"exclude": ["N1", "N2", "N3", "N4"]}, Empty.EXCLUDED),
        ({"mode": BM25, "text": "unheard of"}, Empty.FILTER),
        ({"mode": BM25, "text": "to be or not to be"}, Empty.FILTER),
        ({"position": Position(Kind.SEARCH, b"", NOW, 9, ("unknown",))}, Empty.END),
    ],
)
async def test_an_empty_answer_says_why(
    executor: Executor, fields: dict[str, Any], why: Empty
) -> None:
    """Nothing passes, nothing is left, no word is known, or the walk is over."""
    async with searching(executor) as search:
        answer = await search.find(**fields)
    assert (answer.articles, answer.strategy, answer.empty) == ([], Strategy.NONE, why)


async def test_an_empty_catalogue_is_no_error(executor: Executor) -> None:
    """In no mode."""
    async with searching(executor) as search:
        search.catalogue.load([], NOW)
        assert [(await search.find(mode)).empty for mode in MODES] == [Empty.CATALOGUE] * 3


async def test_words_that_nobody_knows_leave_the_vector(executor: Executor) -> None:
    """Hybrid then ranks as dense does."""
    async with searching(executor) as search:
        answer = await search.find(text="qqq")
    assert (answer.strategy, len(answer.articles)) == (HYBRID, 4)


async def test_one_story_has_one_place(executor: Executor) -> None:
    """The best of them, with the others' ids; unless every article is asked for."""
    copies = [a_stored(f"C{i}", title=QUERY, vector=leaning(0.95)) for i in range(3)]
    async with searching(executor, *SOME, *copies, same_story=0.999) as search:
        answer = await search.find(n=2)
        assert (ids(answer), answer.articles[0].also) == (["C0", "N4"], ("C1", "C2"))
        assert ids(await search.find(n=3, collapse=False)) == ["C0", "C1", "C2"]


@pytest.mark.parametrize("mode", MODES)
async def test_a_walk_keeps_the_first_pages_order(executor: Executor, mode: Strategy) -> None:
    """No repeat, no gap but what was taken down, nothing new, ranks run on."""
    stored = [an_article(f"N{i}", 0.9 - 0.05 * i, f"{QUERY} {'and ' * i}") for i in range(9)]
    async with searching(executor, *stored) as search:
        whole = ids(await search.find(mode, n=9))
        page = await search.find(mode, n=3)
        walked, ranks = ids(page), [one.rank for one in page.articles]
        search.catalogue.apply(
            [
                an_article("N99", 1.0, QUERY),
                a_take_down("N5"),
                an_article("N7", 0.99, "Nothing of it", version=2),
            ],
            NOW + 1,
        )
        search.clock.now += 60
        while page.left:
            position = Position(Kind.SEARCH, b"", page.at, page.shown, page.left)
            page = await search.find(mode, n=2, position=position)
            walked += ids(page)
            ranks += [one.rank for one in page.articles]
            assert page.at == NOW
            assert np.isfinite([one.score for one in page.articles]).all()
    assert walked == [i for i in whole if i != "N5"]
    assert ranks == list(range(1, 9))


async def test_a_page_may_be_larger_than_what_is_retrieved(executor: Executor) -> None:
    """Where R is less than n, n counts."""
    async with searching(executor, retrieved=1) as search:
        assert len(ids(await search.find(n=4))) == 4
        assert len(ids(await search.find(n=1))) == 1
