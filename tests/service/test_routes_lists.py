"""The lists over HTTP: latest, trending, similar and the catalogue, on a store of each kind."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import httpx
import orjson
import pytest

from service.answer import Answer, Empty, Strategy
from service.paging import Kind, Pager
from service.ports import Activation
from service.routes.pages import page
from service.wire.lists import CatalogueAnswer, ListAnswer
from tests.service.fakes import PATIENCE_S
from tests.service.web import ids_of, served, until_shown

pytestmark = pytest.mark.anyio
NOW = datetime.now(UTC)
TOPICS = ("sports", "politics", "finance", "health")
FIELDS = ("title", "topic", "subtopic", "source", "language", "url", "published_at")
INCLUDED = "&".join(f"include={name}" for name in FIELDS)
LISTS = ("/v1/latest", "/v1/trending", "/v1/news/N0/similar")


@pytest.fixture
async def client(bundle_path: Path, store_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of a service with twelve articles; one has no time, one is under embargo."""
    async with served(bundle_path, store_url) as client:
        await publish(client, *(an_article(i) for i in range(12)))
        yield client


def an_article(number: int) -> dict[str, Any]:
    """Build what is published of an article, the newer the higher its number."""
    fields = {
        "id": f"N{number}",
        "title": f"Story {number} of the day",
        "topic": TOPICS[number % 4],
        "source": "wire" if number % 2 else "desk",
        "language": "en",
        "url": f"https://news.example/{number}",
    }
    if number != 11:
        fields["published_at"] = (NOW - timedelta(hours=20 - number)).isoformat()
    if number == 10:
        fields["embargo_until"] = (NOW + timedelta(hours=1)).isoformat()
    return fields


async def publish(client: httpx.AsyncClient, *articles: dict[str, Any]) -> None:
    """Publish articles and wait until all that may be are shown."""
    content = b"".join(orjson.dumps(one) + b"\n" for one in articles)
    headers = {"content-type": "application/x-ndjson"}
    answer = await client.post("/v1/news:batch", content=content, headers=headers)
    assert answer.json()["written"] == len(articles)
    await until_shown(client, {a["id"] for a in articles if "embargo_until" not in a})


async def get(client: httpx.AsyncClient, url: str, status: int = 200) -> dict[str, Any]:
    """Ask for a page; check its status, and its shape where it is one."""
    answer = await client.get(url)
    assert answer.status_code == status, answer.text
    if status == 200:
        model = CatalogueAnswer if url.partition("?")[0] == "/v1/news" else ListAnswer
        model.model_validate_json(answer.content)
    result: dict[str, Any] = answer.json()
    return result


@pytest.mark.parametrize("path", LISTS)
async def test_a_walk_over_http_shows_everything_once(client: httpx.AsyncClient, path: str) -> None:
    """Pages of any size, each with the cursor of the next, until it is null."""
    url, found, ranks = f"{path}?collapse=false", list[str](), list[int]()
    page = await get(client, f"{url}&n=2")
    while page["next_cursor"]:
        found, ranks = found + ids_of(page), ranks + [item["rank"] for item in page["items"]]
        page = await get(client, f"{url}&n=3&{INCLUDED}&cursor={page['next_cursor']}")
    found, ranks = found + ids_of(page), ranks + [item["rank"] for item in page["items"]]
    hidden = {"N10", "N0"} if "similar" in path else {"N10"}
    assert sorted(found) == sorted({f"N{i}" for i in range(12)} - hidden)
    assert ranks == list(range(1, len(found) + 1))
    assert (page["degraded"], page["empty"]) == ([], None)


async def test_an_item_has_the_fields_that_were_asked_for(client: httpx.AsyncClient) -> None:
    """All seven; a time that is not known is null."""
    page = await get(client, f"/v1/latest?collapse=false&n=2&{INCLUDED}")
    unknown, known = page["items"]
    article = an_article(9)
    assert {name: known[name] for name in FIELDS if name != "published_at"} == {
        **{name: article[name] for name in ("title", "topic", "source", "language", "url")},
        "subtopic": "",
    }
    assert datetime.fromisoformat(known["published_at"]) == NOW - timedelta(hours=11)
    assert (unknown["id"], unknown["published_at"]) == ("N11", None)
    bare = await get(client, "/v1/latest?n=1")
    assert set(bare["items"][0]) <= {"id", "score", "rank", "also"}


async def test_filters_of_a_query_string(client: httpx.AsyncClient) -> None:
    """Each may come several times; a time is text with a zone."""
    after = (NOW - timedelta(hours=15)).isoformat().replace("+", "%2B")
    url = f"/v1/latest?collapse=false&topic=sports&topic=politics&published_after={after}"
    assert ids_of(await get(client, url)) == ["N9", "N8"]
    assert ids_of(await get(client, f"{url}&source=desk&language=en")) == ["N8"]
    page = await get(client, "/v1/trending?topic=gardening")
    assert (page["items"], page["empty"], page["strategy"]) == ([], "filter", "none")


async def test_a_cursor_of_something_else_is_refused(client: httpx.AsyncClient) -> None:
    """Of another route, another filter, or of nothing at all: 422, and not a word of it."""
    cursor = (await get(client, "/v1/latest?n=2&collapse=false"))["next_cursor"]
    for given, url in (
        ("nonsense", "/v1/latest?collapse=false"),
        (f"{cursor}A", "/v1/latest?collapse=false"),
        (cursor, "/v1/trending?collapse=false"),
        (cursor, "/v1/latest?collapse=false&topic=sports"),
        (cursor, "/v1/latest?collapse=true"),
        (cursor, "/v1/news/N0/similar?collapse=false"),
        (cursor, "/v1/news?limit=5"),
    ):
        error = await get(client, f"{url}&cursor={given}", status=422)
        assert error["code"] == "cursor_refused"
        assert error["message"].partition(":")[0] in {"malformed", "foreign"}
        assert given not in str(error)


@pytest.mark.parametrize("store_url", ["memory"], indirect=True)
async def test_a_query_string_that_breaks_the_schema_is_refused(client: httpx.AsyncClient) -> None:
    """Bounds, types and unknown names, which would otherwise filter nothing."""
    queries = [
        "n=0", "n=201", "n=x", "topics=sports", "cursor=", f"cursor={'A' * 8_193}",
        "collapse=maybe", "include=body", "published_after=1700000000",
        "published_after=2026-01-01", "&".join(["topic=a"] * 65),
    ]  # fmt: skip
    for url in (f"{path}?{query}" for path in LISTS for query in queries):
        error = await get(client, url, status=422)
        assert error["code"] == "invalid", url
        assert "topics" not in str(error["errors"])


async def test_similar_knows_only_what_may_be_known(client: httpx.AsyncClient) -> None:
    """404 for an unknown article, one under embargo and one taken down."""
    await client.delete("/v1/news/N1")
    with anyio.fail_after(PATIENCE_S):
        while (await client.get("/v1/news/N1/similar")).status_code != 404:  # noqa: ASYNC110
            await anyio.sleep(0.005)
    for article_id in ("unknown", "N10", "N1"):
        error = await get(client, f"/v1/news/{article_id}/similar", status=404)
        assert error["code"] == "article_unknown"
    page = await get(client, "/v1/news/N2/similar?n=200")
    assert page["strategy"] == "similar"
    assert not {"N1", "N2", "N10"} & set(ids_of(page))


async def test_without_a_key_there_is_one_page_and_it_says_so() -> None:
    """An answer is no worse for it; only its next page cannot be asked for."""
    pager = Pager(lambda: None, lambda: 0.0, ttl_s=1.0)
    follower = SimpleNamespace(is_behind=True)
    service: Any = SimpleNamespace(pager=pager, follower=follower)
    activation = Activation(1, "model", "space")
    answer = Answer([], Strategy.NONE, [], Empty.FILTER, ("N1",), 0.0, 0, activation)
    told = page(service, answer, (), kind=Kind.LATEST, asked=bytes(8))
    assert (told["next_cursor"], told["degraded"]) == (None, ["cursor", "stale"])
    last = page(service, replace(answer, left=()), (), kind=Kind.LATEST, asked=bytes(8))
    assert (last["next_cursor"], last["degraded"]) == (None, ["stale"])


async def test_the_catalogue_is_read_to_its_end(client: httpx.AsyncClient) -> None:
    """In the order of ids, whatever the state of an article, each with its state."""
    url, found = "/v1/news", list[dict[str, Any]]()
    page = await get(client, f"{url}?limit=5")
    while page["next_cursor"]:
        found += page["items"]
        page = await get(client, f"{url}?limit=4&cursor={page['next_cursor']}")
    found += page["items"]
    states = {one["id"]: one["state"] for one in found}
    assert [one["id"] for one in found] == sorted(f"N{i}" for i in range(12))
    assert (states["N10"], states["N0"]) == ("embargoed", "live")
    assert [one["id"] for one in found if one["time_unknown"]] == ["N11"]
    for query in ("limit=0", "limit=501", "cursor="):
        await get(client, f"{url}?{query}", status=422)


@pytest.mark.parametrize("store_url", ["sqlite", "redis"], indirect=True)
async def test_a_page_of_one_process_is_continued_by_another(
    client: httpx.AsyncClient, bundle_path: Path, store_url: str
) -> None:
    """The key is the store's, so a cursor outlives the process that issued it."""
    page = await get(client, "/v1/latest?n=2&collapse=false")
    async with served(bundle_path, store_url) as other:
        second = await get(other, f"/v1/latest?n=200&collapse=false&cursor={page['next_cursor']}")
        whole = await get(other, "/v1/latest?n=200&collapse=false")
    assert ids_of(page) + ids_of(second) == ids_of(whole)
