"""Readers' records in Redis, written in one MULTI with the clicks that they count.

Watched are the records of the group, so that none is written upon what it no longer is, and the
number of the last counting write of one shard, the home of these clicks. Each such write has the
next number there. It follows the time, so that a server that lost its latest writes, or all, gives
none a second time.

On a Cluster a group is of one shard, its home. One server takes readers of all shards at once, for
each write waits for the disk. Any home will do there: a process begins with the first, and leaves
it for the next when another process counts there as well.
"""

import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from service.adapters.frames import OnRejected
from service.adapters.redis_clicks import number_of
from service.adapters.redis_layout import (
    SHARDS,
    Command,
    by_shard,
    clicks_key,
    hot_key,
    reader_key,
    readers_prefix,
    write_key,
)
from service.adapters.redis_link import RedisLink, Reply
from service.errors import StoreUnavailable
from service.ports import Amend, Amendment, Weights

# Readers of one MULTI, and of one reading of all; a record has at most 64 KiB.
GROUP: Final = 64
# Articles of a shard of which it is known when they were clicked last. On one server these are all
# that a process counts between two looks of a replica, seconds apart, before it must read all sums.
HOT_KEPT: Final = 8_192
# Each conflict means that another process was faster; a try takes about a millisecond.
TRIES: Final = 200
PAUSE_S: Final = 0.004
TURN_S: Final = 5.0


class RedisReaders:
    """Amends records by compare-and-set: what was read is what is written upon."""

    def __init__(self, *, reads: RedisLink, writes: RedisLink, on_rejected: OnRejected) -> None:
        self._reads, self._writes = reads, writes
        self._on_rejected = on_rejected
        self._turn = threading.Lock()
        self._home = 0

    def amend(
        self, pseudonyms: Sequence[str], amend: Amend, *, expires_at: float, now: float
    ) -> list[Amendment]:
        """Write what `amend` makes of the records of each group, with the clicks it counts."""
        made: list[Amendment] = []
        for shard, places in self._groups(pseudonyms):
            write = _Write([pseudonyms[i] for i in places], amend, expires_at, now)
            with self._alone():
                made.append(self._amend(write, shard))
        return made

    def reader(self, pseudonym: str) -> bytes | None:
        """Return a reader's record, None where there is none."""
        (raw,) = self._reads.pipeline([("GET", reader_key(pseudonym))])
        if isinstance(raw, Exception):
            self._on_rejected("type")
            return None
        return bytes(raw) if raw is not None else None

    def forget(self, pseudonym: str) -> bool:
        """Remove a reader's record; say whether there was one.

        Without a MULTI, in which a server at its memory limit refuses even this.
        """
        key = reader_key(pseudonym)
        # Asked first: when its reply is lost, DEL is sent again, and finds none.
        (there,) = self._reads.pipeline([("EXISTS", key)])
        (gone,) = self._writes.pipeline([("DEL", key)])
        return bool(there or gone)

    def readers(self) -> Iterator[Mapping[str, bytes]]:
        """Read all records by pseudonym, in batches."""
        for shard in range(SHARDS):
            prefix = readers_prefix(shard)
            keys = [key.decode(errors="replace") for key in self._writes.keys(f"{prefix}*")]
            for start in range(0, len(keys), GROUP):
                batch = keys[start : start + GROUP]
                (raws,) = self._writes.pipeline([("MGET", *batch)])
                pairs = zip(batch, raws, strict=True)
                # Those that expired meanwhile are gone.
                yield {key[len(prefix) :]: raw for key, raw in pairs if raw is not None}

    def _groups(self, pseudonyms: Sequence[str]) -> Iterator[tuple[int | None, Sequence[int]]]:
        """Split positions into those of one MULTI each, with the shard where that must be one."""
        if self._writes.is_parted():
            yield from by_shard(pseudonyms, GROUP)
        else:
            places = range(len(pseudonyms))
            yield from ((None, places[start : start + GROUP]) for start in places[::GROUP])

    def _amend(self, write: "_Write", shard: int | None) -> Amendment:
        for _ in range(TRIES):
            write.home = self._home if shard is None else shard
            keys = [write_key(write.home), *map(reader_key, write.group)]
            made = self._writes.compare_and_set(keys, ("MGET", *keys), write.decide)
            if made is not None:
                return made
            if shard is None:
                self._leave_if_shared(write)
            time.sleep(random.uniform(0, PAUSE_S))  # noqa: S311 - parts those who collided
        raise StoreUnavailable("readers are written faster than they can be read")

    def _leave_if_shared(self, write: "_Write") -> None:
        """Count elsewhere from now on, where another process has counted meanwhile.

        That one stays, and a conflict over a reader moves nobody: sums are in few places, all of
        which whoever looks at them reads.
        """
        (number,) = self._writes.pipeline([("GET", write_key(write.home))])
        if number != write.number:
            self._home = (write.home + 1) % SHARDS

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one thread at a time write: others would only conflict with it."""
        if not self._turn.acquire(timeout=TURN_S):
            raise StoreUnavailable("too many wait to write readers")
        try:
            yield
        finally:
            self._turn.release()


@dataclass(slots=True)
class _Write:
    """One group of readers to amend: what is tried, until nobody else is faster."""

    group: Sequence[str]
    amend: Amend
    expires_at: float
    now: float
    home: int = 0
    number: bytes | None = None

    def decide(self, reply: Reply) -> tuple[Sequence[Command], Amendment]:
        """Return what to write, and the amendment, from the home's number and the records."""
        self.number, *raws = reply
        amendment = self.amend(dict(zip(self.group, raws, strict=True)))
        ends = ("PXAT", _milliseconds(self.expires_at))
        commands: list[Command] = [
            ("SET", reader_key(reader), raw, *ends) for reader, raw in amendment.records.items()
        ]
        counting = _counting(self.home, amendment.clicks, self.number, self.now)
        return [*commands, *counting], amendment


def _counting(shard: int, clicks: Weights, last: bytes | None, now: float) -> Iterator[Command]:
    """List the commands that add clicks to a shard's sums and note which articles these are of."""
    for span, weights in clicks.items():
        key = clicks_key(shard, span.name)
        yield from (("HINCRBYFLOAT", key, i, repr(float(w))) for i, w in weights.items())
        yield "PEXPIREAT", key, _milliseconds(span.ends_at)
    ids = {article_id for weights in clicks.values() for article_id in weights}
    if ids:
        number = max(number_of(last) + 1, int(now * 1_000_000))
        first = ("",) if last is None else ()
        yield "ZADD", hot_key(shard), *(part for i in (*first, *ids) for part in (number, i))
        yield "ZREMRANGEBYRANK", hot_key(shard), 0, -HOT_KEPT - 1
        yield "SET", write_key(shard), number


def _milliseconds(at: float) -> int:
    return int(at * 1_000)
