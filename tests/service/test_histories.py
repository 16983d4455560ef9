"""Histories: what a reader has read, in time or not at all, and everything on demand."""

import asyncio
import threading
import time
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from service.errors import NotReady, ReaderUnknown, StoreUnavailable
from service.histories import Reading
from service.pseudonyms import Pseudonyms
from service.readers import Kind, Record
from service.telemetry import Telemetry
from tests.service.fakes import HOUR, NOW, PATIENCE_S, FakeClock, FlakyStore
from tests.service.reading import TTL_S, a_histories, an_event, keep, keep_raw, some_records

pytestmark = pytest.mark.anyio

EVENTS = [
    an_event("e1", at=NOW - 30, ids=["N1"]),
    an_event("e2", at=NOW - 20, ids=["N2"], kind=Kind.READ),
    an_event("e3", at=NOW - 10, ids=["N1"]),
    an_event("e4", at=NOW - 5, ids=["N3"], kind=Kind.HIDE),
    an_event("e5", at=NOW - 40, ids=["N4", "N5"], kind=Kind.IMPRESSION),
]


async def test_a_reading_is_what_requests_need(
    store: FlakyStore, executor: Executor, clock: FakeClock
) -> None:
    """The history, all that was read, and what was hidden; of somebody unknown nothing."""
    keep(store, EVENTS)
    histories = a_histories(store, executor, clock)
    reading = await histories.of("U1")
    assert reading is not None
    assert (reading.history, reading.hidden) == (["N2", "N1"], ["N3"])
    assert set(reading.seen) == {"N1", "N2"}
    assert await histories.of("U2") == Reading([], [], [])


async def test_a_history_has_the_last_fifty_and_seen_has_more(
    store: FlakyStore, executor: Executor, clock: FakeClock
) -> None:
    """What was read longer ago is not recommended again either."""
    keep(store, [an_event(f"e{n}", at=NOW - n, ids=[f"N{n:02}"]) for n in range(80)])
    reading = await a_histories(store, executor, clock).of("U1")
    assert reading is not None
    assert list(reading.history) == [f"N{n:02}" for n in range(49, -1, -1)]
    assert len(reading.seen) == 80


async def test_what_is_too_old_no_longer_counts(
    store: FlakyStore, executor: Executor, clock: FakeClock
) -> None:
    """Each entry by its own time, also where nobody has written the record since."""
    keep(store, EVENTS)
    histories = a_histories(store, executor, clock)
    records = some_records(store, executor, clock)
    clock.now = NOW - 15 + TTL_S
    assert await histories.of("U1") == Reading(["N1"], ["N1"], ["N3"])
    assert [event.id for event in (await records.of("U1")).events] == ["e3", "e4"]
    clock.now = NOW + TTL_S
    assert await histories.of("U1") == Reading([], [], [])
    with pytest.raises(ReaderUnknown):
        await records.of("U1")


async def test_an_answer_waits_for_no_event_to_be_read(
    store: FlakyStore, executor: Executor, clock: FakeClock
) -> None:
    """Not even where old ones are due to go: a log may be long, and no answer needs it."""
    unreadable = Record({"N1": NOW}, log=b"\nno JSON", oldest=NOW - HOUR)
    keep_raw(store, unreadable.to_bytes())
    clock.now = NOW - 1 + TTL_S
    reading = await a_histories(store, executor, clock).of("U1")
    assert reading == Reading(["N1"], ["N1"], [])


async def test_a_slow_store_is_waited_for_a_moment_only(
    store: FlakyStore, executor: Executor, clock: FakeClock
) -> None:
    """Then the answer does without."""
    keep(store, EVENTS)
    is_open = threading.Event()
    store.before["reader"] = lambda: is_open.wait(PATIENCE_S)
    histories = a_histories(store, executor, clock, timeout_s=0.025)
    started = time.monotonic()
    assert await histories.of("U1") is None
    assert 0.02 < time.monotonic() - started < PATIENCE_S
    is_open.set()


async def test_what_nobody_waits_for_any_more_is_not_read(
    store: FlakyStore, clock: FakeClock
) -> None:
    """Behind one read that hangs the others are dropped, not made up for."""
    is_open = threading.Event()
    store.before["reader"] = lambda: is_open.wait(PATIENCE_S)
    with ThreadPoolExecutor(1) as alone:
        histories = a_histories(store, alone, clock, timeout_s=0.01)
        assert await asyncio.gather(*(histories.of(f"U{n}") for n in range(50))) == [None] * 50
        is_open.set()
        patient = a_histories(store, alone, clock)
        assert await patient.of("U1") == Reading([], [], [])
    assert store.calls.count("reader") == 2


async def test_a_store_known_to_be_lost_is_not_asked(
    store: FlakyStore, executor: Executor, clock: FakeClock
) -> None:
    """Nobody waits for it; once it is back it is asked again."""
    keep(store, EVENTS)
    lost = [True]
    histories = a_histories(store, executor, clock, is_lost=lambda: lost[0])
    assert await histories.of("U1") is None
    assert store.calls == []
    lost[0] = False
    assert (await histories.of("U1")) is not None


async def test_a_store_that_fails_leaves_the_answer_without_a_history(
    store: FlakyStore, executor: Executor, clock: FakeClock
) -> None:
    """Who asks for a record or its removal is told the error."""
    histories = a_histories(store, executor, clock)
    records = some_records(store, executor, clock)
    store.is_down = True
    assert await histories.of("U1") is None
    for asked in (records.of("U1"), records.forget("U1")):
        with pytest.raises(StoreUnavailable):
            await asked


async def test_before_the_key_is_known_there_is_no_history(
    store: FlakyStore, executor: Executor, clock: FakeClock
) -> None:
    """Neither is there anything to show or to remove."""
    histories = a_histories(store, executor, clock, pseudonyms=Pseudonyms(lambda: None))
    records = some_records(store, executor, clock, pseudonyms=Pseudonyms(lambda: None))
    assert await histories.of("U1") is None
    for asked in (records.of("U1"), records.forget("U1")):
        with pytest.raises(NotReady):
            await asked
    assert store.calls == []


async def test_a_record_tells_all_that_is_kept(
    store: FlakyStore, executor: Executor, clock: FakeClock
) -> None:
    """Until it is removed; then nothing is left of it."""
    keep(store, EVENTS)
    keep(store, EVENTS, user="U2")
    histories = a_histories(store, executor, clock)
    records = some_records(store, executor, clock)
    record = await records.of("U1")
    assert record.events == sorted(EVENTS, key=lambda event: event.at)
    assert await records.forget("U1")
    assert not await records.forget("U1")
    assert await histories.of("U1") == Reading([], [], [])
    with pytest.raises(ReaderUnknown):
        await records.of("U1")
    assert await records.of("U2") == record


async def test_a_damaged_record_is_nothing_and_counted(
    store: FlakyStore, executor: Executor, clock: FakeClock
) -> None:
    """It can be removed all the same."""
    telemetry = Telemetry()
    keep_raw(store, b"damaged")
    histories = a_histories(store, executor, clock, telemetry=telemetry)
    records = some_records(store, executor, clock, telemetry=telemetry)
    assert await histories.of("U1") == Reading([], [], [])
    value = telemetry.registry.get_sample_value
    assert value("newsbert_vectors_rejected_total", {"reason": "reader"}) == 1
    assert await records.forget("U1")


async def test_a_record_of_later_is_no_older_by_that(
    store: FlakyStore, executor: Executor, clock: FakeClock
) -> None:
    """Clocks of processes disagree."""
    keep(store, EVENTS)
    clock.now = NOW - HOUR
    reading = await a_histories(store, executor, clock).of("U1")
    assert reading is not None
    assert reading.history == ["N2", "N1"]
