"""The change log in Redis: one stream per shard, polled, with every gap noticed.

A position holds for each shard how many entries were read and the id of the last one. The log lost
entries unless exactly as many follow that id as the shard's counter grew by: a trimmed log, an
emptied server and a fail-over that dropped its latest writes all break this equality.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from service.adapters.redis_layout import SHARDS, Command, count_key, log_key
from service.adapters.redis_link import RedisLink, Reply, require
from service.errors import StoreUnavailable
from service.ports import Changes, Position

CHANGES_LIMIT: Final = 4_096
PER_SHARD: Final = CHANGES_LIMIT // SHARDS
TRIES: Final = 100

EntryId: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Mark:
    """How far one shard's log was read: entries so far, and the id of the last."""

    count: int
    last: EntryId

    @classmethod
    def parse(cls, text: str) -> "Mark":
        """Read what `str` wrote."""
        count, milliseconds, sequence = (int(part) for part in text.split("-"))
        return cls(count, (milliseconds, sequence))

    def __str__(self) -> str:
        return f"{self.count}-{self.last[0]}-{self.last[1]}"


class RedisLog:
    """Reads the change logs of all shards as one."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def position(self) -> Position:
        """Return the end of the log as of now."""
        return tuple(str(self._end(shard)) for shard in range(SHARDS))

    def changes(self, since: Position) -> Changes:
        """Return what was written since; where that is lost, the end of the log as of now."""
        try:
            marks = [Mark.parse(text) for text in since]
        except ValueError:
            return self._lost()  # the position of another kind of store
        if len(marks) != SHARDS:
            return self._lost()
        found: list[tuple[EntryId, str]] = []
        for shard, newest in enumerate(self._newest()):
            if newest == marks[shard].last:
                continue
            entries = self._after(shard, marks[shard])
            if entries is None:
                return self._lost()
            found += entries
            marks[shard] = Mark(marks[shard].count + len(entries), entries[-1][0])
        ids = tuple(article_id for _, article_id in sorted(found))
        return Changes(ids, tuple(str(mark) for mark in marks), is_complete=True)

    def _lost(self) -> Changes:
        return Changes((), self.position(), is_complete=False)

    def _newest(self) -> list[EntryId]:
        newest = ("+", "-", "COUNT", 1)
        commands = [("XREVRANGE", log_key(shard), *newest) for shard in range(SHARDS)]
        return [_last(reply) for reply in self._link.pipeline(commands)]

    def _end(self, shard: int) -> Mark:
        newest = ("XREVRANGE", log_key(shard), "+", "-", "COUNT", 1)
        count, (entries,) = self._at_one_moment(shard, [newest])
        return Mark(count, _last(entries))

    def _after(self, shard: int, mark: Mark) -> list[tuple[EntryId, str]] | None:
        """Return a shard's entries beyond a mark, None where some of them are lost."""
        start = f"({mark.last[0]}-{mark.last[1]}"
        beyond = ("XRANGE", log_key(shard), start, "+", "COUNT", PER_SHARD)
        count, (kept, reply) = self._at_one_moment(shard, [("XLEN", log_key(shard)), beyond])
        expected, trimmed = count - mark.count, count - kept
        if trimmed > mark.count or expected < 1 or len(reply) != min(expected, PER_SHARD):
            return None
        return [(_entry_id(entry), entry[1].get(b"id", b"").decode()) for entry in reply]

    def _at_one_moment(self, shard: int, reads: Sequence[Command]) -> tuple[int, list[Reply]]:
        """Return a shard's counter and replies between which nothing was written.

        A MULTI would do, but a server at its memory limit refuses even reads inside one.
        """
        count = ("GET", count_key(shard))
        for _ in range(TRIES):
            before, *replies, after = self._link.pipeline([count, *reads, count])
            if before == after:
                return int(before or 0), [require(reply) for reply in replies]
        raise StoreUnavailable("the change log is written faster than it can be read")


def _last(entries: Reply) -> EntryId:
    return _entry_id(entries[0]) if isinstance(entries, list) and entries else (0, 0)


def _entry_id(entry: Sequence[bytes]) -> EntryId:
    milliseconds, _, sequence = entry[0].partition(b"-")
    return int(milliseconds), int(sequence)
