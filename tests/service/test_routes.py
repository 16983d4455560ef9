"""Publishing, reading and operating over HTTP, on a store of each kind."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from fastapi import FastAPI

from contract.article import Article
from contract.bundle import Bundle
from service.wire import articles, ranked
from service.wire.lists import ListAnswer
from tests.builders import a_catalogue
from tests.service.fakes import until
from tests.service.web import served, until_shown

pytestmark = pytest.mark.anyio
NOW = datetime.now(UTC)
# The articles here are alike: neither stories nor novelty shall count.
PLAIN = {"collapse": False, "diversity": 0}


@pytest.fixture
async def client(bundle_path: Path, store_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of a service with an empty store of each kind in turn."""
    async with served(bundle_path, store_url) as client:
        yield client


def body(article: Article) -> dict[str, Any]:
    """Return what publishes an article: all that was set but its id."""
    return article.model_dump(mode="json", exclude={"id"}, exclude_unset=True)


async def publish(client: httpx.AsyncClient, *articles: Article) -> None:
    """Publish articles and wait until they are recommended."""
    content = b"".join(orjson.dumps({"id": a.id, **body(a)}) + b"\n" for a in articles)
    headers = {"content-type": "application/x-ndjson"}
    answer = await client.post("/v1/news:batch", content=content, headers=headers)
    assert answer.json() == {"written": len(articles), "unchanged": 0, "rejected": []}
    await until_shown(client, {article.id for article in articles})


async def test_an_article_is_published_read_changed_and_taken_down(
    client: httpx.AsyncClient,
) -> None:
    """The version counts the writes; an unchanged article is no write."""
    sent = {"title": "Team wins", "topic": "sports", "published_at": "2026-01-02T03:04:05Z"}
    for version, title, changed in ((1, "A", True), (1, "A", False), (2, "B", True)):
        answer = await client.put("/v1/news/N1", json={**sent, "title": title})
        assert answer.json() == {"id": "N1", "version": version, "changed": changed}
    read = (await client.get("/v1/news/N1")).json()
    articles.ArticleAnswer.model_validate_json(orjson.dumps(read))
    assert (read["title"], read["topic"], read["version"], read["state"]) == (
        "B", "sports", 2, "live",
    )  # fmt: skip
    assert read["published_at"] == sent["published_at"]
    await until_shown(client, {"N1"})
    answer = await client.delete("/v1/news/N1")
    assert answer.json() == {"id": "N1", "version": 3, "changed": True}
    await until_shown(client, set())
    assert (await client.get("/v1/news/N1")).status_code == 404
    assert (await client.delete("/v1/news/N1")).status_code == 404


@pytest.mark.parametrize(
    ("field", "hours", "state"),
    [
        ("embargo_until", 1, "embargoed"),
        ("embargo_until", -1, "live"),
        ("expires_at", -1, "expired"),
    ],
)
async def test_an_article_says_in_which_state_it_is(
    client: httpx.AsyncClient, field: str, hours: int, state: str
) -> None:
    """Embargoed and expired articles are read, not recommended."""
    moment = (NOW + timedelta(hours=hours)).isoformat()
    await client.put("/v1/news/N1", json={"title": "A", field: moment})
    assert (await client.get("/v1/news/N1")).json()["state"] == state
    await until_shown(client, {"N1"} if state == "live" else set())


async def test_a_batch_takes_what_is_good_and_names_what_is_not(
    client: httpx.AsyncClient,
) -> None:
    """A rejected line is named by number and rule, not quoted; the last of one id counts."""
    content = b'{"id": "N1", "title": "A"}\n\nnonsense\n{"id": "N2"}\n{"id": "N1", "title": "B"}'
    headers = {"content-type": "application/x-ndjson"}
    answer = (await client.post("/v1/news:batch", content=content, headers=headers)).json()
    articles.BatchAnswer.model_validate(answer)
    assert answer == {
        "written": 1,
        "unchanged": 0,
        "rejected": [
            {"line": 3, "code": "unreadable_body", "errors": []},
            {"line": 4, "code": "invalid", "errors": [{"loc": ["title"], "type": "missing"}]},
        ],
    }
    assert (await client.get("/v1/news/N1")).json()["title"] == "B"


async def test_recommendations_are_personal(client: httpx.AsyncClient, bundle: Bundle) -> None:
    """A reader of sports gets sports first, nothing read before, and whose answer it is."""
    articles = a_catalogue(40)
    await publish(client, *articles)
    history = [a.id for a in articles if a.topic == "sports"][:3]
    asked = {"history": history, "n": 5, "include": ["title", "topic"], **PLAIN}
    answer = (await client.post("/v1/recommendations", json=asked)).json()
    ranked.RecommendationAnswer.model_validate(answer)
    assert [item["topic"] for item in answer["items"]] == ["sports"] * 5
    assert [item["rank"] for item in answer["items"]] == [1, 2, 3, 4, 5]
    assert not {item["id"] for item in answer["items"]} & set(history)
    assert (answer["strategy"], answer["degraded"]) == ("personal", [])
    assert (answer["model"], answer["namespace"]) == (bundle.model, bundle.namespace)
    assert answer["generation"] == 1


async def test_every_field_of_a_request_counts(client: httpx.AsyncClient) -> None:
    """Filters, candidates, exclusions, freshness and what was read."""
    at = NOW.isoformat()
    await publish(client, *a_catalogue(12, source="wire", language="en", published_at=at))

    async def ids(**asked: Any) -> set[str]:
        answer = await client.post(
            "/v1/recommendations", json={"history": ["N0"], **PLAIN, **asked}
        )
        return {item["id"] for item in answer.json()["items"]}

    assert await ids(filter={"topics": ["politics"]}) == {"N1", "N5", "N9"}
    assert await ids(filter={"source": ["desk"]}) == await ids(filter={"language": ["de"]}) == set()
    assert await ids(filter={"published_after": at}) == set()
    assert await ids(candidates=["N0", "N1", "nothing"]) == {"N1"}
    assert await ids(candidates=["N0", "N1"], exclude_seen=False) == {"N0", "N1"}
    assert await ids(candidates=["N1", "N2"], exclude_ids=["N2"]) == {"N1"}
    assert len(await ids(freshness_half_life_h=1, n=3)) == 3


async def test_without_articles_an_answer_is_empty_and_says_so(client: httpx.AsyncClient) -> None:
    """A condition of the data is no error."""
    for asked in ({}, {"history": ["N1"]}):
        answer = (await client.post("/v1/recommendations", json=asked)).json()
        assert (answer["items"], answer["strategy"]) == ([], "none")
        assert answer["degraded"] == (["history_unknown"] if asked else [])


async def test_candidates_are_ranked(client: httpx.AsyncClient) -> None:
    """Best first, the others as missing."""
    await publish(client, *a_catalogue(8))
    asked = {"history": ["N0"], "candidates": ["N1", "nothing", "N4"]}
    answer = (await client.post("/v1/rank", json=asked)).json()
    ranked.RankAnswer.model_validate(answer)
    assert [item["id"] for item in answer["items"]] == ["N4", "N1"]
    assert answer["missing"] == ["nothing"]
    assert answer["items"][0]["score"] > answer["items"][1]["score"]


async def test_the_newest_articles_are_listed(client: httpx.AsyncClient) -> None:
    """Newest first, of one topic or of any of several."""
    one, two, three = a_catalogue(3)
    times = [(NOW - timedelta(hours=h)).isoformat() for h in (2, 1, 3)]
    articles = [
        a.model_copy(update={"published_at": datetime.fromisoformat(t)})
        for a, t in zip((one, two, three), times, strict=True)
    ]
    await publish(client, *articles)
    answer = (await client.get("/v1/latest", params={"n": 2})).json()
    ListAnswer.model_validate(answer)
    assert [item["id"] for item in answer["items"]] == ["N1", "N0"]
    assert answer["strategy"] == "latest"
    topics = {"topic": ["sports", "finance"]}
    of_topics = (await client.get("/v1/latest", params=topics)).json()
    assert [item["id"] for item in of_topics["items"]] == ["N0", "N2"]


async def test_operators_see_health_and_metrics(client: httpx.AsyncClient) -> None:
    """Alive, ready, and what the process counted."""
    for path in ("/health/live", "/health/ready"):
        assert (await client.get(path)).json() == {"status": "ok", "reasons": []}
    await client.post("/v1/recommendations", json={})
    page = (await client.get("/metrics")).text
    assert 'newsbert_pages_total{strategy="none"} 1.0' in page
    assert "newsbert_store_up 1.0" in page


async def test_a_background_job_that_ended_is_a_reason_to_send_traffic_elsewhere(
    bundle_path: Path,
) -> None:
    """Alive, but not ready: nothing would follow the store any more."""
    apps = list[FastAPI]()
    async with served(bundle_path, change=apps.append) as client:
        (*_, job) = apps[0].state.running.jobs
        job.cancel()
        await until(job.done)
        answer = await client.get("/health/ready")
        assert (answer.status_code, answer.json()["reasons"]) == (503, ["background_job_ended"])
        assert (await client.get("/health/live")).status_code == 200


async def test_timings_of_the_stages_are_told(client: httpx.AsyncClient) -> None:
    """Publishing and ranking are timed apart from the whole."""
    put = await client.put("/v1/news/N1", json={"title": "A"})
    post = await client.post("/v1/recommendations", json={})
    assert [t.partition(";")[0] for t in put.headers["server-timing"].split(", ")] == [
        "publish", "total",
    ]  # fmt: skip
    stages = ["body", "reader", "filter", "search", "score", "choose", "answer", "total"]
    assert [t.partition(";")[0] for t in post.headers["server-timing"].split(", ")] == stages


@pytest.mark.parametrize("store_url", ["sqlite", "redis"], indirect=True)
async def test_what_was_stored_is_there_after_a_restart(bundle_path: Path, store_url: str) -> None:
    """The store keeps articles and vectors; the activation keeps its generation."""
    async with served(bundle_path, store_url) as client:
        await publish(client, *a_catalogue(4))
    async with served(bundle_path, store_url) as client:
        await until_shown(client, {"N0", "N1", "N2", "N3"})
        asked = {"history": ["N0"], **PLAIN}
        answer = (await client.post("/v1/recommendations", json=asked)).json()
        assert (answer["strategy"], answer["generation"]) == ("personal", 1)
