"""Stages: where the time of a request goes, as `Server-Timing` tells it."""

import time


class Stages:
    """A request's stages in their order; each mark ends the stage that began with the last one.

    Cheap enough for every request: a mark is one reading of the clock and one append.
    """

    __slots__ = ("_marks", "_started")

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._marks: list[tuple[str, float]] = []

    def mark(self, name: str) -> None:
        """End the stage of that name now."""
        self._marks.append((name, time.perf_counter()))

    def elapsed_s(self) -> float:
        """Return the seconds since the request began."""
        return time.perf_counter() - self._started

    def header(self) -> str:
        """Write the stages and their total in milliseconds, as `Server-Timing` has them."""
        parts, before = [], self._started
        for name, at in self._marks:
            parts.append(f"{name};dur={1e3 * (at - before):.3f}")
            before = at
        parts.append(f"total;dur={1e3 * self.elapsed_s():.3f}")
        return ", ".join(parts)
