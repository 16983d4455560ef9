"""The lane: the quick routes are answered as the framework would answer them, to the byte."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.routes import reading
from tests.builders import a_catalogue
from tests.faults.requests import UNREADABLE
from tests.service.web import served

pytestmark = pytest.mark.anyio

JSON, ARTICLES = "application/json", 6
# An answer may name its request.
NAMED = {"x-request-id": "the-same"}
GOOD: dict[str, dict[str, Any]] = {
    "/v1/recommendations": {"history": ["N0", "N1"], "n": 3, "include": ["title"]},
    "/v1/rank": {"history": ["N0"], "candidates": ["N1", "N2", "unknown"]},
}
BROKEN: list[Any] = [
    None,
    [],
    "text",
    1,
    {"n": 0, "candidates": []},
    {"history": ["../"] * 30},
    {"history": None, "filter": {"unknown": 1}},
    {"unknown": {"history": []}},
    {"filter": {"published_after": 5}},
]


@pytest.fixture
async def both(bundle_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """Serve the same articles twice, with the lane and without."""
    async with served(bundle_path) as quick, served(bundle_path, lane=False) as plain:
        for client in (quick, plain):
            for number, article in enumerate(a_catalogue(ARTICLES)):
                body = article.model_dump(mode="json", exclude={"id"}, exclude_none=True)
                await client.put(f"/v1/news/N{number}", json=body)
            while len((await client.get("/v1/latest?collapse=false")).json()["items"]) < ARTICLES:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        yield quick, plain


def told(answer: httpx.Response) -> tuple[int, bytes, set[str]]:
    """Return what a client may depend on: status, body, and which headers there are.

    Two services sign their cursors with two keys.
    """
    body = re.sub(rb'"next_cursor":"[^"]+"', b'"next_cursor":"signed"', answer.content)
    return answer.status_code, body, {*answer.headers} - {"retry-after"}


def test_every_quick_route_is_tried_here() -> None:
    """Whatever joins the lane is compared."""
    assert set(reading.QUICK) == set(GOOD)


async def same(both: tuple[httpx.AsyncClient, httpx.AsyncClient], **request: Any) -> int:
    """Send a request both ways, compare, and return the status."""
    request["headers"] = {**NAMED, **request.get("headers", {})}
    quick, plain = [await client.request(**request) for client in both]
    assert told(quick) == told(plain)
    return quick.status_code


@pytest.mark.parametrize("path", GOOD)
async def test_answers_are_the_same(
    both: tuple[httpx.AsyncClient, httpx.AsyncClient], path: str
) -> None:
    """Status, bytes, headers."""
    assert await same(both, method="POST", url=path, json=GOOD[path]) == 200
    assert await same(both, method="POST", url=f"{path}?unknown=1", json=GOOD[path]) == 200


@pytest.mark.parametrize("path", GOOD)
async def test_what_breaks_the_schema_is_refused_in_the_same_words(
    both: tuple[httpx.AsyncClient, httpx.AsyncClient], path: str
) -> None:
    """Places and rules."""
    for value in BROKEN:
        given = {"content": json.dumps(value), "headers": {"content-type": JSON}}
        assert await same(both, method="POST", url=path, **given) == 422


@pytest.mark.parametrize("path", GOOD)
async def test_what_is_no_json_is_refused_in_the_same_words(
    both: tuple[httpx.AsyncClient, httpx.AsyncClient], path: str
) -> None:
    """Media type, encoding and size before that."""
    good = json.dumps(GOOD[path]).encode()
    for spoil in UNREADABLE.values():
        spoiled = {"content": spoil(good), "headers": {"content-type": JSON}}
        assert await same(both, method="POST", url=path, **spoiled) == 400
    for headers in ({}, {"content-type": "text/plain"}, {"content-encoding": "gzip"}):
        given = {"content": good, "headers": headers}
        assert await same(both, method="POST", url=path, **given) == 415
    large = {"content": good + b" " * 300_000, "headers": {"content-type": JSON}}
    assert await same(both, method="POST", url=path, **large) == 413


@pytest.mark.parametrize("path", GOOD)
async def test_other_methods_and_paths_are_the_frameworks(
    both: tuple[httpx.AsyncClient, httpx.AsyncClient], path: str
) -> None:
    """405 with what is allowed, and 404."""
    assert await same(both, method="GET", url=path) == 405
    assert await same(both, method="PUT", url=path, json=GOOD[path]) == 405
    assert await same(both, method="POST", url=f"{path}x", json=GOOD[path]) == 404


@pytest.mark.parametrize("path", GOOD)
async def test_requests_are_counted_by_their_template(
    both: tuple[httpx.AsyncClient, httpx.AsyncClient], path: str
) -> None:
    """Metrics do not tell the ways apart."""
    line = f'newsbert_request_seconds_count{{route="{path}",status="200"}} 1.0'
    for client in both:
        await client.post(path, json=GOOD[path])
        assert line in (await client.get("/metrics")).text


async def test_the_stages_of_a_quick_request_are_told(
    both: tuple[httpx.AsyncClient, httpx.AsyncClient],
) -> None:
    """In their order, with the total at the end."""
    timing = (await both[0].post("/v1/rank", json=GOOD["/v1/rank"])).headers["server-timing"]
    assert [part.split(";")[0] for part in timing.split(", ")] == [
        "body",
        "reader",
        "filter",
        "score",
        "answer",
        "total",
    ]


async def test_nothing_is_ready_before_the_first_snapshot(bundle_path: Path) -> None:
    """503, as everywhere."""
    async with served(bundle_path) as client:
        running = client._transport.app.state.running  # type: ignore[attr-defined]
        running.follower.is_ready = False
        answer = await client.post("/v1/rank", json=GOOD["/v1/rank"])
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
        assert answer.headers["retry-after"] == "1"
