"""Bodies are refused by media type and size before they are parsed, and must arrive in time."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel

from service import problems
from service.bodies import BatchRoute, EitherRequest, EitherRoute, JsonRoute, parse
from service.errors import UnreadableBody
from tests.service.web import client_of

pytestmark = pytest.mark.anyio
CAP, BATCH_CAP = 64, 256


class Body(BaseModel):
    """A body with one field."""

    text: str


def an_app(receive_timeout_s: float = 5.0) -> FastAPI:
    """Build an app with a JSON route and a batch route that say how much they read."""
    app = FastAPI()
    app.state.settings = SimpleNamespace(
        max_body_bytes=CAP, max_batch_bytes=BATCH_CAP, receive_timeout_s=receive_timeout_s
    )
    problems.install(app)
    json, lines = APIRouter(route_class=JsonRoute), APIRouter(route_class=BatchRoute)
    either = APIRouter(route_class=EitherRoute)

    @json.post("/json")
    async def of_json(body: Body) -> int:
        return len(body.text)

    @json.get("/nothing")
    async def of_nothing() -> int:
        return 0

    @lines.post("/lines")
    async def of_lines(request: Request) -> int:
        return len(await request.body())

    @either.post("/either")
    async def of_either(request: EitherRequest) -> int:
        return len(await request.body()) if request.has_lines else len(str(await request.json()))

    for router in (json, lines, either):
        app.include_router(router)
    return app


async def send(
    path: str, content: Any, media_type: str | None = "application/json", **headers: str
) -> httpx.Response:
    """Send a body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if media_type is not None:
        named["content-type"] = media_type
    async with client_of(an_app()) as client:
        return await client.post(path, content=content, headers=named)


async def in_pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    """Send a body without telling its length."""
    for piece in pieces:
        yield piece


GOOD = b'{"text": "abc"}'


@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON; charset=utf-8"])
async def test_json_is_read(media_type: str) -> None:
    """Parameters and case of the media type do not matter, nor how the body is cut."""
    assert (await send("/json", GOOD, media_type)).json() == 3
    assert (await send("/json", in_pieces(GOOD[:4], b"", GOOD[4:]), media_type)).json() == 3


@pytest.mark.parametrize(
    ("first", "second", "status"), [("json", "xml", 200), ("xml", "json", 415)]
)
async def test_of_two_media_types_the_first_counts(first: str, second: str, status: int) -> None:
    """As everywhere in the framework."""
    types = [("content-type", f"application/{one}") for one in (first, second)]
    async with client_of(an_app()) as client:
        answer = await client.post("/json", content=GOOD, headers=types)
    assert answer.status_code == status


@pytest.mark.parametrize(
    "media_type", ["application/x-ndjson", "application/ndjson", "application/jsonl"]
)
async def test_lines_are_read(media_type: str) -> None:
    """A batch has several names, and a cap of its own."""
    for path in ("/lines", "/either"):
        assert (await send(path, b"x" * BATCH_CAP, media_type)).json() == BATCH_CAP


async def test_where_either_is_read_the_media_type_decides() -> None:
    """JSON is parsed, and refused where it is none; lines come as they are."""
    assert (await send("/either", b" 12 ")).json() == 2
    assert (await send("/either", b" 12 ", "application/jsonl; charset=utf-8")).json() == 4
    for content, media_type, status in ((b"{", "application/json", 400), (b"{", "text/xml", 415)):
        assert (await send("/either", content, media_type)).status_code == status


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/json", None),
        ("/json", ""),
        ("/json", "text/plain"),
        ("/json", "application/x-ndjson"),
        ("/json", "application/json-seq"),
        ("/json", "multipart/form-data; boundary=application/json"),
        ("/lines", "application/json"),
    ],
)
async def test_another_media_type_is_refused_before_anything_else(
    path: str, media_type: str | None
) -> None:
    """415 also for a body that is too large or no JSON."""
    answer = await send(path, b"x" * 10 * BATCH_CAP, media_type)
    assert (answer.status_code, answer.json()["code"]) == (415, "media_type_unsupported")


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip"])
async def test_an_encoded_body_is_refused(encoding: str) -> None:
    """No decompression, so no bombs."""
    answer = await send("/json", GOOD, content_encoding=encoding)
    assert answer.status_code == 415
    assert (await send("/json", GOOD, content_encoding="identity")).status_code == 200


@pytest.mark.parametrize("is_declared", [True, False])
@pytest.mark.parametrize(
    ("path", "cap", "media_type"),
    [
        ("/json", CAP, "application/json"),
        ("/lines", BATCH_CAP, "application/x-ndjson"),
        ("/either", CAP, "application/json"),
        ("/either", BATCH_CAP, "application/x-ndjson"),
    ],
)
async def test_a_body_over_its_cap_is_refused_unparsed(
    path: str, cap: int, media_type: str, is_declared: bool
) -> None:
    """413 whether or not the length was told, also for what is no JSON; at the cap it is taken."""
    for size, status in ((cap + 1, {413}), (cap, {200, 400})):
        content = b"x" * size
        sent = content if is_declared else in_pieces(content[:30], content[30:])
        answer = await send(path, sent, media_type)
        assert answer.status_code in status
        if answer.status_code == 413:
            assert answer.json()["code"] == "body_too_large"
            assert answer.headers["connection"] == "close"


async def test_a_declared_length_is_believed_when_it_is_too_much() -> None:
    """Refused without reading; what is declared too small does not help either."""
    declared = await send("/json", in_pieces(GOOD), content_length=str(10**30))
    assert declared.status_code == 413
    assert (await send("/json", in_pieces(b"x" * 99), content_length="3")).status_code == 413


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"text": "a"} x',
        b"{'text': 'a'}",
        b'{"text": NaN}',
        b"Infinity",
        b'{"text": 1e999}',
        b"\xef\xbb\xbf{}",
        b'{"text": "\xff"}',
        b'{"text": "\\ud800"}',
        b"[1,]",
        b"\x00",
        b"[" * 5_000 + b"]" * 5_000,
    ],
)
async def test_what_is_no_json_is_unreadable(raw: bytes) -> None:
    """Truncated, empty, NaN, bad UTF-8, a BOM, a lone surrogate, too deep: never quoted."""
    with pytest.raises(UnreadableBody, match=r"^the body is not JSON$"):
        parse(raw)


async def test_an_unreadable_body_is_400_and_a_wrong_one_422() -> None:
    """JSON that breaks the schema is another error than no JSON."""
    assert (await send("/json", b'{"text": ')).status_code == 400
    for content in (b"null", b"[]", b'"a"', b"{}", b'{"text": 1}'):
        answer = await send("/json", content)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


async def test_of_a_key_given_twice_the_last_one_counts() -> None:
    """As most parsers have it."""
    assert parse(b'{"a": 1, "a": 2}') == {"a": 2}


async def test_a_body_that_dawdles_is_cut_off() -> None:
    """The time to send a whole body is bounded, however steadily it trickles."""
    sent = 0

    async def trickle() -> dict[str, Any]:
        nonlocal sent
        sent += 1
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b" ", "more_body": True}

    answer = await called(an_app(receive_timeout_s=0.1), trickle)
    assert answer["status"] == 400
    assert b"did not arrive in time" in answer["body"]
    assert sent < CAP


async def test_a_client_that_goes_away_is_no_defect() -> None:
    """It is answered like a body that is not whole, though nobody reads that."""

    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    assert (await called(an_app(), gone))["status"] == 400


async def test_routes_without_a_body_read_none() -> None:
    """A GET needs no media type."""
    async with client_of(an_app()) as client:
        assert (await client.get("/nothing")).status_code == 200


async def called(app: FastAPI, receive: Any) -> dict[str, Any]:
    """Post to `/json` with the body that `receive` gives; return status and body."""
    answer: dict[str, Any] = {"body": b""}

    async def take(message: Any) -> None:
        answer.update({k: v for k, v in message.items() if k == "status"})
        answer["body"] += message.get("body", b"")

    scope = {
        "type": "http", "method": "POST", "path": "/json", "raw_path": b"/json", "root_path": "",
        "scheme": "http", "query_string": b"", "http_version": "1.1", "client": None,
        "server": ("test", 80), "headers": [(b"content-type", b"application/json")],
    }  # fmt: skip
    async with asyncio.timeout(10):
        await app(scope, receive, take)
    return answer
