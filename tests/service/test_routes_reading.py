"""Recommendations over HTTP, on a store of each kind: what each wish of a request does."""

from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import orjson
import pytest

from service.wire.ranked import RankAnswer, RecommendationAnswer
from tests.builders import a_catalogue
from tests.problem_shape import MARKER, check_problem
from tests.service.fakes import NOW, PATIENCE_S
from tests.service.web import ids_of, posted, served
from tests.stores import durable_store

pytestmark = pytest.mark.anyio
SIZE = 12
# Two articles that tell one story: the same words.
STORY = "Player of the league"
HISTORY = ["N0", "N4"]
PLAIN = {"history": HISTORY, "diversity": 0, "collapse": False}


@pytest.fixture
async def client(bundle_path: Path, store_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of a service with twelve articles of four topics, and a story told twice."""
    articles = [
        {"id": a.id, "title": a.title, "topic": a.topic, "source": f"desk{number % 3}"}
        for number, a in enumerate(a_catalogue(SIZE))
    ]
    for hours, article in enumerate(articles):
        article["published_at"] = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
    told = [{"id": one, "title": STORY, "topic": "sports", "source": "wire"} for one in "AB"]
    async with served(bundle_path, store_url, same_story=0.99999) as client:
        content = b"".join(orjson.dumps(one) + b"\n" for one in [*articles, *told])
        headers = {"content-type": "application/x-ndjson"}
        await client.post("/v1/news:batch", content=content, headers=headers)
        with anyio.fail_after(PATIENCE_S):
            while len((await recommended(client, n=200, collapse=False))["items"]) < SIZE + 2:  # noqa: ASYNC110
                await anyio.sleep(0.005)
        yield client


async def recommended(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    """Ask for recommendations, and check the shape of the answer."""
    return await posted(client, "/v1/recommendations", RecommendationAnswer, body)


async def test_a_story_has_one_place(client: httpx.AsyncClient) -> None:
    """The other article that tells it is named beside it; or both have places of their own."""
    page = await recommended(client, history=HISTORY, diversity=0, n=200)
    assert [item.get("also") for item in page["items"] if item["id"] in "AB"] == [["B"]]
    assert "B" not in ids_of(page)
    apart = await recommended(client, **PLAIN, n=200)
    assert {"A", "B"} <= set(ids_of(apart))
    assert not any(item.get("also") for item in apart["items"])


async def test_a_score_is_explained(client: httpx.AsyncClient) -> None:
    """By parts that sum to it, and by the articles read that weigh most."""
    page = await recommended(client, **PLAIN, freshness_half_life_h=24, explain=True)
    for item in page["items"]:
        assert sum(item["reasons"]["parts"].values()) == pytest.approx(item["score"], abs=1e-4)
        assert {one["id"] for one in item["reasons"]["history"]} == set(HISTORY)
    fresh = {item["id"]: item["reasons"]["parts"]["freshness"] for item in page["items"]}
    newest_first = sorted(fresh.keys() - {*"AB"}, key=lambda one: int(one[1:]))
    assert sorted(newest_first, key=lambda one: -fresh[one]) == newest_first
    assert len({*fresh.values()}) >= len(newest_first) > 1
    unexplained = await recommended(client, **PLAIN)
    assert not any(item.get("reasons") for item in unexplained["items"])


async def test_candidates_are_explained(client: httpx.AsyncClient) -> None:
    """Ranking tells the same of each, in the same way."""
    body = {"history": HISTORY, "candidates": ["N1", "N8", MARKER], "explain": True}
    answer = await client.post("/v1/rank", json=body)
    RankAnswer.model_validate_json(answer.content)
    items = answer.json()["items"]
    assert ([item["id"] for item in items], answer.json()["missing"]) == (["N8", "N1"], [MARKER])
    for item in items:
        assert sum(item["reasons"]["parts"].values()) == pytest.approx(item["score"], abs=1e-4)


@pytest.mark.parametrize(("cap", "field"), [("topic", "topic"), ("source", "source")])
async def test_caps_are_kept(client: httpx.AsyncClient, cap: str, field: str) -> None:
    """However many articles that leaves; that there are more is said."""
    page = await recommended(client, **PLAIN, **{f"max_per_{cap}": 1}, include=[field])
    named = [item[field] for item in page["items"]]
    assert (len(named), page["degraded"]) == (4, ["capped"])
    assert len(set(named)) == 4


async def test_novelty_may_count_more_than_the_score(client: httpx.AsyncClient) -> None:
    """A reader of one topic gets others then."""
    alike = await recommended(client, **PLAIN, n=2, include=["topic"])
    varied = await recommended(client, **{**PLAIN, "diversity": 1}, n=2, include=["topic"])
    assert [item["topic"] for item in alike["items"]] == ["sports"] * 2
    assert ids_of(varied)[0] == ids_of(alike)[0]
    assert varied["items"][1]["topic"] != "sports"


@pytest.mark.parametrize("store_url", ["sqlite", "redis"], indirect=True)
async def test_what_others_clicked_counts(client: httpx.AsyncClient, store_url: str) -> None:
    """For readers who want that, for readers without a history, and in the list of it."""
    with closing(durable_store(store_url)) as store:
        store.replace_popularity({"N3": 5.0, "N1": 1.0}, at=NOW)
    with anyio.fail_after(PATIENCE_S):
        while ids_of((await client.get("/v1/trending?n=2&collapse=false")).json()) != ["N3", "N1"]:  # noqa: ASYNC110
            await anyio.sleep(0.005)
    popular = await recommended(client, n=2)
    assert (popular["strategy"], ids_of(popular)) == ("popular", ["N3", "N1"])
    assert "N3" not in ids_of(await recommended(client, **PLAIN, n=3))
    wanted = await recommended(client, **PLAIN, n=3, popularity_weight=10, explain=True)
    assert ids_of(wanted)[0] == "N3"
    assert wanted["items"][0]["reasons"]["parts"]["popularity"] > 0


@pytest.mark.parametrize("wish", [{}, {"diversity": 0.3}, {"collapse": True}, {"max_per_topic": 2}])
async def test_pages_follow_each_other(client: httpx.AsyncClient, wish: dict[str, Any]) -> None:
    """To the end, whatever the size of a page; nothing comes twice."""
    asked = {**PLAIN, **wish}
    page, walked, ranks = await recommended(client, **asked, n=3), list[str](), list[int]()
    while True:
        also = [one for item in page["items"] for one in item.get("also") or ()]
        walked += [*ids_of(page), *also]
        ranks += [item["rank"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = page["next_cursor"]
        page = await recommended(client, **asked, n=4, explain=True, cursor=cursor)
    everything = {f"N{n}" for n in range(SIZE)} | {"A", "B"}
    assert sorted(walked) == sorted(everything - set(HISTORY))
    assert ranks == list(range(1, len(ranks) + 1))
    if not wish:
        assert walked == ids_of(await recommended(client, **asked, n=200))


@pytest.mark.parametrize(
    "change",
    [{"history": ["N1"]}, {"exclude_ids": ["N2"]}, {"diversity": 0.5}, {"collapse": True}],
    ids=str,
)
async def test_a_cursor_is_for_its_own_request(
    client: httpx.AsyncClient, change: dict[str, Any]
) -> None:
    """And for no other; one that is made up is refused as well."""
    cursor = (await recommended(client, **PLAIN, n=2))["next_cursor"]
    for refused in (cursor, MARKER):
        body = {**PLAIN, **change, "cursor": refused}
        answer = await client.post("/v1/recommendations", json=body)
        check_problem(answer, 422)
        assert answer.json()["code"] == "cursor_refused"
