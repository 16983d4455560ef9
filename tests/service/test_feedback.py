"""Feedback: many requests' events in few writes, each counted once, each request told its own."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np
import pytest

from service import feedback as module
from service.adapters.memory_store import MemoryStore
from service.errors import NotReady, Overloaded, StoreUnavailable
from service.feedback import AT_ONCE, Feedback, Sent
from service.ports import Amend, Amendment
from service.pseudonyms import Pseudonyms
from service.readers import AHEAD_S, Kind, Verdict
from service.telemetry import Telemetry
from tests.service.fakes import HOUR, NOW, PATIENCE_S, FakeClock, FlakyStore, until
from tests.service.reading import (
    DECAY,
    PSEUDONYMS,
    TTL_S,
    a_feedback,
    an_event,
    keep_raw,
    record_of,
    sent,
)

pytestmark = pytest.mark.anyio

ACCEPTED, DUPLICATE = Verdict.ACCEPTED, Verdict.DUPLICATE


class Gated:
    """Holds a store's writes back until it is opened; remembers how many events each wrote."""

    def __init__(self, store: FlakyStore) -> None:
        self.sizes = list[int]()
        self.is_open = threading.Event()
        amend = store.inner.amend

        def held(pseudonyms: Sequence[str], change: Amend, **options: Any) -> list[Amendment]:
            assert self.is_open.wait(PATIENCE_S), "a test forgot to open the gate"
            made = amend(pseudonyms, change, **options)
            self.sizes.append(sum(len(one.outcomes) for one in made))
            return made

        store.inner.amend = held


@pytest.fixture
def taking(store: FlakyStore, executor: Executor, clock: FakeClock) -> Feedback:
    """Give what takes events to the store."""
    return a_feedback(store, executor, clock)


def clicks_of(store: FlakyStore, now: float = NOW) -> dict[str, float]:
    """Return what the clicks that a store holds weigh, against the start of their span."""
    sums: dict[str, float] = {}
    for span, weights in store.inner.clicks(DECAY.live(now), ()).sums.items():
        for article_id, weight in weights.items():
            weighs = weight * 2 ** ((DECAY.start(span) - now) / DECAY.half_life_s)
            sums[article_id] = sums.get(article_id, 0.0) + weighs
    return {i: round(weight, 9) for i, weight in sums.items()}


# --- what becomes of events -----------------------------------------------------------------------


async def test_verdicts_come_in_the_order_of_the_events(taking: Feedback) -> None:
    """Whosever they are, and however many."""
    events = [
        *sent("a", user="U1"),
        *sent("b", user="U2", at=0.0),
        *sent("a", user="U1"),
        *sent("a", user="U2"),
        *sent("c", user="U1", at=NOW + AHEAD_S + 1),
    ]
    told = [ACCEPTED, Verdict.TOO_OLD, DUPLICATE, ACCEPTED, Verdict.IN_THE_FUTURE]
    assert await taking.take(events) == told
    many = [one for n in range(200) for one in sent(f"m{n}", f"m{n}", user=f"U{n % 7}")]
    assert await taking.take(many) == [ACCEPTED, DUPLICATE] * 200
    assert await taking.take([]) == []


async def test_what_is_acknowledged_is_stored(taking: Feedback, store: FlakyStore) -> None:
    """Under the pseudonym of its reader, and nowhere under the user id."""
    await taking.take(sent("e1", "e2", ids=["N7"]))
    assert [event.id for event in record_of(store).events] == ["e1", "e2"]
    kept = {i: raw for batch in store.inner.readers() for i, raw in batch.items()}
    assert list(kept) == [PSEUDONYMS.of("U1")]
    assert not any(b"U1" in raw for raw in kept.values())


async def test_clicks_count_once_and_nothing_else_does(taking: Feedback, store: FlakyStore) -> None:
    """By their own time; what was shown, read or hidden is no click."""
    for _ in range(3):
        await taking.take(sent("a", "b") + sent("a", user="U2", at=NOW - HOUR, ids=["N2"]))
    for kind in (Kind.IMPRESSION, Kind.READ, Kind.HIDE):
        await taking.take(sent(f"k{kind}", kind=kind, ids=["N3"]))
    assert clicks_of(store) == {"N1": 2.0, "N2": 0.5}


async def test_of_a_span_that_is_over_a_click_is_not_counted(
    store: FlakyStore, executor: Executor, clock: FakeClock
) -> None:
    """It is taken into the record all the same."""
    clock.now = DECAY.span(NOW).ends_at
    written = amendments_of(store)
    patient = a_feedback(store, executor, clock, ttl_s=1_000 * HOUR)
    assert await patient.take(sent("e1", at=NOW) + sent("e2", at=clock.now)) == [ACCEPTED] * 2
    assert [list(one.clicks) for one in written] == [[DECAY.span(clock.now)]]
    assert len(record_of(store).events) == 2


def amendments_of(store: FlakyStore) -> list[Amendment]:
    """Give a list of what is written from now on."""
    written, amend = list[Amendment](), store.inner.amend

    def noted(pseudonyms: Sequence[str], change: Amend, **options: Any) -> list[Amendment]:
        made = amend(pseudonyms, change, **options)
        written.extend(made)
        return made

    store.inner.amend = noted
    return written


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_is_lost_and_nothing_counted_twice(
    taking: Feedback, store: FlakyStore, seed: int
) -> None:
    """Events out of order and some of them twice, from many requests at once."""
    random, users = np.random.default_rng(seed), [f"U{n}" for n in range(20)]
    events = [
        Sent(users[n % 20], an_event(f"e{n}", at=NOW - n / 100, ids=[f"N{n % 9}"]))
        for n in range(600)
    ]
    every = [*events, *(events[n] for n in random.integers(0, 600, 200))]
    every = [every[n] for n in random.permutation(len(every))]
    cuts = sorted(random.integers(0, len(every), 40).tolist())
    requests = [every[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]
    told = await asyncio.gather(*map(taking.take, requests))
    assert sum(verdicts.count(ACCEPTED) for verdicts in told) == 600
    assert sum(verdicts.count(DUPLICATE) for verdicts in told) == 200
    kept = {(user, event.id) for user in users for event in record_of(store, user).events}
    assert kept == {(one.user_id, one.event.id) for one in events}
    naive = sum(2 ** (-n / 100 / DECAY.half_life_s) for n in range(600))
    assert sum(clicks_of(store).values()) == pytest.approx(naive, abs=1e-6)


async def test_when_another_process_was_faster_events_count_once(
    executor: Executor, clock: FakeClock
) -> None:
    """The store asks again with what is there then; what was made before is not written."""
    store, amend = FlakyStore(), MemoryStore.amend
    await a_feedback(store, executor, clock).take(sent("e1", "e2"))

    def conflicting(pseudonyms: Sequence[str], change: Amend, **options: Any) -> list[Amendment]:
        def asked_again(records: Mapping[str, bytes | None]) -> Amendment:
            before_the_other = dict.fromkeys(records)
            change(before_the_other)
            return change(records)

        return amend(store.inner, pseudonyms, asked_again, **options)

    store.inner.amend = conflicting
    assert await a_feedback(store, executor, clock).take(sent("e2", "e3")) == [DUPLICATE, ACCEPTED]
    assert [event.id for event in record_of(store).events] == ["e1", "e2", "e3"]
    assert clicks_of(store) == {"N1": 3.0}


async def test_a_damaged_record_is_passed_over_and_counted(
    store: FlakyStore, executor: Executor, clock: FakeClock
) -> None:
    """The reader begins anew, and nobody else of the same write notices."""
    telemetry = Telemetry()
    keep_raw(store, b"damaged", "U1")
    taking = a_feedback(store, executor, clock, telemetry)
    assert await taking.take(sent("e1") + sent("e1", user="U2")) == [ACCEPTED] * 2
    assert [event.id for event in record_of(store).events] == ["e1"]
    value = telemetry.registry.get_sample_value
    assert value("newsbert_vectors_rejected_total", {"reason": "reader"}) == 1


async def test_events_are_told_by_kind_and_by_what_became_of_them(
    store: FlakyStore, executor: Executor, clock: FakeClock
) -> None:
    """Labels come from fixed sets: no id is among them."""
    telemetry = Telemetry()
    taking = a_feedback(store, executor, clock, telemetry)
    await taking.take(sent("e1", "e2", "e2") + sent("h1", kind=Kind.HIDE))
    value = telemetry.registry.get_sample_value
    told = {
        (kind, verdict): value("newsbert_feedback_events_total", {"kind": kind, "verdict": verdict})
        for kind in ("click", "hide")
        for verdict in ("accepted", "duplicate")
    }
    assert told == {
        ("click", "accepted"): 2.0,
        ("click", "duplicate"): 1.0,
        ("hide", "accepted"): 1.0,
        ("hide", "duplicate"): None,
    }


# --- who writes when ------------------------------------------------------------------------------


async def test_requests_share_writes_of_bounded_size(taking: Feedback, store: FlakyStore) -> None:
    """What waits while one write is under way goes together, and never more than fits."""
    gate = Gated(store)
    first = asyncio.create_task(taking.take(sent("first")))
    await asyncio.sleep(0)
    sizes = [1, 2, AT_ONCE - 3, 5, AT_ONCE, 3 * AT_ONCE + 7, 1]
    rest = [
        asyncio.create_task(taking.take(sent(*(f"{n} {i}" for i in range(size)), user=f"U{n}")))
        for n, size in enumerate(sizes)
    ]
    await asyncio.sleep(0)
    gate.is_open.set()
    assert await first == [ACCEPTED]
    assert [len(await one) for one in rest] == sizes
    assert gate.sizes[:3] == [1, AT_ONCE, 5]
    assert max(gate.sizes) <= AT_ONCE
    assert sum(gate.sizes) == 1 + sum(sizes)


async def test_a_long_request_holds_up_nobody_else(taking: Feedback, store: FlakyStore) -> None:
    """Others come between its parts."""
    gate = Gated(store)
    long = asyncio.create_task(taking.take(sent(*map(str, range(20 * AT_ONCE)))))
    await asyncio.sleep(0)
    short = asyncio.create_task(taking.take(sent("short", user="U2")))
    await asyncio.sleep(0)
    gate.is_open.set()
    assert await short == [ACCEPTED]
    assert not long.done()
    assert await long == [ACCEPTED] * 20 * AT_ONCE


async def test_store_errors_reach_exactly_those_who_waited(
    taking: Feedback, store: FlakyStore
) -> None:
    """Those of that write; the next one is another try, and what is sent again is counted once."""
    gate = Gated(store)
    first = asyncio.create_task(taking.take(sent("a")))
    await until(lambda: "amend" in store.calls)
    failing = [asyncio.create_task(taking.take(sent(i, user=i))) for i in "bc"]
    gone = asyncio.create_task(taking.take(sent("gone", user="g")))
    full = asyncio.create_task(taking.take(sent(*(f"d{n}" for n in range(AT_ONCE)), user="d")))
    await asyncio.sleep(0)
    store.before["amend"] = lambda: (gone.get_loop().call_soon_threadsafe(gone.cancel), refuse())
    gate.is_open.set()
    assert await first == [ACCEPTED]
    told = await asyncio.gather(*failing, return_exceptions=True)
    assert [type(one) for one in told] == [StoreUnavailable] * 2
    assert await full == [ACCEPTED] * AT_ONCE
    assert await taking.take(sent("b", user="b") + sent("a")) == [ACCEPTED, DUPLICATE]


def refuse() -> None:
    """Fail as a store that does not answer."""
    raise StoreUnavailable("busy")


async def test_of_a_long_request_that_failed_what_was_written_is_known(
    taking: Feedback, store: FlakyStore
) -> None:
    """Sent again as a whole it is counted once."""
    events = sent(*(f"e{n:03}" for n in range(2 * AT_ONCE)))
    store.before["amend"] = lambda: store.before.update(amend=refuse)
    with pytest.raises(StoreUnavailable):
        await taking.take(events)
    assert await taking.take(events) == [DUPLICATE] * AT_ONCE + [ACCEPTED] * AT_ONCE
    assert clicks_of(store) == {"N1": 2.0 * AT_ONCE}


async def test_more_than_may_wait_is_shed(
    taking: Feedback, store: FlakyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and not those who wait already; room comes back as they are told."""
    monkeypatch.setattr(module, "MOST_WAITING", 10)
    gate = Gated(store)
    waiting = asyncio.create_task(taking.take(sent(*"abcdefgh")))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await taking.take(sent(*"xyz"))
    two = asyncio.create_task(taking.take(sent(*"xy", user="U2")))
    await asyncio.sleep(0)
    gate.is_open.set()
    assert (len(await waiting), len(await two)) == (8, 2)
    assert await taking.take(sent(*"abcdefghxy")) == [DUPLICATE] * 8 + [ACCEPTED] * 2
    assert taking._events_waiting == 0


async def test_a_client_that_has_gone_takes_nobodys_place(
    taking: Feedback, store: FlakyStore
) -> None:
    """What was not begun for it is not written; others of the same write are told theirs."""
    gate = Gated(store)
    tasks = [asyncio.create_task(taking.take(sent("e", user="U0")))]
    await until(lambda: "amend" in store.calls)
    tasks += [asyncio.create_task(taking.take(sent("e", user=f"U{n}"))) for n in (1, 2, 3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[2].cancel()
    await asyncio.gather(tasks[0], tasks[2], return_exceptions=True)
    assert taking._events_waiting == 2
    gate.is_open.set()
    assert await asyncio.gather(tasks[1], tasks[3]) == [[ACCEPTED]] * 2
    assert [len(record_of(store, f"U{n}").events) for n in range(4)] == [1, 1, 0, 1]
    assert await taking.take(sent("e", user="U0") + sent("e", user="U2")) == [DUPLICATE, ACCEPTED]


async def test_an_event_that_comes_as_the_writer_ends_is_written(taking: Feedback) -> None:
    """However the two meet."""
    for n in range(30):
        first = asyncio.create_task(taking.take(sent(f"a{n}")))
        for _ in range(n % 10):
            await asyncio.sleep(0)
        if n >= 20:
            await first
        async with asyncio.timeout(PATIENCE_S):
            assert await taking.take(sent(f"b{n}")) == [ACCEPTED]
            assert await first == [ACCEPTED]


async def test_before_the_key_of_pseudonyms_is_known_nothing_is_taken(
    store: FlakyStore, executor: Executor, clock: FakeClock
) -> None:
    """And nothing written."""
    taking = a_feedback(store, executor, clock, pseudonyms=Pseudonyms(lambda: None))
    with pytest.raises(NotReady):
        await taking.take(sent("e1"))
    assert "amend" not in store.calls


async def test_a_click_on_what_nobody_published_is_kept_and_counts_for_nothing(
    store: FlakyStore, executor: Executor, clock: FakeClock
) -> None:
    """Made-up articles fill nothing but their reader's own record."""
    taking = a_feedback(store, executor, clock, known={"N1"})
    sent = [Sent("U1", an_event("e1", ids=("N1",))), Sent("U1", an_event("e2", ids=("N2",)))]
    assert await taking.take(sent) == [Verdict.ACCEPTED, Verdict.ACCEPTED]
    assert set(record_of(store).read) == {"N1", "N2"}
    sums = store.clicks(DECAY.live(clock()), ()).sums.values()
    assert [list(of) for of in sums if of] == [["N1"]]


async def test_a_record_outlives_what_it_may_be_asked_for(
    store: FlakyStore, executor: Executor, clock: FakeClock
) -> None:
    """One event from a little ahead is in time a little longer, and known for as long."""
    taking = a_feedback(store, executor, clock)
    event = Sent("U1", an_event("e1", at=clock() + AHEAD_S))
    assert await taking.take([event]) == [Verdict.ACCEPTED]
    for seconds in (TTL_S, AHEAD_S):
        clock.now += seconds
        store.let_go(clock())
        assert await taking.take([event]) == [Verdict.DUPLICATE]
    clock.now += 1
    assert await taking.take([event]) == [Verdict.TOO_OLD]
