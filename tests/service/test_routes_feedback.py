"""Feedback over HTTP, on a store of each kind: events count once, those refused are named."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from service import errors
from service.routes.feedback import AT_ONCE, BYTES_AT_ONCE, MAX_EVENTS
from tests.problem_shape import MARKER, check_no_echo, check_problem
from tests.service.events import (
    NDJSON,
    Faked,
    a_click,
    an_impression,
    faking,
    kept,
    lines,
    post,
    taken,
    tell,
)
from tests.service.web import served

pytestmark = pytest.mark.anyio
DAY = timedelta(days=1)


@pytest.fixture
async def client(bundle_path: Path, store_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of a service with an empty store of each kind in turn."""
    async with served(bundle_path, store_url) as client:
        yield client


@pytest.fixture
async def faked(bundle_path: Path) -> AsyncIterator[Faked]:
    """Give a service that stores nothing, and what it was asked to store."""
    async with faking(bundle_path) as faked:
        yield faked


async def test_each_event_counts_once(client: httpx.AsyncClient) -> None:
    """In one request, in the next, and when only some of them are new."""
    events = [a_click(1), a_click(2, type="read"), a_click(3, type="hide"), an_impression(4)]
    assert await tell(client, *events, events[0]) == taken(4, 1)
    assert await tell(client, *events) == taken(0, 4)
    assert await tell(client, *events, a_click(5)) == taken(1, 4)


async def test_an_event_is_known_by_reader_and_id(client: httpx.AsyncClient) -> None:
    """Another reader's event of that id is another; with other words it is the same."""
    assert await tell(client, a_click(1), a_click(1, user_id="reader-2")) == taken(2)
    assert await tell(client, a_click(1, news_id="N9", type="hide")) == taken(0, 1)
    assert [one["id"] for one in (await kept(client))["seen"]] == ["N1"]


async def test_requests_at_once_count_an_event_once(client: httpx.AsyncClient) -> None:
    """Whichever comes first."""
    events = [a_click(n, user_id=f"r{n % 5}") for n in range(100)]
    answers = await asyncio.gather(*(tell(client, *events) for _ in range(6)))
    assert sum(answer["accepted"] for answer in answers) == 100
    assert sum(answer["duplicates"] for answer in answers) == 500


async def test_events_may_come_in_any_order_and_grouping(client: httpx.AsyncClient) -> None:
    """What is kept is the same in the end."""
    events = [a_click(n, type=("click", "read", "hide")[n % 3]) for n in range(30)]
    events += [an_impression(n) for n in range(30, 40)]
    await tell(client, *events)
    shuffled = [{**event, "user_id": "reader-2"} for event in events]
    random.Random(7).shuffle(shuffled)
    for start in range(0, len(shuffled), 9):
        await tell(client, *shuffled[start : start + 9], by_line=start % 2 == 0)
    assert await kept(client, "reader-2") == await kept(client)


async def test_lists_and_lines_are_answered_alike(client: httpx.AsyncClient) -> None:
    """The same events, the same places, the same reasons; so they are in a second try."""
    late, early = (datetime.now(UTC) + DAY).isoformat(), (datetime.now(UTC) - 31 * DAY).isoformat()
    events: list[Any] = [a_click(n) for n in range(3 * AT_ONCE)]
    events[1] = a_click(101, at=late)
    events[AT_ONCE] = 5
    events[AT_ONCE + 2] = a_click(102, at=early)
    events[2 * AT_ONCE - 1] = a_click(103, **{MARKER: 1}, news_id=None)
    for accepted, duplicates in ((3 * AT_ONCE - 4, 0), (0, 3 * AT_ONCE - 4)):
        told = [
            await tell(client, *_of(reader, events), by_line=reader == "by-line")
            for reader in ("by-line", "listed")
        ]
        assert told[0] == told[1] == {
            "accepted": accepted,
            "duplicates": duplicates,
            "rejected": [
                {"index": 1, "code": "in_the_future", "errors": []},
                {
                    "index": AT_ONCE,
                    "code": "invalid",
                    "errors": [{"loc": [], "type": "model_attributes_type"}],
                },
                {"index": AT_ONCE + 2, "code": "too_old", "errors": []},
                {
                    "index": 2 * AT_ONCE - 1,
                    "code": "invalid",
                    "errors": [
                        {"loc": ["news_id"], "type": "missing"},
                        {"loc": [], "type": "extra_forbidden"},
                    ],
                },
            ],
        }  # fmt: skip


def _of(user_id: str, events: Sequence[Any]) -> list[Any]:
    return [{**e, "user_id": user_id} if isinstance(e, dict) else e for e in events]


async def test_a_line_is_named_by_its_number_less_one(client: httpx.AsyncClient) -> None:
    """Blank lines count; what is no JSON is unreadable, and the others are taken."""
    content = lines(b"", a_click(1), b"  \r", b"nonsense", a_click(2), b"{}", b"")
    for accepted in (2, 0):
        assert (await post(client, content)).json() == {
            "accepted": accepted,
            "duplicates": 2 - accepted,
            "rejected": [
                {"index": 3, "code": "unreadable", "errors": []},
                {
                    "index": 5,
                    "code": "invalid",
                    "errors": [{"loc": [], "type": "union_tag_not_found"}],
                },
            ],
        }


@pytest.mark.parametrize(
    ("content", "media"), [(b"[]", "application/json"), (b"", NDJSON), (b"\n\n", NDJSON)]
)
async def test_no_events_are_none(client: httpx.AsyncClient, content: bytes, media: str) -> None:
    """An empty request is answered as such."""
    assert (await post(client, content, media)).json() == taken(0)


@pytest.mark.parametrize(
    ("moment", "code"),
    [("0001-01-01T00:00:00Z", "too_old"), ("9999-12-31T23:59:59Z", "in_the_future")],
)
async def test_the_first_and_the_last_time_are_times(
    client: httpx.AsyncClient, moment: str, code: str
) -> None:
    """They are refused for what they are."""
    told = await tell(client, a_click(at=moment), a_click(2))
    assert told == {**taken(1), "rejected": [{"index": 0, "code": code, "errors": []}]}


@pytest.mark.parametrize("body", ["{}", "null", "3", "true", f'"{MARKER}"', f'{{"{MARKER}": []}}'])
async def test_json_that_is_no_list_is_422(faked: Faked, body: str) -> None:
    """Also a single event."""
    answer = await post(faked.client, body.encode(), "application/json")
    check_problem(answer, 422)
    assert answer.json()["errors"] == [{"loc": ["body"], "type": "list_type"}]


@pytest.mark.parametrize(
    ("piece", "first", "last", "media"),
    [
        (b"1,", b"[", b"1]", "application/json"),
        (b"x\n", b"", b"x", NDJSON),
        (b"\n", b"", b"x", NDJSON),
    ],
)
async def test_a_request_has_10_000_events_at_most(
    faked: Faked, piece: bytes, first: bytes, last: bytes, media: str
) -> None:
    """One more and none is taken; blank lines count."""
    full = first + piece * (MAX_EVENTS - 1) + last
    assert (await post(faked.client, full, media)).json()["rejected"][-1]["index"] == MAX_EVENTS - 1
    more = lines(a_click()) + b"\n" + piece * (MAX_EVENTS - 1) + last
    check_problem(
        await post(faked.client, more if media == NDJSON else b"[1," + full[1:], media), 413
    )
    assert faked.feedback.taken == []


async def test_each_kind_of_body_has_its_cap(bundle_path: Path) -> None:
    """A list that of a JSON body, lines that of a batch, and one line again that of a JSON body."""
    event = lines(a_click())
    most = len(event) + 2
    async with served(bundle_path, max_body_bytes=most, max_batch_bytes=4 * most) as client:
        assert (await post(client, b"[" + event + b"]", "application/json")).json() == taken(1)
        check_problem(await post(client, b"[" + event + b" ]", "application/json"), 413)
        padded = event + b" " * (most - len(event))
        assert (await post(client, padded)).json() == taken(0, 1)
        assert (await post(client, padded + b" ")).json()["rejected"] == [
            {"index": 0, "code": "invalid", "errors": [{"loc": [], "type": "bytes_too_long"}]}
        ]
        assert (await post(client, b"\n".join([event] * 3))).json() == taken(0, 3)
        check_problem(await post(client, b"x" * (4 * most + 1)), 413)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Overloaded("too many events wait to be written"), 503),
        (errors.StoreUnavailable(MARKER), 503),
        (errors.StoreFull(MARKER), 507),
    ],
)
async def test_events_that_could_not_be_stored_are_not_acknowledged(
    faked: Faked, error: Exception, status: int
) -> None:
    """The whole request is to be sent again."""
    faked.feedback.error = error
    answer = await faked.client.post("/v1/feedback", json=[a_click()])
    check_problem(answer, status)
    assert ("retry-after" in answer.headers) == (status == 503)


async def test_a_long_body_lets_others_have_their_turn(faked: Faked) -> None:
    """After so many events, or so many bytes of them, others are answered."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    await tell(faked.client, *(a_click(n) for n in range(40 * AT_ONCE)), by_line=True)
    assert turns >= 40
    turns, long = 0, lines(a_click()) + b" " * BYTES_AT_ONCE
    await post(faked.client, b"\n".join([long] * 30))
    assert turns >= 30
    task.cancel()


async def test_a_stateless_service_takes_no_events(bundle_path: Path) -> None:
    """422: no other try will do."""
    async with served(bundle_path, readers="stateless") as client:
        for answer in (
            await client.post("/v1/feedback", json=[a_click()]),
            await post(client, b""),
        ):
            check_problem(answer, 422)
            assert answer.json()["code"] == "unanswerable"


async def test_logs_and_answers_tell_nothing_of_events(
    bundle_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Whether they are taken, refused, unreadable, or met by an outage or a defect."""
    secret = {name: f"{MARKER}-{name}" for name in ("user_id", "event_id", "news_id", "request_id")}
    bodies = [a_click(**secret), a_click(**{**secret, "at": MARKER}), a_click(**{MARKER: MARKER})]
    async with faking(bundle_path) as faked:
        for error in (None, errors.StoreUnavailable("down"), RuntimeError("a defect")):
            faked.feedback.error = error
            check_no_echo(await faked.client.post("/v1/feedback", json=bodies))
            check_no_echo(await post(faked.client, lines(*bodies, MARKER.encode())))
    logged = "".join(capfd.readouterr()) + caplog.text
    assert "a defect" in logged
    assert "store_unavailable" in logged
    assert MARKER not in logged
