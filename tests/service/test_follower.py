"""The follower keeps a catalogue equal to the store, through outages, gaps and late vectors."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from service import follower
from service.ports import Activation
from tests.service.fakes import (
    MODEL,
    NOW,
    PATIENCE_S,
    SPACE,
    FakeEncoder,
    FlakyStore,
    NumpyIndexes,
    until,
)
from tests.service.following import Process, popularity, publish, publish_bare, started, titles

pytestmark = pytest.mark.anyio


@pytest.fixture
async def process(
    store: FlakyStore, encoder: FakeEncoder, executor: Executor
) -> AsyncIterator[Process]:
    """Give a process that has loaded the store with one article in it."""
    publish(store, "N1")
    async with started(store, encoder, executor) as process:
        await until(lambda: process.follower.is_ready and not process.follower.is_behind)
        yield process


async def test_what_is_stored_is_loaded_at_the_start(process: Process) -> None:
    """Ready, not behind, with the activation that the store gave, and told to operators."""
    assert process.shows("N1")
    assert process.catalogue.current.activation == Activation(1, MODEL, SPACE)
    assert process.metric("newsbert_articles") == 1
    assert process.metric("newsbert_generation") == 1
    assert process.metric("newsbert_store_up") == 1


async def test_writes_of_any_process_are_followed(process: Process, store: FlakyStore) -> None:
    """New, changed and taken-down articles arrive without a request."""
    publish(store, "N2", "N3")
    await until(lambda: process.shows("N1", "N2", "N3"))
    publish(store, "N2", title="New title")
    await until(lambda: titles(process)["N2"] == "New title")
    store.inner.take_down("N1")
    await until(lambda: process.shows("N2", "N3"))
    assert process.metric("newsbert_articles") == 2


async def test_a_nudge_looks_at_once(
    store: FlakyStore, encoder: FakeEncoder, executor: Executor
) -> None:
    """A process sees its own write without the pause between two looks."""
    async with started(store, encoder, executor, poll_interval_s=2 * PATIENCE_S) as process:
        await until(lambda: not process.follower.is_behind)
        publish(store, "N2")
        process.follower.nudge()
        await until(lambda: process.shows("N2"))


async def test_an_outage_leaves_the_process_ready_and_behind(
    process: Process, store: FlakyStore
) -> None:
    """The articles stay; one warning is logged, not one a try; the store's return is noticed."""
    with capture_logs() as events:
        store.is_down = True
        await until(lambda: process.follower.is_behind)
        await asyncio.sleep(0.2)
    assert [e["event"] for e in events if e["event"] == "store_lost"] == ["store_lost"]
    assert process.follower.is_ready
    assert process.shows("N1")
    assert process.metric("newsbert_store_up") == 0
    store.is_down = False
    await until(lambda: not process.follower.is_behind)
    assert process.metric("newsbert_store_up") == 1


async def test_nothing_written_around_an_outage_is_lost(
    process: Process, store: FlakyStore
) -> None:
    """The store is lost between the look at the log and the look at the articles."""
    store.before["fetch"] = lambda: setattr(store, "is_down", True)
    publish(store, "N2")
    await until(lambda: process.follower.is_behind)
    publish(store, "N3")
    store.inner.take_down("N1")
    store.is_down = False
    await until(lambda: process.shows("N2", "N3"))


async def test_nothing_written_while_changes_are_fetched_is_lost(
    process: Process, store: FlakyStore
) -> None:
    """The position goes on from what was read, not from where the log ends by then."""
    store.before["fetch"] = lambda: publish(store, "N3")
    publish(store, "N2")
    await until(lambda: process.shows("N1", "N2", "N3"))


async def test_a_process_may_start_before_its_store(
    store: FlakyStore, encoder: FakeEncoder, executor: Executor
) -> None:
    """Not ready until the store came and was read; it is lost once more in the middle of a scan."""
    publish(store, "N1")
    store.is_down = True
    async with started(store, encoder, executor) as process:
        await until(lambda: process.follower.outage == "StoreUnavailable")
        assert not process.follower.is_ready
        store.before["scan"] = lambda: setattr(store, "is_down", True)
        store.is_down = False
        await until(lambda: "scan" in store.calls)
        assert not process.follower.is_ready
        store.is_down = False
        await until(lambda: process.follower.is_ready)
        assert process.shows("N1")


async def test_what_is_written_during_the_scan_is_not_lost(
    store: FlakyStore, encoder: FakeEncoder, executor: Executor
) -> None:
    """The position is taken before the scan begins."""
    publish(store, "N1")
    store.before["scan"] = lambda: publish(store, "N2")
    async with started(store, encoder, executor) as process:
        await until(lambda: process.shows("N1", "N2"))


async def test_a_gap_in_the_log_makes_it_load_again(
    encoder: FakeEncoder, executor: Executor
) -> None:
    """When the log was cut during an outage, changes and take-downs are found by a scan."""
    store = FlakyStore(log_limit=3)
    publish(store, "N1", "N2")
    async with started(store, encoder, executor) as process:
        await until(lambda: process.follower.is_ready and not process.follower.is_behind)
        store.is_down = True
        await until(lambda: process.follower.is_behind)
        store.inner.take_down("N1")
        publish(store, *(f"M{i}" for i in range(10)))
        scans = store.calls.count("scan")
        store.is_down = False
        await until(lambda: process.shows("N2", *(f"M{i}" for i in range(10))))
        assert process.follower.is_ready
        assert store.calls.count("scan") == scans + 1


async def test_popularity_is_polled(process: Process, store: FlakyStore) -> None:
    """A new table replaces the old one; the same revision is read once."""
    store.inner.replace_popularity({"N1": 1.5}, at=NOW)
    await until(lambda: popularity(process) == {"N1": 1.5})
    store.inner.replace_popularity({"N2": 2.5}, at=NOW)
    publish(store, "N2")
    await until(lambda: popularity(process) == {"N1": -np.inf, "N2": 2.5})


async def test_popularity_is_looked_up_away_from_the_event_loop(
    process: Process, store: FlakyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table of many articles keeps no request waiting."""
    threads, set_popularity = list[threading.Thread](), process.catalogue.set_popularity

    def noting(weights: Mapping[str, float]) -> None:
        threads.append(threading.current_thread())
        set_popularity(weights)

    monkeypatch.setattr(process.catalogue, "set_popularity", noting)
    store.inner.replace_popularity({"N1": 1.5}, at=NOW)
    await until(lambda: popularity(process) == {"N1": 1.5})
    assert threading.current_thread() not in threads


async def test_popularity_is_there_when_the_process_is_ready(
    store: FlakyStore, encoder: FakeEncoder, executor: Executor
) -> None:
    """The first answer already knows what is popular."""
    publish(store, "N1")
    store.inner.replace_popularity({"N1": 1.5}, at=NOW)
    async with started(store, encoder, executor) as process:
        await until(lambda: process.follower.is_ready)
        assert popularity(process) == {"N1": 1.5}


async def test_a_store_that_gives_no_popularity_is_followed_all_the_same(
    process: Process, store: FlakyStore
) -> None:
    """Neither behind nor lost: it is said, tried seldom, and the table of before stays."""
    store.inner.replace_popularity({"N1": 1.5}, at=NOW)
    await until(lambda: popularity(process) == {"N1": 1.5})
    with capture_logs() as events:
        store.refuse("popularity")
        await until(lambda: bool(events))
        publish(store, "N2")
        await until(lambda: process.shows("N1", "N2"))
        await asyncio.sleep(0.05)
    assert [event["event"] for event in events] == ["popularity_not_read"]
    assert (process.follower.is_behind, process.follower.outage) == (False, "")
    assert popularity(process)["N1"] == 1.5


@pytest.mark.parametrize("pause_s", [60.0, 0.0])
async def test_without_its_popularity_a_store_is_loaded_all_the_same(
    store: FlakyStore, encoder: FakeEncoder, executor: Executor, monkeypatch: Any, pause_s: float
) -> None:
    """Once, whatever is popular; that comes as soon as it can be read, after a pause."""
    monkeypatch.setattr(follower, "RETRY_PAUSE_S", pause_s)
    publish(store, "N1")
    store.inner.replace_popularity({"N1": 1.5}, at=NOW)
    store.refuse("popularity")
    async with started(store, encoder, executor) as process:
        await until(lambda: process.follower.is_ready and not process.follower.is_behind)
        assert popularity(process) == {"N1": -np.inf}
        if not pause_s:
            store.before.clear()
            await until(lambda: popularity(process) == {"N1": 1.5})
    assert store.calls.count("scan") == 1


async def test_missing_vectors_are_filled_and_stored(
    process: Process, store: FlakyStore, encoder: FakeEncoder
) -> None:
    """Articles of another namespace appear once encoded; the store has their vectors then."""
    publish_bare(store, "N2", "N3")
    await until(lambda: process.shows("N1", "N2", "N3"))
    stored = store.inner.fetch(["N2", "N3"], namespace=SPACE)
    assert all(one.vector is not None for one in stored.values())
    assert len(encoder.texts) == 2


async def test_writes_are_visible_while_an_index_is_built(
    store: FlakyStore, encoder: FakeEncoder, executor: Executor
) -> None:
    """Building takes seconds for a large catalogue, in a thread of its own."""
    indexes, is_built = NumpyIndexes(), threading.Event()
    indexes.meanwhile = lambda: is_built.wait(PATIENCE_S)
    publish(store, "N1")
    with ThreadPoolExecutor(1) as background:
        options = {"indexes": indexes, "start": background.submit}
        async with started(store, encoder, executor, **options) as process:
            publish(store, "N2")
            await until(lambda: process.shows("N1", "N2"))
            publish(store, "N3")
            store.inner.take_down("N1")
            await until(lambda: process.shows("N2", "N3"))
            assert process.catalogue.current.index is None
            is_built.set()
            await until(lambda: process.catalogue.current.index is not None)


async def test_while_a_gap_is_mended_it_is_behind(encoder: FakeEncoder, executor: Executor) -> None:
    """Answers say so until all was read anew, and again once nothing is followed any more."""
    store, seen = FlakyStore(log_limit=3), list[bool]()
    publish(store, "N1")
    async with started(store, encoder, executor, poll_interval_s=2 * PATIENCE_S) as process:
        await until(lambda: not process.follower.is_behind)
        store.before["scan"] = lambda: seen.append(process.follower.is_behind)
        publish(store, *(f"M{i}" for i in range(10)))
        process.follower.nudge()
        await until(lambda: process.catalogue.current.size == 11)
        await until(lambda: not process.follower.is_behind)
    assert seen == [True]
    assert process.follower.is_behind


async def test_of_a_store_in_anothers_place_all_is_read_anew(
    process: Process, store: FlakyStore
) -> None:
    """Articles, activation, and the popularity table also where both number it alike."""
    store.inner.replace_popularity({"N1": 1.0}, at=NOW)
    await until(lambda: popularity(process) == {"N1": 1.0})
    other = FlakyStore()
    publish(other, "N1")
    other.inner.replace_popularity({"N1": 2.0}, at=NOW)
    other.inner.activate(model="model-2", namespace=SPACE)
    store.inner = other.inner
    await until(lambda: popularity(process) == {"N1": 2.0})
    await until(lambda: process.catalogue.current.activation == Activation(2, MODEL, SPACE))
