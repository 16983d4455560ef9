"""The requests of the soak benchmark are like a newspaper's, and notice wrong answers."""

import re
from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest

from benchmarks import mixture
from benchmarks.comparison import BenchmarkError
from benchmarks.mixture import SHARES, N, Visitors
from service.lexicon import words
from tests.benchmarks.fake_service import FakeService

pytestmark = pytest.mark.anyio
IDS = [f"N{n}" for n in range(50)]
# What each act asks for; a dash stands for an id.
ASKED = {
    "recommend": ["POST /v1/recommendations"],
    "walk": ["POST /v1/recommendations"] * 3,
    "rank": ["POST /v1/rank"],
    "search": ["POST /v1/search"],
    "latest": ["GET /v1/latest"],
    "trending": ["GET /v1/trending"],
    "similar": ["GET /v1/news/-/similar"],
    "catalogue": ["GET /v1/news"] * 2,
    "article": ["GET /v1/news/-"],
    "classify": ["POST /v1/classify"],
    "embed": ["POST /v1/embeddings"],
    "models": ["GET /v1/models"],
    "refused": ["GET /v1/news/-/similar", "GET /v1/latest"],
    "publish_new": ["PUT /v1/news/-"],
    "publish_again": ["PUT /v1/news/-"],
}
# What a wrong answer is told as, where that is not the act's name.
TOLD = {"walk": "page 1 of a walk", "publish_new": "publish", "publish_again": "publish"}


async def do(
    act: str, service: FakeService, monkeypatch: pytest.MonkeyPatch, times: int = 5
) -> Visitors:
    """Do one thing a few times: what is drawn differs."""
    monkeypatch.setattr(mixture, "SHARES", {act: 1})
    async with service.client() as client:
        visitors = Visitors(client, IDS, seed=1)
        for _ in range(times):
            await visitors.one()
        return visitors


def test_made_up_texts_are_like_a_language() -> None:
    """Each number has its own word, some words are frequent, most are rare."""
    assert len({mixture.word(n) for n in range(2 * mixture.WORDS)}) == 2 * mixture.WORDS
    counts = Counter(mixture.text(np.random.default_rng(1), 20_000).split())
    assert counts.most_common(1)[0][1] > 1_000
    assert len(counts) > 5_000


def test_most_articles_have_the_word_that_every_search_has() -> None:
    """It is no stop word: whatever searches by words finds them."""
    random, now = np.random.default_rng(1), datetime(2026, 11, 21, tzinfo=UTC)
    articles = [mixture.an_article(random, f"N{n}", now) for n in range(200)]
    (frequent,) = words(mixture.word(mixture.FREQUENT))
    assert sum(frequent in words(f"{one.title} {one.abstract}") for one in articles) > 100


@pytest.mark.parametrize("act", list(SHARES))
async def test_a_right_answer_is_counted(act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every act asks for what it is named after, and counts each of its requests."""
    service = FakeService()
    visitors = await do(act, service, monkeypatch, times=1)
    asked = [re.sub(r"(/v1/news)/[^/]+", r"\1/-", one) for one in service.asked]
    assert (asked, visitors.requests) == (ASKED[act], len(ASKED[act]))
    assert (await do(act, FakeService(), monkeypatch)).requests == 5 * len(ASKED[act])


@pytest.mark.parametrize(
    ("act", "count"),
    [
        *((act, 0) for act in SHARES),
        *((act, N - 1) for act in ("recommend", "walk", "rank", "search", "trending", "similar")),
        *((act, N - 1) for act in ("catalogue", "refused")),
        *((act, 3) for act in ("classify", "embed")),
    ],
)
async def test_an_answer_with_too_little_ends_it(
    act: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that finds nothing, stores nothing and refuses nothing uses little memory."""
    with pytest.raises(BenchmarkError, match=f"{TOLD.get(act, act)}: the answer cannot be right"):
        await do(act, FakeService(count), monkeypatch)


@pytest.mark.parametrize(
    ("act", "told"), [("walk", "page 2 of a walk"), ("catalogue", "catalogue")]
)
async def test_a_page_that_repeats_the_one_before_ends_it(
    act: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A walk shows every article once, and so does the catalogue."""
    with pytest.raises(BenchmarkError, match=told):
        await do(act, FakeService(repeats=True), monkeypatch)


async def test_a_refusal_by_another_name_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything between us and the service might say no."""
    service = FakeService(codes={"/v1/latest": "body_too_large"})
    with pytest.raises(BenchmarkError, match="refused"):
        await do("refused", service, monkeypatch)


async def test_new_articles_are_taken_down_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest first, once there are enough: the catalogue keeps its size, and gets new words."""
    monkeypatch.setattr(mixture, "NEW_AT_ONCE", 2)
    service = FakeService()
    visitors = await do("publish_new", service, monkeypatch)
    assert list(service.published) == ["X4", "X5"]
    assert [one for one in service.asked if one.startswith("DELETE")] == [
        f"DELETE /v1/news/X{n}" for n in (1, 2, 3)
    ]
    assert visitors.requests == len(service.asked) == 8
    names = {title.split()[-1] for title in service.published.values()}
    assert names == {mixture.word(mixture.WORDS + n) for n in (4, 5)}


async def test_articles_that_stay_are_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the ids that they have."""
    service = FakeService()
    await do("publish_again", service, monkeypatch)
    assert set(service.published) <= set(IDS)
    assert len(set(service.published.values())) == len(service.published) > 1


async def test_many_are_renewed_at_once() -> None:
    """In one batch, and taken down one by one; that is no visitor's request."""
    service = FakeService()
    async with service.client() as client:
        visitors = Visitors(client, IDS, seed=1)
        await visitors.renew(3)
    taken_down = [f"DELETE /v1/news/X{n}" for n in (1, 2, 3)]
    assert service.asked == ["POST /v1/news:batch", *taken_down]
    assert (visitors.requests, service.published) == (0, {})


async def test_a_batch_of_which_less_was_written_ends_it() -> None:
    """Then nothing would be merged."""
    async with FakeService(2).client() as client:
        with pytest.raises(BenchmarkError, match="publish_many"):
            await Visitors(client, IDS, seed=1).renew(3)
