"""Search over HTTP, on a store of each kind."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import orjson
import pytest

from service.wire.finding import SearchAnswer
from tests.problem_shape import MARKER, check_problem
from tests.service.fakes import PATIENCE_S
from tests.service.web import ids_of, posted, served

pytestmark = pytest.mark.anyio
TOPICS = ("sports", "politics", "finance", "health")
TITLES = (
    "Coach wins the cup", "Senate votes on a law", "Bank shares and prices", "Doctor on a diet",
    "Player of the season", "Minister on the campaign", "Market of stocks", "Virus in a hospital",
)  # fmt: skip
QUERY = "the season of a player"


@pytest.fixture
async def client(bundle_path: Path, store_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of a service with eight articles, two on each topic."""
    async with served(bundle_path, store_url, same_story=1.0) as client:
        lines = [
            {"id": f"N{i}", "title": title, "topic": TOPICS[i % 4]}
            for i, title in enumerate(TITLES)
        ]
        content = b"".join(orjson.dumps(line) + b"\n" for line in lines)
        headers = {"content-type": "application/x-ndjson"}
        await client.post("/v1/news:batch", content=content, headers=headers)
        with anyio.fail_after(PATIENCE_S):
            while len((await found(client, n=200))["items"]) < len(TITLES):  # noqa: ASYNC110
                await anyio.sleep(0.005)
        yield client


async def found(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    """Search, and check the shape of the answer."""
    return await posted(client, "/v1/search", SearchAnswer, {"query": QUERY, **body})


@pytest.mark.parametrize("mode", ["hybrid", "dense", "bm25"])
async def test_the_best_article_comes_first(client: httpx.AsyncClient, mode: str) -> None:
    """In every mode, which the strategy names."""
    page = await found(client, mode=mode, include=["title", "topic"], explain=True)
    assert (ids_of(page)[0], page["strategy"], page["degraded"]) == ("N4", mode, [])
    first = page["items"][0]
    assert (first["title"], first["topic"], first["rank"]) == (TITLES[4], "sports", 1)
    assert (first["reasons"]["dense"] is None) == (mode == "bm25")
    assert (first["reasons"]["bm25"] is None) == (mode == "dense")


async def test_an_answer_says_where_its_time_went(client: httpx.AsyncClient) -> None:
    """Waiting for the encoder is a stage of its own."""
    answer = await client.post("/v1/search", json={"query": QUERY})
    assert {"encode", "search", "choose", "total"} <= {
        part.partition(";")[0].strip() for part in answer.headers["server-timing"].split(",")
    }


async def test_filters_and_exclusions_hold(client: httpx.AsyncClient) -> None:
    """As they do for recommendations."""
    page = await found(client, filter={"topics": ["health"]}, exclude_ids=["N3"])
    assert ids_of(page) == ["N7"]
    nothing = await found(client, filter={"topics": ["none"]})
    assert (nothing["items"], nothing["strategy"], nothing["empty"]) == ([], "none", "filter")


async def test_words_of_no_article_find_nothing(client: httpx.AsyncClient) -> None:
    """By words alone; with the vector there is always something."""
    page = await found(client, query="zzz unheard", mode="bm25")
    assert (page["items"], page["empty"], page["next_cursor"]) == ([], "filter", None)
    assert len(ids_of(await found(client, query="zzz unheard"))) == 8


async def test_pages_follow_each_other(client: httpx.AsyncClient) -> None:
    """To the end, whatever the size of a page."""
    whole = ids_of(await found(client, n=8))
    page, walked = await found(client, n=3), []
    while True:
        walked += ids_of(page)
        if page["next_cursor"] is None:
            break
        page = await found(client, n=2, include=["url"], cursor=page["next_cursor"])
    assert walked == whole


@pytest.mark.parametrize("change", [{"query": "other"}, {"mode": "bm25"}, {"exclude_ids": ["N1"]}])
async def test_a_cursor_is_for_its_own_search(
    client: httpx.AsyncClient, change: dict[str, Any]
) -> None:
    """And for no other; one that is made up is refused as well."""
    cursor = (await found(client, n=2))["next_cursor"]
    for refused in (cursor, MARKER):
        body = {"query": QUERY, "cursor": refused, **change}
        answer = await client.post("/v1/search", json=body)
        check_problem(answer, 422)
        assert answer.json()["code"] == "cursor_refused"


async def test_control_characters_are_read_as_blanks(client: httpx.AsyncClient) -> None:
    """As in whatever text is encoded."""
    assert ids_of(await found(client, query="player\x00\x1b season\x7f")) == ids_of(
        await found(client, query="player season")
    )


BROKEN: list[dict[str, Any]] = [
    {},
    {"query": ""},
    {"query": " \t\x00 "},
    {"query": "a" * 1_001},
    {"query": 7},
    {"query": None},
    {"query": [QUERY]},
    {"query": QUERY, "mode": MARKER},
    {"query": QUERY, "mode": "none"},
    {"query": QUERY, "n": 0},
    {"query": QUERY, "n": -1},
    {"query": QUERY, "n": 201},
    {"query": QUERY, "n": 2**31},
    {"query": QUERY, "n": 2**63},
    {"query": QUERY, "n": True},
    {"query": QUERY, "timeout_ms": 9},
    {"query": QUERY, "timeout_ms": 10_001},
    {"query": QUERY, "timeout_ms": 50.0},
    {"query": QUERY, "exclude_ids": [f"{MARKER}/.."]},
    {"query": QUERY, "exclude_ids": ["N1"] * 1_001},
    {"query": QUERY, "filter": {MARKER: 1}},
    {"query": QUERY, "include": ["version"]},
    {"query": QUERY, "explain": 1},
    {"query": QUERY, "cursor": ""},
    {"query": QUERY, "cursor": "a" * 8_193},
    {"query": QUERY, MARKER: 1},
]


@pytest.mark.parametrize("store_url", ["memory"], indirect=True)
async def test_a_broken_body_is_told(client: httpx.AsyncClient) -> None:
    """By place and rule, never by the input."""
    for body in BROKEN:
        check_problem(await client.post("/v1/search", json=body), 422)


@pytest.mark.parametrize("store_url", ["memory"], indirect=True)
async def test_queries_of_all_sorts_are_answered(client: httpx.AsyncClient) -> None:
    """Whatever can be said in a thousand characters."""
    odd = ["?!", "\u202eesrever", "😀" * 500, "e\u0301" * 500, "the", "a" * 1_000, "%s {} \\ ' \""]
    for query in odd:
        assert len(ids_of(await found(client, query=query))) == 8
        await found(client, query=query, mode="bm25")
