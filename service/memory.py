"""Memory: what a whole catalogue costs besides its bytes, given back or spared.

The allocator keeps freed memory for later, and after work on a whole catalogue that is a good part
of all that a process holds. The garbage collector looks through all objects there are, and those of
a catalogue hold every thread up for tens of milliseconds.
"""

import asyncio
import ctypes
import gc
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class TidyExecutor(ThreadPoolExecutor):
    """A pool for seldom and large work; freed memory is given back after each piece of it."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start a piece of work."""

        def tidily() -> T:
            try:
                return fn(*args, **kwargs)
            finally:
                give_back()

        return super().submit(tidily)


def give_back() -> None:
    """Return freed memory to the system, where the C library has a way to (glibc)."""
    if (trim := _trim()) is not None:
        trim(0)


async def spare(kept: Callable[[], object], pause_s: float = 1.0) -> None:
    """Let the collector pass over all there is, whenever `kept` gives another object than before.

    For a process that does nothing else: what is garbage in a circle by then stays.
    """
    before = None
    while True:
        if (now := kept()) is not before:
            before = now
            gc.collect()
            gc.freeze()
        await asyncio.sleep(pause_s)


@cache
def _trim() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
