"""Recommendations for stored readers over HTTP, and what is said of explored ones."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from fastapi import FastAPI

from service.exploration import read
from service.histories import Histories
from service.running import Running
from service.wire.ranked import RecommendationAnswer
from tests.builders import a_catalogue
from tests.problem_shape import MARKER, check_problem
from tests.service.web import client_of, ids_of, posted, serving_app, until_shown

pytestmark = pytest.mark.anyio
SIZE = 12
PATH, READER = "/v1/recommendations", {"user_id": "reader-1"}
# Titles of the tiny bundle are near to each other; a busy machine may take its time.
SETTINGS: dict[str, Any] = {"same_story": 0.99999, "history_timeout_s": 5.0}


@pytest.fixture(params=[True, False], ids=["lane", "framework"])
async def app(bundle_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[FastAPI]:
    """Serve twelve articles of four topics, by the lane and without."""
    async with serving_app(bundle_path, lane=request.param, **SETTINGS) as app:
        await publish(app)
        yield app


async def publish(app: FastAPI) -> None:
    """Publish the articles, and wait until they are shown."""
    articles = [{"id": a.id, "title": a.title, "topic": a.topic} for a in a_catalogue(SIZE)]
    content = b"".join(orjson.dumps(one) + b"\n" for one in articles)
    async with client_of(app) as client:
        headers = {"content-type": "application/x-ndjson"}
        await client.post("/v1/news:batch", content=content, headers=headers)
        await until_shown(client, {f"N{n}" for n in range(SIZE)})


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of the service."""
    async with client_of(app) as client:
        yield client


async def recommended(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    """Ask for recommendations, and check the shape of the answer."""
    return await posted(client, PATH, RecommendationAnswer, body)


async def told(client: httpx.AsyncClient, *events: tuple[str, str]) -> None:
    """Tell what a reader did, by type and article."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    lines = [
        {"event_id": f"{kind} {i}".replace(" ", "-"), "type": kind, "news_id": i, "at": now}
        for kind, i in events
    ]
    content = b"".join(orjson.dumps({**line, **READER}) + b"\n" for line in lines)
    headers = {"content-type": "application/x-ndjson"}
    answer = await client.post("/v1/feedback", content=content, headers=headers)
    assert answer.json()["accepted"] == len(events), answer.text


async def test_a_stored_history_counts_as_a_sent_one(client: httpx.AsyncClient) -> None:
    """What was clicked and read since is in the next answer, and the time it took is told."""
    cold = await recommended(client, **READER)
    assert (cold["strategy"], cold["degraded"], len(cold["items"])) == ("latest", [], 10)
    await told(client, ("click", "N0"), ("read", "N4"))
    stored = await recommended(client, **READER)
    sent = await recommended(client, history=["N0", "N4"])
    assert (stored["strategy"], stored["items"]) == ("personal", sent["items"])
    answer = await client.post(PATH, json=READER)
    stages = [part.split(";")[0] for part in answer.headers["server-timing"].split(", ")]
    assert stages[stages.index("reader") - 1] == "history"
    plain = (await client.post(PATH, json={})).headers["server-timing"]
    assert "history" not in plain


async def test_what_was_read_long_ago_does_not_come_again(client: httpx.AsyncClient) -> None:
    """It is in no history any more: the last fifty are other articles."""
    await told(client, ("read", "N0"), *(("read", f"U{n}") for n in range(50)))
    page = await recommended(client, **READER, n=200)
    assert (len(page["items"]), page["degraded"]) == (SIZE - 1, ["history_unknown"])
    assert "N0" not in ids_of(page)
    assert "N0" in ids_of(await recommended(client, **READER, n=200, exclude_seen=False))


async def test_what_a_reader_hides_is_gone_from_all_pages(client: httpx.AsyncClient) -> None:
    """Also from those of a walk that was begun before."""
    await told(client, ("click", "N0"))
    page = await recommended(client, **READER, n=3, collapse=False)
    everything = await recommended(client, **READER, n=200, collapse=False)
    hidden = ids_of(everything)[5]
    await told(client, ("hide", hidden))
    asked = {**READER, "n": 200, "collapse": False}
    rest = await recommended(client, **asked, cursor=page["next_cursor"])
    assert ids_of(rest) == [i for i in ids_of(everything)[3:] if i != hidden]
    assert hidden not in ids_of(await recommended(client, **asked))


async def test_a_cursor_is_for_its_own_reader(client: httpx.AsyncClient) -> None:
    """And for no other one."""
    cursor = (await recommended(client, **READER, n=2))["next_cursor"]
    for body in ({}, {"user_id": "reader-2"}, {**READER, "exploration": 0.1}):
        answer = await client.post(PATH, json={**body, "n": 2, "cursor": cursor})
        check_problem(answer, 422)
        assert answer.json()["code"] == "cursor_refused"


async def test_a_reader_is_stored_or_sent(client: httpx.AsyncClient) -> None:
    """Not both; nothing of either is repeated."""
    answer = await client.post(PATH, json={"history": ["N0"], "user_id": MARKER})
    check_problem(answer, 422)
    assert answer.json()["errors"] == [{"loc": ["body", "user_id"], "type": "one_reader"}]
    for body in ({"history": [], **READER}, {"history": ["N0"], "user_id": None}):
        await recommended(client, **body)
    for wrong in ("", "a b", "x" * 129, 1):
        check_problem(await client.post(PATH, json={"user_id": wrong}), 422)


async def test_without_the_store_there_is_no_history(
    app: FastAPI, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is that of somebody new, and says so."""

    async def lost(histories: Histories, user_id: str) -> None:
        return None

    monkeypatch.setattr(Histories, "of", lost)
    answer = await recommended(client, **READER)
    assert (answer["strategy"], answer["degraded"]) == ("latest", ["history"])


async def test_a_stateless_service_knows_no_reader(bundle_path: Path) -> None:
    """Whoever sends a history is answered."""
    async with (
        serving_app(bundle_path, readers="stateless") as app,
        client_of(app) as client,
    ):
        answer = await client.post(PATH, json=READER)
        check_problem(answer, 422)
        assert answer.json()["code"] == "unanswerable"
        await recommended(client, history=["N0"])


async def test_an_answer_names_its_request(client: httpx.AsyncClient) -> None:
    """By the id that its header has, the client's own or a new one; nothing more is said."""
    for headers in ({"x-request-id": "mine-1"}, {}):
        answer = await client.post(PATH, json={}, headers=headers)
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert not any("propensity" in item for item in answer.json()["items"])
    check_problem(await client.post(PATH, json={"exploration": 0.6}), 422)


@pytest.mark.parametrize("body", [{"history": ["N0"]}, {}], ids=["personal", "latest"])
async def test_an_explored_answer_tells_its_propensities(
    app: FastAPI, client: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    """Of every article, and by the request's id once more; on later pages too."""
    service: Running = app.state.running
    key = service.explorer._key()
    assert key is not None
    headers, cursor, pages = {"x-request-id": "mine-1"}, None, 0
    while cursor is not None or pages == 0:
        asked = {**body, "exploration": 0.5, "n": 4, "cursor": cursor}
        page = (await client.post(PATH, json=asked, headers=headers)).json()
        RecommendationAnswer.model_validate_json(orjson.dumps(page))
        stated = {item["id"]: item["propensity"] for item in page["items"]}
        assert page["request_id"].startswith("mine-1.")
        assert read(key, page["request_id"], [*stated, "N0"]) == stated
        assert all(0 < p <= 1 for p in stated.values())
        cursor, pages = page["next_cursor"], pages + 1
    assert pages == 3


async def test_a_service_explores_by_its_own_share(bundle_path: Path) -> None:
    """Where a request names none; 0 explores nothing."""
    async with (
        serving_app(bundle_path, exploration=0.2, **SETTINGS) as app,
        client_of(app) as client,
    ):
        await publish(app)
        explored = await recommended(client)
        assert "." in explored["request_id"]
        assert all(0 < item["propensity"] <= 1 for item in explored["items"])
        plain = await recommended(client, exploration=0)
        assert "." not in plain["request_id"]
        app.state.running.explorer._key = lambda: None
        unsigned = await recommended(client)
        assert "." not in unsigned["request_id"]
        assert ids_of(unsigned) == ids_of(plain)
