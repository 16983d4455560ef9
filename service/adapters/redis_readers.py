"""Readers' records in Redis, written in one MULTI with the clicks that they count.

The clicks of a shard's readers are numbered by their writes, and the number is watched. It follows
the time, so that a server that lost its latest writes, or all, gives none a second time.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final, TypeAlias

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
# Articles of a shard of which it is known when they were clicked last.
HOT_KEPT: Final = 2_048
# Each conflict means that another process was faster; a try takes about a millisecond.
TRIES: Final = 200
PAUSE_S: Final = 0.004
TURN_S: Final = 5.0


class RedisReaders:
    """Amends records by compare-and-set: what was read is what is written upon."""

    def __init__(self, *, reads: RedisLink, writes: RedisLink, on_rejected: OnRejected) -> None:
        self._reads, self._writes = reads, writes
        self._on_rejected = on_rejected
        self._turns = [threading.Lock() for _ in range(SHARDS)]

    def amend(
        self, pseudonyms: Sequence[str], amend: Amend, *, expires_at: float, now: float
    ) -> list[Amendment]:
        """Write what `amend` makes of the records of each shard, with the clicks it counts."""
        made: list[Amendment] = []
        for shard, places in by_shard(pseudonyms, GROUP):
            group = [pseudonyms[i] for i in places]
            decide = partial(_decided, shard, group, amend, expires_at, now)
            with self._turn(shard):
                made.append(self._amend(shard, group, decide))
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

    def _amend(self, shard: int, group: Sequence[str], decide: "_Decide") -> Amendment:
        keys = [write_key(shard), *map(reader_key, group)]
        for _ in range(TRIES):
            made = self._writes.compare_and_set(keys, ("MGET", *keys), decide)
            if made is not None:
                return made
            time.sleep(random.uniform(0, PAUSE_S))  # noqa: S311 - parts those who collided
        raise StoreUnavailable("readers are written faster than they can be read")

    @contextmanager
    def _turn(self, shard: int) -> Iterator[None]:
        """Let one thread at a time work on a shard: others would only conflict with it."""
        if not self._turns[shard].acquire(timeout=TURN_S):
            raise StoreUnavailable("too many wait to write readers of one shard")
        try:
            yield
        finally:
            self._turns[shard].release()


_Decide: TypeAlias = Callable[[Reply], tuple[Sequence[Command], Amendment]]


def _decided(
    shard: int,
    group: Sequence[str],
    amend: Amend,
    expires_at: float,
    now: float,
    reply: Reply,
) -> tuple[Sequence[Command], Amendment]:
    """Return what to write, and the amendment, from a shard's number and a group's records."""
    number, *raws = reply
    amendment = amend(dict(zip(group, raws, strict=True)))
    ends = ("PXAT", _milliseconds(expires_at))
    records = amendment.records.items()
    commands: list[Command] = [("SET", reader_key(reader), raw, *ends) for reader, raw in records]
    return [*commands, *_counting(shard, amendment.clicks, number, now)], amendment


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
