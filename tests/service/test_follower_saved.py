"""The follower goes on from a saved catalogue: nothing that changed meanwhile is missed."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace

import pytest

from service.follower import FEW
from service.ports import Activation
from service.saved import Saved
from tests.service.fakes import (
    MODEL,
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


async def test_without_its_store_it_shows_what_was_saved_and_is_behind(
    store: FlakyStore, encoder: FakeEncoder, executor: Executor
) -> None:
    """Under the activation of then; once the store is back, what it holds."""
    store.inner.replace_popularity({"N1": 1.5})
    saved = await saved_with(store, encoder, executor, "N1", "N2")
    store.inner.take_down("N2")
    store.inner.replace_popularity({"N1": 2.5})
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
