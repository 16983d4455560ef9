"""What is kept of a reader, and its erasure, over HTTP on a store of each kind."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from service import errors
from service.pseudonyms import Pseudonyms
from service.readers import READ_KEPT
from service.wire.users import ReaderAnswer
from tests.problem_shape import MARKER, check_no_echo, check_problem
from tests.service.events import a_click, an_impression, at, tell
from tests.service.web import client_of, served, serving_app

pytestmark = pytest.mark.anyio
KEY = "the operator's own"


@pytest.fixture
async def client(bundle_path: Path, store_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of a service with an empty store of each kind in turn."""
    async with served(bundle_path, store_url, reader_key=KEY) as client:
        yield client


async def kept(client: httpx.AsyncClient, user_id: str = "reader-1") -> dict[str, Any]:
    """Return what is kept of a reader, of whom there is something."""
    answer = await client.get(f"/v1/users/{quote(user_id, safe='')}")
    assert answer.status_code == 200, answer.text
    ReaderAnswer.model_validate_json(answer.content)
    told: dict[str, Any] = answer.json()
    return told


async def erase(client: httpx.AsyncClient, user_id: str = "reader-1") -> bool:
    """Erase a reader; say whether there was anything."""
    answer = await client.delete(f"/v1/users/{quote(user_id, safe='')}")
    assert answer.status_code == 200, answer.text
    erased: bool = answer.json()["erased"]
    return erased


async def test_all_that_is_kept_is_told(client: httpx.AsyncClient) -> None:
    """Each list oldest first; every event as it was sent, but for whose it is."""
    events = [
        an_impression(1, "N3", "N2", "N4", request_id="r.1"),
        a_click(2, request_id="r.1"),
        a_click(3, type="read"),
        a_click(4, type="hide"),
        a_click(5, news_id="N2", type="read"),
    ]
    await tell(client, *reversed(events), a_click(6, user_id="reader-2"))
    read = [{"id": "N3", "at": at(3)}, {"id": "N2", "at": at(5)}]
    assert await kept(client) == {
        "history": read,
        "seen": read,
        "hidden": [{"id": "N4", "at": at(4)}],
        "events": [{k: v for k, v in event.items() if k != "user_id"} for event in events],
    }


async def test_a_history_is_the_end_of_what_was_read(client: httpx.AsyncClient) -> None:
    """The last 50 of the last 200; the events are all of them."""
    await tell(client, *(a_click(n) for n in range(READ_KEPT + 10)))
    told = await kept(client)
    assert [one["id"] for one in told["seen"]] == [f"N{n}" for n in range(10, READ_KEPT + 10)]
    assert told["history"] == told["seen"][-50:]
    assert len(told["events"]) == READ_KEPT + 10


async def test_neither_id_nor_pseudonym_is_told(client: httpx.AsyncClient) -> None:
    """Of a reader who is there, and of one who is not."""
    key = hashlib.sha256(KEY.encode()).digest()
    for user_id in (f"{MARKER}-1", f"{MARKER}-2"):
        await tell(client, a_click(user_id=f"{MARKER}-1"))
        for method in ("GET", "DELETE", "GET"):
            answer = await client.request(method, f"/v1/users/{user_id}")
            check_no_echo(answer, {MARKER, Pseudonyms(lambda: key).of(user_id)})


async def test_a_reader_is_erased(client: httpx.AsyncClient) -> None:
    """Wholly and once; a second try is fine, and others stay."""
    await tell(client, a_click(), a_click(user_id="reader-2"))
    assert await erase(client)
    assert not await erase(client)
    check_problem(await client.get("/v1/users/reader-1"), 404)
    assert len((await kept(client, "reader-2"))["events"]) == 1


async def test_whoever_was_erased_may_come_back(client: httpx.AsyncClient) -> None:
    """Nothing is known of the events of before, so they are new."""
    for _ in range(2):
        assert (await tell(client, a_click()))["accepted"] == 1
        assert await erase(client)


async def test_of_an_unknown_reader_there_is_nothing(client: httpx.AsyncClient) -> None:
    """404 to read, and nothing to erase."""
    answer = await client.get("/v1/users/reader-1")
    check_problem(answer, 404)
    assert answer.json()["code"] == "reader_unknown"
    assert not await erase(client)


@pytest.mark.parametrize(
    "user_id", [*"azAZ09_:@+=~|-", "azAZ09._:@+=~|-", "u" * 128, "+49:1", "a@b.c", "a..", "~."]
)
async def test_an_id_in_a_path_is_the_one_of_the_events(
    client: httpx.AsyncClient, user_id: str
) -> None:
    """Every letter that an id may have, and each that it may begin with."""
    await tell(client, a_click(user_id=user_id))
    assert len((await kept(client, user_id))["events"]) == 1
    assert await erase(client, user_id)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(
    "user_id",
    ["u" * 129, "a b", "a\n", "a\x00", "{a}", "ä", "💥", "a*", "%s%n", ".", "..", ".a"],
)
async def test_another_id_is_422(client: httpx.AsyncClient, method: str, user_id: str) -> None:
    """Whatever no event could have."""
    # A client would take bare dots for folders, and ask for another path.
    path = quote(user_id, safe="").replace(".", "%2E")
    check_problem(await client.request(method, f"/v1/users/{path}"), 422)
    refused = (await tell(client, a_click(user_id=user_id)))["rejected"]
    assert [(one["index"], one["code"]) for one in refused] == [(0, "invalid")]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("path", ["", "a%2Fb", "a/b", "..%2Fa"])
async def test_another_path_is_404(client: httpx.AsyncClient, method: str, path: str) -> None:
    """A slash is part of no id."""
    answer = await client.request(method, f"/v1/users/{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_stateless_service_tells_and_erases_what_was_stored(
    bundle_path: Path, store_url: str
) -> None:
    """So that a store can be emptied; what was in memory is gone in any case."""
    async with served(bundle_path, store_url) as client:
        await tell(client, a_click())
    outlives = not store_url.startswith("memory")
    async with served(bundle_path, store_url, readers="stateless") as client:
        assert (await client.get("/v1/users/reader-1")).status_code == (200 if outlives else 404)
        assert await erase(client) is outlives
        assert not await erase(client)


class BrokenRecords:
    """Raises whatever it is given."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def of(self, user_id: str) -> None:
        """Raise."""
        raise self.error

    forget = of


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.StoreUnavailable(MARKER), 503),
        (errors.NotReady("no key"), 503),
        (RuntimeError(), 500),
    ],
)
async def test_a_store_that_does_not_answer_has_erased_nothing(
    bundle_path: Path, error: Exception, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is to be tried again; no log names the reader."""
    async with serving_app(bundle_path) as app, client_of(app) as client:
        app.state.running = replace(app.state.running, records=BrokenRecords(error))
        for method in ("GET", "DELETE"):
            answer = await client.request(method, "/v1/users/the-reader")
            assert answer.status_code == status
            check_no_echo(answer, {"the-reader", MARKER})
    logged = "".join(capfd.readouterr())
    assert "the-reader" not in logged
    assert ("RuntimeError" in logged) == (status == 500)
