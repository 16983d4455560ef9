"""Numbered records in `nb:{meta}`: each number is claimed once, and the highest counts."""

from typing import Final

from service.adapters.redis_layout import META
from service.adapters.redis_link import RedisLink, require

WINDOW: Final = 8


class Claims:
    """Records `<kind>:1`, `<kind>:2`, … without holes; a claim is compare-and-set."""

    def __init__(self, kind: str, *, reads: RedisLink, writes: RedisLink) -> None:
        self._kind = kind
        self._reads, self._writes = reads, writes
        # Records are never removed, so the search need not start at 1 each time.
        self._known = 1

    def highest(self) -> tuple[int, bytes]:
        """Return the highest number with its record, (0, b"") before the first."""
        found, start = (0, b""), self._known
        while True:
            numbers = range(start, start + WINDOW)
            names = [f"{self._kind}:{number}" for number in numbers]
            records = require(self._reads.pipeline([("HMGET", META, *names)])[0])
            there = [(n, record) for n, record in zip(numbers, records, strict=True) if record]
            if not there and start > 1 and not found[0]:
                start = 1  # the server was emptied
                continue
            found = there[-1] if there else found
            if len(there) < WINDOW:
                self._known = max(1, found[0])
                return found
            start += WINDOW

    def claim(self, number: int, record: str) -> bool:
        """Record under a number; return False when another record already has it."""
        (is_ours,) = self._writes.transaction([("HSETNX", META, f"{self._kind}:{number}", record)])
        return bool(is_ours)
