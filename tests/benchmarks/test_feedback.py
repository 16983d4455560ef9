"""The feedback benchmark sends what it says, times from when it was due, and sees what is wrong."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise

import orjson
import pytest

from benchmarks import feedback, open_load
from benchmarks.comparison import BenchmarkError
from benchmarks.events import Plan, check_held, made_up_events
from benchmarks.open_load import Connections, arrive, request
from service.adapters.memory_store import MemoryStore
from service.decay import Decay
from service.feedback import Sent
from service.ports import Amendment, Span
from service.pseudonyms import Pseudonyms
from service.readers import Event, Kind, Record

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ARTICLES = [f"M{n}" for n in range(50)]
DECAY = Decay(86_400)
Change = Callable[[list[Event]], list[Event]]


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Make up a thousand events of twenty readers."""
    return made_up_events(1_000, readers=20, articles=ARTICLES, now=NOW, seed=1)


def test_the_plan_is_what_was_asked_for(plan: Plan) -> None:
    """Some of every kind; a tenth twice, about a tenth out of its order; nothing of the future."""
    kinds = Counter(sent.event.kind for sent in plan.events)
    assert set(kinds) == set(Kind)
    assert (len(plan.events), plan.repeated, len(plan.order)) == (1_000, 100, 1_100)
    assert Counter(plan.order) == Counter([*range(1_000), *twice(plan)])
    assert len(twice(plan)) == 100
    firsts = list(dict.fromkeys(plan.order))
    late = sum(one > other for one, other in pairwise(firsts))
    assert 50 < late < 200
    times = [sent.event.at for sent in plan.events]
    assert times == sorted(times)
    assert times[-1] == NOW.timestamp()


def twice(plan: Plan) -> list[int]:
    """Return the numbers of the events sent a second time."""
    return [number for number, times in Counter(plan.order).items() if times == 2]


def test_bodies_hold_the_events_in_their_order(plan: Plan) -> None:
    """One a line, as the route reads them."""
    bodies = plan.bodies(300)
    assert [body.count(b"\n") + 1 for body in bodies] == [300, 300, 300, 200]
    lines = [orjson.loads(line) for body in bodies for line in body.split(b"\n")]
    assert [line["event_id"] for line in lines] == [f"e{number}" for number in plan.order]
    for line, number in zip(lines, plan.order, strict=True):
        user_id, event = plan.events[number]
        ids = line.get("items", [line.get("news_id")])
        assert (line["type"], line["user_id"], tuple(ids)) == (event.kind, user_id, event.ids)
        assert datetime.fromisoformat(line["at"]).timestamp() == event.at
        assert line.get("request_id", "") == event.request


def test_the_same_seed_makes_the_same_events(plan: Plan) -> None:
    """And another one others."""
    made = partial(made_up_events, 1_000, readers=20, articles=ARTICLES, now=NOW)
    assert made(seed=1) == plan
    assert made(seed=2) != plan


def held(plan: Plan, change: Change = lambda events: events, factor: float = 1) -> MemoryStore:
    """Fill a store with what a plan comes to, the events of each reader changed."""
    store = MemoryStore()
    pseudonyms = Pseudonyms(lambda: store.secret("reader"))
    events: dict[str, list[Sent]] = {}
    for sent in plan.events:
        events.setdefault(pseudonyms.of(sent.user_id), []).append(sent)
    clicks: dict[Span, dict[str, float]] = {}
    for _, event in plan.events:
        if event.kind is Kind.CLICK:
            sums = clicks.setdefault(DECAY.span(event.at), {})
            sums[event.ids[0]] = sums.get(event.ids[0], 0.0) + DECAY.weight(event.at) * factor
    records = {
        pseudonym: Record().with_events(change([sent.event for sent in of])).to_bytes()
        for pseudonym, of in events.items()
    }
    now = NOW.timestamp()
    store.amend(
        list(records), lambda _: Amendment(records, clicks, {}), expires_at=now + 1, now=now
    )
    return store


def test_a_store_that_holds_everything_once_is_right(plan: Plan) -> None:
    """What its records take is told."""
    sizes = check_held(held(plan), plan, DECAY, NOW.timestamp())
    assert 0 < sizes["record_bytes_mean"] <= sizes["record_bytes_max"] < 64 * 1024


@pytest.mark.parametrize(
    "change",
    [
        lambda events: events[1:],
        lambda events: [*events, events[0]],
        lambda events: [events[0]._replace(at=1.0), *events[1:]],
    ],
    ids=["lost", "twice", "changed"],
)
def test_records_that_are_not_what_was_sent_are_seen(change: Change, plan: Plan) -> None:
    """An event lost, there twice, or not as it was sent."""
    with pytest.raises(BenchmarkError, match="not those that were sent"):
        check_held(held(plan, change), plan, DECAY, NOW.timestamp())


def test_a_reader_who_is_lost_is_seen(plan: Plan) -> None:
    """All of them must be there."""
    more = Plan([*plan.events, Sent("another", plan.events[0].event)], plan.order)
    with pytest.raises(BenchmarkError, match="20 readers are kept, 21 gave feedback"):
        check_held(held(plan), more, DECAY, NOW.timestamp())


@pytest.mark.parametrize("factor", [1 + 1e-8, 2])
def test_sums_that_are_wrong_are_seen(factor: float, plan: Plan) -> None:
    """By more than rounding."""
    with pytest.raises(BenchmarkError, match="sums of clicks"):
        check_held(held(plan, factor=factor), plan, DECAY, NOW.timestamp())


@pytest.mark.parametrize("wrong", ["accepted", "duplicates", "rejected"])
def test_verdicts_that_are_wrong_are_seen(wrong: str, plan: Plan) -> None:
    """Each event once accepted, then known, and none refused."""
    right = Counter({"accepted": 1_000, "duplicates": 100, "rejected": 0})
    feedback.check_verdicts(right, plan)
    with pytest.raises(BenchmarkError, match="is right"):
        feedback.check_verdicts(Counter({**right, wrong: right[wrong] + 1}), plan)


@asynccontextmanager
async def answering(
    pause_s: float = 0.0, status: str = "200 OK"
) -> AsyncIterator[tuple[Connections, list[bytes]]]:
    """Answer each request with its own body after a pause; keep all bodies."""
    asked, tasks = list[bytes](), list[asyncio.Task[None] | None]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())
        while head := await _head(reader):
            length = open_load.LENGTH.search(head)
            assert length is not None
            body = await reader.readexactly(int(length[1]))
            asked.append(body)
            await asyncio.sleep(pause_s)
            told = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(told.encode() + body)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    connections = Connections(server.sockets[0].getsockname()[1])
    try:
        yield connections, asked
    finally:
        await connections.close()
        server.close()
        await asyncio.gather(*filter(None, tasks))


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


@pytest.mark.anyio
async def test_requests_come_when_they_come() -> None:
    """So many of them, in turn, however slow the answers; the wait for one counts."""
    requests = [request("/x", body) for body in (b"[1]", b"[2]")]
    async with answering(pause_s=0.2) as (connections, asked):
        loop = asyncio.get_running_loop()
        begun = loop.time()
        answers = await arrive(connections, requests, rate=200, seed=1, most=40)
        took = loop.time() - begun
    assert Counter(asked) == {b"[1]": 20, b"[2]": 20}
    assert [one.body for one in answers] == 20 * [b"[1]", b"[2]"]
    assert min(one.took_s for one in answers) >= 0.2
    # One after the other they would have taken eight seconds.
    assert took < 4


@pytest.mark.anyio
async def test_an_answer_is_timed_from_when_its_request_was_due() -> None:
    """What kept the sender busy is not taken off."""
    async with answering() as (connections, _):
        requests = [request("/x", b"1")]
        arriving = asyncio.create_task(arrive(connections, requests, rate=100, seed=1, most=20))
        await asyncio.sleep(0)
        # The sender stands still, as where somebody else has its core.
        time.sleep(0.3)  # noqa: ASYNC251
        assert max(one.took_s for one in await arriving) > 0.2


@pytest.mark.anyio
async def test_arrivals_end_when_they_are_told_to() -> None:
    """What was asked by then is answered."""
    is_over = asyncio.Event()
    async with answering(pause_s=0.1) as (connections, asked):
        requests = [request("/x", b"1")]
        arriving = asyncio.create_task(
            arrive(connections, requests, rate=100, seed=1, until=is_over)
        )
        await asyncio.sleep(0.3)
        is_over.set()
        answers = await arriving
    assert 5 < len(answers) == len(asked)


@pytest.mark.anyio
async def test_an_error_ends_the_run() -> None:
    """It is told as what it is."""
    async with answering(status="503 Service Unavailable") as (connections, _):
        with pytest.raises(BenchmarkError, match="503"):
            await connections.ask(request("/x", b"{}"))


def a_leg(p99_ms: float, events: int = 0) -> feedback.Leg:
    """Build a leg of two seconds."""
    return feedback.Leg(events > 0, 100, 1.0, p99_ms, 9.0, 1, events, 2.0, 0.5)


def test_each_round_is_compared_with_itself() -> None:
    """The middle one of the ratios is what is asked to be at most 1.5."""
    legs = [a_leg(3, 100), a_leg(2), a_leg(4, 300), a_leg(4), a_leg(12, 200), a_leg(6)]
    found = feedback.figures(legs)
    assert found["p99_ratio"] == {"min": 1.0, "median": 1.5, "max": 2.0, "runs": 3}
    assert found["events_per_s"]["median"] == 100
    assert found["degraded"] == 6
    feedback.check_quick("sqlite", found)
    slower = feedback.figures([a_leg(4, 100), a_leg(2)])
    with pytest.raises(BenchmarkError, match=r"sqlite: p99 is 2\.00 times"):
        feedback.check_quick("sqlite", slower)


def test_half_of_the_readers_are_known_by_their_id() -> None:
    """And half by the history they bring."""
    load = feedback.Load(events=1, readers=10, articles=200, rounds=1, rate=1)
    bodies = [orjson.loads(one.partition(b"\r\n\r\n")[2]) for one in feedback.recommendations(load)]
    assert Counter("user_id" in body for body in bodies) == {True: 1_000, False: 1_000}
    assert all(("history" in body) != ("user_id" in body) for body in bodies)


def test_a_page_that_is_not_full_is_seen() -> None:
    """Its time would say nothing."""
    page = open_load.Answered(0.1, orjson.dumps({"items": [1], "degraded": []}))
    with pytest.raises(BenchmarkError, match="not full"):
        feedback.leg_of([page], 0, 1.0, 1.0)
