"""Sweeping: what is over goes, also where nobody gives feedback any more."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager

import pytest
import structlog

from service.feedback import MARGIN_S
from service.storage import AsyncStore
from service.sweeping import sweep
from tests.service.fakes import FakeClock, FlakyStore, until
from tests.service.reading import TTL_S, a_feedback, sent

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def swept(store: FlakyStore, executor: Executor, clock: FakeClock) -> AsyncIterator[None]:
    """Sweep a store for the block, every millisecond."""
    task = asyncio.create_task(sweep(AsyncStore(store, executor), clock, pause_s=0.001))
    try:
        yield
    finally:
        task.cancel()


def count(store: FlakyStore) -> int:
    """Count the readers in a store."""
    return sum(map(len, store.inner.readers()))


async def test_records_go_when_their_time_is_over(
    store: FlakyStore, executor: Executor, clock: FakeClock
) -> None:
    """Without any feedback, and not before."""
    await a_feedback(store, executor, clock).take(sent("e1"))
    async with swept(store, executor, clock):
        clock.now += TTL_S + MARGIN_S - 1
        seen = len(store.calls)
        await until(lambda: len(store.calls) > seen + 1)
        assert count(store) == 1
        clock.now += 1
        await until(lambda: count(store) == 0)


async def test_an_outage_only_puts_it_off(
    store: FlakyStore, executor: Executor, clock: FakeClock
) -> None:
    """The job goes on, and says what happened."""
    await a_feedback(store, executor, clock).take(sent("e1"))
    clock.now += TTL_S + MARGIN_S
    store.is_down = True
    with structlog.testing.capture_logs() as logs:
        async with swept(store, executor, clock):
            await until(lambda: len(logs) > 1)
            store.is_down = False
            await until(lambda: count(store) == 0)
    assert logs[0]["event"] == "not_swept"
