"""The requests of the soak benchmark are like a newspaper's, and notice wrong answers."""

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx2
import numpy as np
import pytest

from benchmarks import mixture
from benchmarks.comparison import BenchmarkError
from benchmarks.mixture import N, Visitors
from service.client import Client
from service.lexicon import words

pytestmark = pytest.mark.anyio
IDS = [f"N{n}" for n in range(50)]
MADE_BY = {"model": "m", "namespace": "n", "generation": 1, "degraded": []}
Handler = Callable[[httpx2.Request], httpx2.Response]


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio."""
    return "asyncio"


def a_page(count: int, strategy: str, **fields: Any) -> dict[str, Any]:
    """Build a page of so many articles."""
    items = [{"id": f"F{n}", "score": 1.0, "rank": n + 1, **fields} for n in range(count)]
    told = {"strategy": strategy if items else "none", "empty": None if items else "filter"}
    return {"items": items, "next_cursor": "c", **told, **MADE_BY}


def a_ranking(asked: list[str], count: int) -> dict[str, Any]:
    """Rank all candidates of a whole answer, else only so many."""
    found = asked if count == N else asked[:count]
    items = [{"id": one, "score": 1.0, "rank": n + 1} for n, one in enumerate(found)]
    missing = asked[len(found) :]
    return {"items": items, "missing": missing, "strategy": "personal", **MADE_BY}


def a_service(count: int) -> Handler:
    """Build a service that finds so many articles and topics, and no more."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content) if request.content else {}
        answers: dict[str, Callable[[], dict[str, Any]]] = {
            "/v1/recommendations": lambda: a_page(count, "personal"),
            "/v1/rank": lambda: a_ranking(body["candidates"], count),
            "/v1/search": lambda: a_page(count, body["mode"]),
            "/v1/latest": lambda: a_page(count, "latest", topic=request.url.params["topic"]),
            "/v1/trending": lambda: a_page(count, "popular"),
            "/v1/classify": lambda: {
                "results": [{"taxonomies": {"mind": []}} for _ in body["texts"][:count]],
                **MADE_BY,
            },
        }
        similar = a_page(count, "similar")
        return httpx2.Response(200, json=answers.get(request.url.path, lambda: similar)())

    return answer


async def do(act: str, service: Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do one thing a few times: what is drawn differs."""
    monkeypatch.setattr(mixture, "SHARES", {act: 1})
    async with Client("http://test", transport=httpx2.MockTransport(service)) as client:
        visitors = Visitors(client, IDS, seed=1)
        for _ in range(5):
            await visitors.one()


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


@pytest.mark.parametrize(
    "act", ["recommend", "rank", "search", "latest", "trending", "similar", "classify"]
)
async def test_a_whole_answer_is_right(act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many articles as were asked for, and topics of every text."""
    await do(act, a_service(N), monkeypatch)


@pytest.mark.parametrize(
    ("act", "count"),
    [
        *((act, 0) for act in ("recommend", "rank", "search", "latest", "trending")),
        *((act, 0) for act in ("similar", "classify")),
        *((act, N - 1) for act in ("recommend", "rank", "search", "trending", "similar")),
        ("classify", 3),
    ],
)
async def test_an_answer_with_too_little_ends_it(
    act: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that finds nothing uses little memory."""
    with pytest.raises(BenchmarkError, match=f"{act}: the answer cannot be right"):
        await do(act, a_service(count), monkeypatch)


async def test_a_catalogue_with_nothing_in_it_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its articles stay, so there are two pages."""

    def nothing(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"items": [], "next_cursor": None})

    with pytest.raises(BenchmarkError, match="catalogue"):
        await do("catalogue", nothing, monkeypatch)


async def test_a_page_that_repeats_the_one_before_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk shows every article once."""
    with pytest.raises(BenchmarkError, match="page 2 of a walk"):
        await do("walk", a_service(N), monkeypatch)
