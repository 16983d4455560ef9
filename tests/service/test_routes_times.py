"""Times at the edges of the calendar over HTTP: refused at the door."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import orjson
import pytest

from contract.bundle import Bundle
from tests.service.web import served, until_shown

pytestmark = pytest.mark.anyio

# Each is a time with its zone, and of a year that UTC does not have.
BEYOND = ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999Z"]
EDGES = ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]


@pytest.fixture
async def client(bundle: Bundle, bundle_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of a service with an empty store."""
    async with served(bundle_path) as client:
        yield client


@pytest.mark.parametrize("time", BEYOND)
@pytest.mark.parametrize("field", ["published_at", "embargo_until", "expires_at"])
async def test_an_article_of_no_year_is_refused(
    client: httpx.AsyncClient, field: str, time: str
) -> None:
    """By the field's name."""
    answer = await client.put("/v1/news/N1", json={"title": "A", field: time})
    told = [{"loc": ["body", field], "type": "time_range"}]
    assert (answer.status_code, answer.json()["errors"]) == (422, told)


async def test_a_line_of_no_year_is_named(client: httpx.AsyncClient) -> None:
    """The others are taken."""
    times = [EDGES[0], *BEYOND, EDGES[1]]
    lines = [{"id": f"N{i}", "title": "A", "published_at": t} for i, t in enumerate(times)]
    content = b"\n".join(map(orjson.dumps, lines))
    headers = {"content-type": "application/x-ndjson"}
    answer = (await client.post("/v1/news:batch", content=content, headers=headers)).json()
    assert [one["line"] for one in answer["rejected"]] == [2, 3, 4]
    assert {one["errors"][0]["type"] for one in answer["rejected"]} == {"time_range"}
    assert answer["written"] == 2


@pytest.mark.parametrize("time", EDGES)
async def test_the_edges_of_the_calendar_are_served(client: httpx.AsyncClient, time: str) -> None:
    """On every page, weighed by any half-life, in numbers."""
    for i in "AB":
        await client.put(f"/v1/news/{i}", json={"title": f"cup {i}", "published_at": time})
    await until_shown(client, {"A", "B"})
    wish = {"freshness_half_life_h": 0.01, "include": ["published_at"], "explain": True}
    for history in ([], ["B"]):
        body = {**wish, "history": history, "candidates": ["A"]}
        answer = await client.post("/v1/recommendations", json=body)
        (item,) = answer.json()["items"]
        assert item["published_at"] == time.replace("Z", "+00:00")
        assert isinstance(item["score"], float)
    answer = await client.get(f"/v1/latest?include=published_at&published_after={EDGES[0]}")
    assert answer.status_code == 200


@pytest.mark.parametrize("time", BEYOND)
async def test_a_filter_of_no_year_is_refused(client: httpx.AsyncClient, time: str) -> None:
    """In a body and in a query string."""
    query = {"published_after": time}
    for answer in (
        await client.get("/v1/latest", params=query),
        await client.post("/v1/recommendations", json={"filter": query}),
        await client.post("/v1/search", json={"query": "cup", "filter": query}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
