"""The follower goes on from a saved catalogue: nothing that changed meanwhile is missed."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from service import follower
from service.errors import StoreUnavailable
from service.follower import FEW, OUTAGE_S
from service.ports import Activation
from service.saved import Saved
from service.storage import AsyncStore
from tests.service.fakes import (
    MODEL,
    NOW,
    PATIENCE_S,
    SPACE,
    FakeEncoder,
    FlakyStore,
    until,
)
from tests.service.following import popularity, publish, publish_bare, started, titles

pytestmark = pytest.mark.anyio


async def test_what_was_written_while_it_was_off_is_there_with_the_first_look(
    store: FlakyStore, encoder: FakeEncoder, executor: Executor
) -> None:
    """A saved catalogue is not shown before the log was asked: nothing taken down is seen."""
    saved = await saved_with(store, encoder, executor, "N1", "N2")
    store.inner.take_down("N1")
    publish(store, "N2", title="New title")
    publish(store, "N3")
    seen = list[bool]()
    async with started(store, encoder, executor, saved=saved) as process:
        store.before["changes"] = lambda: seen.append(process.follower.is_ready)
        store.before["fetch"] = lambda: seen.append(process.follower.is_ready)
        await until(lambda: process.follower.is_ready)
        assert process.shows("N2", "N3")
        assert titles(process)["N2"] == "New title"
        assert not process.follower.is_behind
    assert seen == [False, False]
    assert store.calls.count("scan") == 0


@pytest.mark.parametrize("call", ["activate", "changes", "fetch"])
async def test_a_passing_error_is_no_reason_to_show_it_before(
    store: FlakyStore, encoder: FakeEncoder, executor: Executor, call: str
) -> None:
    """The store is there: what was taken down meanwhile is never seen."""
    saved = await saved_with(store, encoder, executor, "N1", "N2")
    store.inner.take_down("N1")
    async with started(store, encoder, executor, saved=saved, outage_s=60.0) as process:
        store.before[call] = unavailable
        await until(lambda: process.follower.is_ready)
        assert call not in store.before
        assert process.shows("N2")


async def test_a_store_must_fail_for_some_time_before_it_is_shown_without_it(
    store: FlakyStore, encoder: FakeEncoder, executor: Executor
) -> None:
    """As long as was set."""
    saved = await saved_with(store, encoder, executor, "N1")
    store.is_down, begin = True, time.monotonic()
    async with started(store, encoder, executor, saved=saved, outage_s=0.4) as process:
        await until(lambda: process.follower.is_ready)
        assert 0.4 <= time.monotonic() - begin < OUTAGE_S
        assert process.shows("N1")
        assert process.metric("newsbert_articles") == 1


async def test_an_answer_in_between_begins_that_time_anew(
    store: FlakyStore, encoder: FakeEncoder, executor: Executor
) -> None:
    """Two passing errors far from each other, with changes left to read, are no outage."""
    saved = await saved_with(store, encoder, executor, "N1")
    publish(store, *(f"M{i}" for i in range(FEW + 1)))
    seen = list[bool]()

    def fail_once_more() -> None:
        time.sleep(0.6)
        store.before["changes"] = fail_and_look

    def fail_and_look() -> None:
        store.before["changes"] = lambda: seen.append(process.follower.is_ready)
        unavailable()

    async with started(store, encoder, executor, saved=saved, outage_s=0.5) as process:
        store.before |= {"changes": unavailable, "popularity": fail_once_more}
        await until(lambda: process.follower.is_ready)
    assert seen == [False]


async def test_a_store_that_can_only_be_read_is_followed_all_the_same(
    store: FlakyStore,
    encoder: FakeEncoder,
    executor: Executor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another process holds the write lock: the activation is noted later, and tried seldom."""
    saved = await saved_with(store, encoder, executor, "N1")
    again = replace(saved, columns=saved.columns.taken(saved.rows, 8))
    store.inner.activate(model="model-2", namespace=SPACE)

    with capture_logs() as events:
        async with started(store, encoder, executor, saved=saved) as process:
            store.refuse("activate")
            await until(lambda: process.follower.is_ready)
            publish(store, "N2")
            await until(lambda: process.shows("N1", "N2"))
            assert (process.follower.is_behind, process.follower.outage) == (False, "")
            assert process.catalogue.current.activation.generation == 1
    assert [e["event"] for e in events].count("activation_not_noted") == 1
    monkeypatch.setattr(follower, "RETRY_PAUSE_S", 0.0)
    async with started(store, encoder, executor, saved=again) as process:
        await until(lambda: process.follower.is_ready)
        store.before.clear()
        await until(lambda: process.catalogue.current.activation.generation == 3)


async def test_a_store_that_gives_no_popularity_does_not_keep_it_from_being_ready(
    store: FlakyStore, encoder: FakeEncoder, executor: Executor
) -> None:
    """What was popular then goes on being so."""
    store.inner.replace_popularity({"N1": 1.5}, at=NOW)
    saved = await saved_with(store, encoder, executor, "N1")
    publish(store, "N2")
    store.refuse("popularity")
    async with started(store, encoder, executor, saved=saved, outage_s=60.0) as process:
        await until(lambda: process.follower.is_ready and not process.follower.is_behind)
        assert process.shows("N1", "N2")
        assert popularity(process)["N1"] == 1.5


async def test_without_its_store_it_shows_what_was_saved_and_is_behind(
    store: FlakyStore, encoder: FakeEncoder, executor: Executor
) -> None:
    """Under the activation of then; once the store is back, what it holds."""
    store.inner.replace_popularity({"N1": 1.5}, at=NOW)
    saved = await saved_with(store, encoder, executor, "N1", "N2")
    store.inner.take_down("N2")
    store.inner.replace_popularity({"N1": 2.5}, at=NOW)
    store.is_down = True
    async with started(store, encoder, executor, saved=saved) as process:
        await until(lambda: process.follower.is_ready)
        assert process.follower.is_behind
        assert process.follower.outage == "StoreUnavailable"
        assert process.shows("N1", "N2")
        assert process.catalogue.current.activation == Activation(1, MODEL, SPACE)
        assert popularity(process)["N1"] == 1.5
        assert process.follower.state() is None
        store.is_down = False
        await until(lambda: not process.follower.is_behind)
        assert process.shows("N1")
        assert popularity(process) == {"N1": 2.5}


async def test_a_log_that_does_not_reach_back_makes_it_scan_first(
    encoder: FakeEncoder, executor: Executor
) -> None:
    """What was saved is known to be wrong then, so it is not shown while the store answers."""
    store = FlakyStore(log_limit=3)
    saved = await saved_with(store, encoder, executor, "N1", "N2")
    store.inner.take_down("N1")
    publish(store, *(f"M{i}" for i in range(10)))
    async with started(store, encoder, executor, saved=saved) as process:
        store.before["scan"] = lambda: seen.append(process.follower.is_ready)
        seen = list[bool]()
        await until(lambda: process.follower.is_ready)
        assert process.shows("N2", *(f"M{i}" for i in range(10)))
    assert seen == [False]


async def test_another_store_than_that_of_then_is_believed(
    store: FlakyStore, encoder: FakeEncoder, executor: Executor
) -> None:
    """A position in the log of one store means nothing in another."""
    saved = await saved_with(store, encoder, executor, "N1")
    other = FlakyStore()
    publish(other, "N2")
    async with started(other, encoder, executor, saved=saved) as process:
        await until(lambda: process.follower.is_ready)
        assert process.shows("N2")


async def test_what_is_known_to_be_wrong_is_not_shown_for_want_of_better(
    store: FlakyStore, encoder: FakeEncoder, executor: Executor
) -> None:
    """Another store, or one whose log does not reach back, fails while it is read anew."""
    saved = await saved_with(store, encoder, executor, "N1")
    other = FlakyStore()
    publish(other, "N2")
    seen = list[bool]()
    async with started(other, encoder, executor, saved=saved, outage_s=0.0) as process:
        other.before["position"] = unavailable
        other.before["scan"] = lambda: seen.append(process.follower.is_ready)
        await until(lambda: process.follower.is_ready)
        assert process.shows("N2")
    assert seen == [False]


async def test_popularity_is_the_stores_also_where_it_has_none(
    store: FlakyStore, encoder: FakeEncoder, executor: Executor
) -> None:
    """The weights of then are not kept beside the articles of another store."""
    store.inner.replace_popularity({"N1": 9.0}, at=NOW)
    saved = await saved_with(store, encoder, executor, "N1")
    other = FlakyStore()
    publish(other, "N1")
    async with started(other, encoder, executor, saved=saved) as process:
        await until(lambda: not process.follower.is_behind)
        assert popularity(process) == {"N1": -np.inf}


def a_broken_load() -> Saved | None:
    """Stand in for a snapshot that does not fit into memory."""
    raise MemoryError


@pytest.mark.parametrize("load", [a_broken_load, None])
async def test_what_cannot_be_restored_is_scanned(
    store: FlakyStore,
    encoder: FakeEncoder,
    executor: Executor,
    load: Callable[[], Saved | None] | None,
) -> None:
    """Whatever the error, in reading files or in taking over what they hold."""
    saved = await saved_with(store, encoder, executor, "N1")
    broken = replace(saved, popularity=np.zeros(0))
    with capture_logs() as events:
        async with started(
            store, encoder, executor, load_saved=load or (lambda: broken)
        ) as process:
            await until(lambda: process.follower.is_ready)
            assert process.shows("N1")
    assert "restore_failed" in [event["event"] for event in events]
    assert store.calls.count("scan") == 1


async def test_articles_that_waited_for_a_vector_go_on_waiting(
    store: FlakyStore, encoder: FakeEncoder, executor: Executor
) -> None:
    """The log does not name them again: they are known from what was saved."""
    encoder.gate.clear()
    saved = await saved_with(store, encoder, executor, "N1", bare=["N2"])
    encoder.gate.set()
    async with started(store, encoder, executor, saved=saved) as process:
        await until(lambda: process.shows("N1", "N2"))


async def test_it_is_behind_until_it_has_caught_up(
    store: FlakyStore, encoder: FakeEncoder, executor: Executor
) -> None:
    """After many changes at once, whether it was off or the store was: not with the first ones."""
    saved = await saved_with(store, encoder, executor, "N1")
    publish(store, *(f"M{i}" for i in range(FEW + 1)))
    seen = list[tuple[bool, bool]]()
    async with started(store, encoder, executor, saved=saved) as process:
        look = process.follower

        def at_the_next_look() -> None:
            store.before["changes"] = lambda: seen.append((look.is_ready, look.is_behind))

        store.before["popularity"] = at_the_next_look
        await until(lambda: look.is_ready)
        assert process.catalogue.current.size == FEW + 2
    assert seen == [(False, True)]


async def test_nothing_is_saved_that_is_later_than_its_position(
    store: FlakyStore, encoder: FakeEncoder, executor: Executor
) -> None:
    """Not while changes are taken over: of a store restored to before them nothing would tell."""
    publish(store, "N1")
    seen = list[object]()
    async with started(store, encoder, executor) as process:
        await until(lambda: process.follower.state() is not None)
        store.before["fetch"] = lambda: seen.append(process.follower.state())
        saved = process.catalogue.saved

        def save_late(*arguments: Any) -> Saved:
            publish(store, "N3")
            wait_until(lambda: process.shows("N1", "N2", "N3"))
            return saved(*arguments)

        publish(store, "N2")
        await until(lambda: process.shows("N1", "N2") and process.follower.state() is not None)
        process.catalogue.saved = save_late  # type: ignore[method-assign]
        seen.append(await AsyncStore(store, executor).run(process.follower.state))  # type: ignore[arg-type]
    assert seen == [None, None]


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait in a thread until something is so."""
    begin = time.monotonic()
    while not is_so():
        assert time.monotonic() - begin < PATIENCE_S
        time.sleep(0.001)


def unavailable() -> None:
    """Fail as a store does that is busy for a moment."""
    raise StoreUnavailable("busy")


async def saved_with(
    store: FlakyStore, encoder: FakeEncoder, executor: Executor, *ids: str, bare: Sequence[str] = ()
) -> Saved:
    """Return what a process saves that has loaded these articles; the store was asked by nobody."""
    publish(store, *ids)
    publish_bare(store, *bare)
    async with started(store, encoder, executor) as process:
        await until(lambda: process.follower.state() is not None)
        saved = process.follower.state()
        assert saved is not None
    store.calls.clear()
    # In another process the rows are copies.
    return replace(saved, columns=saved.columns.taken(saved.rows, 8))
