"""Memory: large work in the background gives back to the system what it needed meanwhile.

The allocator keeps freed memory for later, and after work on a whole catalogue that is a good part
of all that a process holds.
"""

import ctypes
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


@cache
def _trim() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
