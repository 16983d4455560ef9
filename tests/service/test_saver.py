"""The saver saves now and then whatever there is to save, and nothing ends it."""

import asyncio
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from service.saved import Saved
from service.saving import Saver
from tests.service.fakes import until
from tests.service.snapshots import a_state, a_writer, is_there

pytestmark = pytest.mark.anyio


async def test_the_saver_saves_at_once_and_then_what_has_changed(
    folder: Path, executor: Executor
) -> None:
    """Nothing while there is nothing to take; no second time what is there."""
    states: list[Saved | None] = [None]
    with saving(folder, lambda: states[-1], executor):
        await asyncio.sleep(0.05)
        assert not is_there(folder)
        states.append(a_state(("birth", "1")))
        await until(lambda: is_there(folder, 1))
        await asyncio.sleep(0.05)
        assert not is_there(folder, 2)
        states.append(a_state(("birth", "2")))
        await until(lambda: is_there(folder, 2))


async def test_a_look_that_finds_nothing_is_no_large_work(folder: Path) -> None:
    """It is not done where memory is given back after each piece, and blocks nobody."""
    threads, works = list[threading.Thread](), list[object]()

    class CountingExecutor(ThreadPoolExecutor):
        def submit(self, *work: Any, **options: Any) -> Any:
            works.append(work)
            return super().submit(*work, **options)

    def take() -> Saved | None:
        threads.append(threading.current_thread())
        return a_state() if len(threads) > 3 else None

    with CountingExecutor(1) as executor, saving(folder, take, executor):
        await until(lambda: len(threads) > 2)
        assert not works
        await until(lambda: is_there(folder, 1))
        assert works
    assert threading.current_thread() not in threads


async def test_what_was_taken_is_let_go_of_before_the_pause(
    folder: Path, executor: Executor
) -> None:
    """Its columns would else be kept beside those of a merge meanwhile."""
    taken = list[weakref.ref[np.ndarray]]()

    def take() -> Saved:
        saved = a_state()
        taken.append(weakref.ref(saved.columns.vectors))
        return saved

    with saving(folder, take, executor, interval_s=60.0):
        await until(lambda: is_there(folder, 1))
        await until(lambda: taken[0]() is None)


async def test_a_folder_that_cannot_be_written_stops_nothing(
    blocked_folder: Path, executor: Executor
) -> None:
    """The saver says so and tries again, and saves as soon as it can."""
    folder, free = blocked_folder, blocked_folder.unlink
    with capture_logs() as events, saving(folder, a_state, executor):
        await until(lambda: len(events) > 1)
        assert {event["event"] for event in events} == {"snapshot_not_saved"}
        assert str(folder) not in str(events)
        free()
        await until(lambda: is_there(folder, 1))


async def test_no_error_ends_the_saver(folder: Path, executor: Executor) -> None:
    """Neither while the state is taken nor while it is written: it is said, and tried again."""
    unfit = replace(a_state(), popularity=None)  # type: ignore[arg-type]

    def lack() -> Saved:
        raise MemoryError

    states = [a_state, lambda: unfit, lack]

    def take() -> Saved:
        return states.pop()() if len(states) > 1 else a_state()

    with capture_logs() as events, saving(folder, take, executor):
        await until(lambda: is_there(folder, 1))
    told = [e["error"].partition(":")[0] for e in events if e["event"] == "snapshot_not_saved"]
    assert told == ["MemoryError", "TypeError"]


@contextmanager
def saving(
    folder: Path,
    take: Callable[[], Saved | None],
    executor: Executor,
    *,
    interval_s: float = 0.01,
) -> Iterator[None]:
    """Run a saver for the length of a block."""
    saver = Saver(a_writer(folder), take, executor, interval_s=interval_s)
    task = asyncio.get_running_loop().create_task(saver.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
