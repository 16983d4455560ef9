"""Stages: where the time of a request goes, as `Server-Timing` tells it."""

import time
from collections.abc import Callable


class Stages:
    """A request's stages in their order; each mark ends the stage that began with the last one.

    Cheap enough for every request: a mark is one reading of the clock and one append. Another
    clock, such as `time.thread_time`, tells what a request costs instead of how long it takes.
    """

    __slots__ = ("_clock", "_marks", "_started")

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._started = clock()
        self._marks: list[tuple[str, float]] = []

    def mark(self, name: str) -> None:
        """End the stage of that name now."""
        self._marks.append((name, self._clock()))

    def elapsed_s(self) -> float:
        """Return the seconds since the request began."""
        return self._clock() - self._started

    def header(self) -> str:
        """Write the stages and their total in milliseconds, as `Server-Timing` has them."""
        parts, before = [], self._started
        for name, at in self._marks:
            parts.append(f"{name};dur={1e3 * (at - before):.3f}")
            before = at
        parts.append(f"total;dur={1e3 * self.elapsed_s():.3f}")
        return ", ".join(parts)
