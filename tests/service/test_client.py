"""The client: typed answers, tries until a deadline, and errors that say what to do."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from contract.article import Article
from service.client import Client, ClientError, Refused, Unavailable, Unreadable
from service.wire.finding import SearchBody
from service.wire.ranked import RankBody, RecommendationBody
from service.wire.texts import ClassifyBody, EmbeddingsBody
from tests.builders import a_catalogue
from tests.service.web import serving_app

pytestmark = pytest.mark.anyio

ANSWER: dict[str, Any] = {
    "items": [{"id": "N1", "score": 1.0, "rank": 1}],
    "strategy": "latest",
    "degraded": [],
    "empty": None,
    "next_cursor": None,
    "request_id": "r",
    "model": "m",
    "namespace": "n",
    "generation": 1,
}


class Script:
    """A transport that answers by a script, and remembers what it was asked."""

    def __init__(self, *answers: httpx2.Response | Exception) -> None:
        self.answers, self.asked = list(answers), list[httpx2.Request]()

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        """Give the next answer; the last one stays."""
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx2.Response(answer.status_code, headers=answer.headers, content=answer.content)


def scripted(script: Callable[[httpx2.Request], Any], deadline_s: float = 2.0) -> Client:
    """Build a client on a script."""
    transport = httpx2.MockTransport(script)
    return Client("http://test", deadline_s=deadline_s, transport=transport)


def busy(after: str = "0") -> httpx2.Response:
    """Build the answer of a service that is overloaded."""
    return httpx2.Response(503, headers={"retry-after": after}, json={})


def good() -> httpx2.Response:
    """Build a good answer."""
    return httpx2.Response(200, json=ANSWER)


async def test_every_call_is_answered_by_the_service(bundle_path: Path) -> None:
    """Published, read, recommended, ranked, listed, found, encoded, taken down."""
    articles = a_catalogue(6)
    async with serving_app(bundle_path) as app:
        transport = httpx2.ASGITransport(app)
        async with Client("http://test", deadline_s=10, transport=transport) as client:
            assert (await client.publish(articles[0])).changed
            assert (await client.publish_many(articles)).written == 5
            assert (await client.article(articles[1].id)).title == articles[1].title
            await all_shown(client, articles)
            history = [articles[0].id]
            answer = await client.recommend(RecommendationBody(history=history, n=3))
            assert (len(answer.items), answer.strategy) == (3, "personal")
            ranked = await client.rank(RankBody(history=history, candidates=["N9", articles[1].id]))
            assert ([one.id for one in ranked.items], ranked.missing) == ([articles[1].id], ["N9"])
            await lists_are_typed(client, articles)
            await texts_are_typed(client)
            await client.take_down(articles[1].id)
            with pytest.raises(Refused, match="404 article_unknown"):
                await client.article(articles[1].id)


async def lists_are_typed(client: Client, articles: list[Article]) -> None:
    """Ask for every list, and for a page after the first."""
    for answer in (
        await client.trending(n=2, collapse=False),
        await client.similar(articles[1].id, n=2, collapse=False),
        await client.search(SearchBody(query="the season", n=2, collapse=False)),
    ):
        assert len(answer.items) == 2
    page = await client.catalogue(limit=4)
    rest = await client.catalogue(limit=4, cursor=page.next_cursor)
    assert [one.id for one in page.items + rest.items] == sorted(a.id for a in articles)


async def texts_are_typed(client: Client) -> None:
    """Ask for whatever needs no article."""
    (model,) = (await client.models()).data
    embedded = await client.embed(EmbeddingsBody(model=model.id, input=["A law", "A cup"]))
    assert [len(one.embedding) for one in embedded.data] == [model.dim] * 2
    classified = await client.classify(ClassifyBody(texts=["The senate on a law"], n=1))
    assert classified.results[0].taxonomies["mind"][0].topic == "politics"


async def all_shown(client: Client, articles: list[Article]) -> None:
    """Wait until all articles are in the snapshot."""
    while len((await client.latest(n=50, collapse=False)).items) < len(articles):  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    "failure",
    [busy(), httpx2.ConnectError("refused"), httpx2.ReadError("reset"), httpx2.ReadTimeout("slow")],
    ids=repr,
)
async def test_what_may_pass_is_tried_again(failure: Any) -> None:
    """Overload and lost connections, on every method."""
    script = Script(failure, failure, good())
    async with scripted(script) as client:
        assert (await client.latest()).items[0].id == "N1"
    assert len(script.asked) == 3


async def test_the_wait_that_the_service_asks_for_is_kept() -> None:
    """Not earlier."""
    async with scripted(Script(busy("1"), good())) as client:
        started = time.monotonic()
        await client.latest()
        assert time.monotonic() - started >= 1.0


@pytest.mark.parametrize(
    "failure", [busy("0"), busy("60"), httpx2.ConnectError("refused")], ids=repr
)
async def test_the_deadline_is_over_all_tries(failure: Any) -> None:
    """However long the service wants to be left alone."""
    async with scripted(Script(failure), deadline_s=0.3) as client:
        started = time.monotonic()
        with pytest.raises(Unavailable, match="GET /v1/latest"):
            await client.latest()
        assert time.monotonic() - started < 5


async def test_a_service_that_does_not_answer_meets_the_deadline() -> None:
    """One try may not take longer than all."""

    async def never(_: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(60)
        raise AssertionError

    async with scripted(never, deadline_s=0.2) as client:
        with pytest.raises(Unavailable, match="TimeoutError"):
            await client.latest()


@pytest.mark.parametrize("status", [400, 404, 413, 422, 500, 507])
async def test_what_is_refused_is_not_tried_again(status: int) -> None:
    """The code and the places are told."""
    errors = [{"loc": ["body", "n"], "type": "less_than_equal"}]
    body = {"code": "some_code", "message": "words", "errors": errors}
    script = Script(httpx2.Response(status, json=body))
    async with scripted(script) as client:
        with pytest.raises(Refused) as caught:
            await client.recommend(RecommendationBody())
    assert (caught.value.status, caught.value.code) == (status, "some_code")
    assert caught.value.errors[0].loc == ["body", "n"]
    assert len(script.asked) == 1


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"code": 1}'])
async def test_an_answer_of_something_in_between_is_refused_too(content: bytes) -> None:
    """A proxy knows nothing of our shape."""
    async with scripted(Script(httpx2.Response(502, content=content))) as client:
        with pytest.raises(Refused, match="502 unknown"):
            await client.latest()


async def test_taking_down_twice_is_no_error() -> None:
    """A try whose answer was lost may have done it."""
    gone = {"code": "article_unknown", "message": "", "errors": []}
    async with scripted(Script(httpx2.Response(404, json=gone))) as client:
        await client.take_down("N1")


async def test_only_what_was_set_is_sent() -> None:
    """The service's own defaults hold."""
    script = Script(good())
    async with scripted(script) as client:
        await client.recommend(RecommendationBody(history=["N1"]))
    assert script.asked[0].content == b'{"history":["N1"]}'
    assert script.asked[0].headers["content-type"] == "application/json"


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b'{"items": [{"id": 1}]}'])
async def test_an_answer_that_is_not_ours_is_unreadable(content: bytes) -> None:
    """A page of a proxy, or a service of another interface: an error of the client's own."""
    script = Script(httpx2.Response(200, content=content))
    async with scripted(script) as client:
        with pytest.raises(Unreadable, match=r"^GET /v1/latest: 200 without a ListAnswer$"):
            await client.latest()
    assert len(script.asked) == 1


async def test_what_the_service_said_last_is_told_after_the_deadline() -> None:
    """Whether the deadline ends a wait, or leaves no time for another try."""
    body = {"code": "store_unavailable", "message": "no store", "errors": []}
    for after in ("0", "60"):
        said = httpx2.Response(503, headers={"retry-after": after}, json=body)
        lost = httpx2.ConnectError("refused")
        async with scripted(Script(lost, said), deadline_s=0.3) as client:
            with pytest.raises(Unavailable) as caught:
                await client.latest()
        assert str(caught.value) == "GET /v1/latest: 503 store_unavailable: no store"
        assert caught.value.code == "store_unavailable"


async def test_a_service_that_said_nothing_has_no_code() -> None:
    """The kind of loss is told."""
    lost = httpx2.ConnectError("refused")
    async with scripted(Script(busy(), lost), deadline_s=0.3) as client:
        with pytest.raises(Unavailable, match="ConnectError") as caught:
            await client.latest()
    assert caught.value.code is None


async def named(client: Client, article_id: str) -> list[Any]:
    """Name an article in every path that has one; return how each call ended."""
    article = Article.model_construct(id=article_id, title="x")
    calls = (
        client.similar(article_id),
        client.article(article_id),
        client.take_down(article_id),
        client.publish(article),
    )
    return await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.parametrize(
    ("article_id", "path"),
    [
        ("../models", "..%2Fmodels"),
        ("N1?n=1#x", "N1%3Fn%3D1%23x"),
        ("%2e", "%252e"),
        ("ä", "%C3%A4"),
    ],
)
async def test_an_id_is_one_segment_of_a_path(article_id: str, path: str) -> None:
    """Whatever is in it: no other route is reached."""
    script = Script(good())
    async with scripted(script) as client:
        await named(client, article_id)
    paths = [request.url.raw_path.decode().partition("?")[0] for request in script.asked]
    assert sorted(paths) == sorted([f"/v1/news/{path}/similar", *[f"/v1/news/{path}"] * 3])


@pytest.mark.parametrize("article_id", ["", " ", "\t\n", ".", ".."])
async def test_what_is_no_segment_of_a_path_is_never_sent(article_id: str) -> None:
    """It would be the path of all articles, or of none."""
    script = Script(good())
    async with scripted(script) as client:
        ended = await named(client, article_id)
    assert [type(one) for one in ended] == [ClientError] * 4
    assert "no id of an article" in str(ended[0])
    assert script.asked == []
