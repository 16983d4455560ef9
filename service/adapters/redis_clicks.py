"""The sums of clicks in Redis, added up over the shards that counted some.

A mark names the spans asked for and holds, for each shard, the number of the last write seen. What
was written since is told by the shard's hottest articles, as far back as they reach.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from service.adapters.frames import OnRejected
from service.adapters.redis_layout import SHARDS, Command, clicks_key, hot_key, write_key
from service.adapters.redis_link import RedisLink, Reply
from service.ports import Clicks, Position, Span

# Of one round trip: few enough that other threads hardly wait for what is made of them.
SUMS_AT_ONCE: Final = 500
# Below the number of every write, and of a shard without one, so that it tells nothing.
NOWHERE: Final = -1
MOST_DIGITS: Final = 18


class RedisClicks:
    """Reads what changed in any shard; the sums are always those of all of them."""

    def __init__(self, link: RedisLink, on_rejected: OnRejected) -> None:
        self._link = link
        self._on_rejected = on_rejected

    def clicks(self, spans: Sequence[Span], since: Position) -> Clicks:
        """Return the sums of some spans that changed since a mark."""
        names = " ".join(span.name for span in spans)
        numbers, changed = self._changed(_marks(names, since))
        mark = (names, *map(str, numbers))
        # Read after the numbers: what is written in between is told again next time.
        sums = self._all(spans) if changed is None else self._some(spans, sorted(changed))
        there = {span: of_span for span, of_span in sums.items() if of_span}
        return Clicks(there, mark, is_whole=changed is None)

    def _changed(self, marks: Sequence[int]) -> tuple[list[int], set[str] | None]:
        """Return each shard's number, and the articles changed since; None where some may lack."""
        commands = [command for shard in range(SHARDS) for command in _asking(shard, marks[shard])]
        replies = [self._typed(reply) for reply in self._link.pipeline(commands)]
        numbers, changed, is_complete = list[int](), set[str](), True
        shards = zip(marks, replies[::3], replies[1::3], replies[2::3], strict=True)
        for mark, number, members, lowest in shards:
            numbers.append(number_of(number))
            is_complete &= mark == numbers[-1] or _reaches(mark, numbers[-1], lowest)
            changed.update(member.decode(errors="replace") for member in members or ())
        return numbers, (changed - {""}) if is_complete else None

    def _all(self, spans: Sequence[Span]) -> dict[Span, dict[str, float]]:
        sums: dict[Span, dict[str, float]] = {span: {} for span in spans}
        for span, key in self._there(spans):
            (reply,) = self._link.pipeline([("HGETALL", key)])
            pairs = self._typed(reply) or {}
            self._add(sums[span], ((i.decode(errors="replace"), w) for i, w in pairs.items()))
        return sums

    def _some(
        self, spans: Sequence[Span], article_ids: Sequence[str]
    ) -> dict[Span, dict[str, float]]:
        sums: dict[Span, dict[str, float]] = {span: {} for span in spans}
        places = self._there(spans) if article_ids else []
        at_once = SUMS_AT_ONCE // max(1, len(places)) + 1
        for start in range(0, len(article_ids), at_once):
            ids = article_ids[start : start + at_once]
            commands = [("HMGET", key, *ids) for _, key in places]
            for (span, _), reply in zip(places, self._link.pipeline(commands), strict=True):
                self._add(sums[span], zip(ids, self._typed(reply) or (), strict=False))
        return sums

    def _there(self, spans: Sequence[Span]) -> list[tuple[Span, str]]:
        """List the keys of sums that there are: most shards may have counted nothing."""
        keys = [(span, clicks_key(shard, span.name)) for span in spans for shard in range(SHARDS)]
        found = self._link.pipeline([("EXISTS", key) for _, key in keys])
        return [place for place, is_there in zip(keys, found, strict=True) if is_there]

    def _add(self, sums: dict[str, float], weights: Iterable[tuple[str, bytes | None]]) -> None:
        for article_id, weight in weights:
            if weight is not None:
                sums[article_id] = sums.get(article_id, 0.0) + self._sound(weight)

    def _sound(self, weight: bytes) -> float:
        try:
            return float(weight)
        except ValueError:
            self._on_rejected("type")
            return 0.0

    def _typed(self, reply: Reply) -> Reply:
        """Return a reply, None (and tell) when its key holds a foreign type."""
        if isinstance(reply, Exception):
            self._on_rejected("type")
            return None
        return reply


def number_of(raw: bytes | None) -> int:
    """Read the number of a shard's last write, 0 before the first; for what is none as well."""
    text = (raw or b"").decode(errors="replace")
    return int(text) if _is_number(text) else 0


def _marks(names: str, since: Position) -> list[int]:
    """Read the numbers of a mark of these spans, for any other those that tell nothing."""
    if len(since) != SHARDS + 1 or since[0] != names or not all(map(_is_number, since[1:])):
        return [NOWHERE] * SHARDS
    return [int(part) for part in since[1:]]


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= MOST_DIGITS


def _asking(shard: int, mark: int) -> Iterator[Command]:
    """List the reads of one shard; the lowest comes after what it is to bound."""
    yield "GET", write_key(shard)
    yield "ZRANGEBYSCORE", hot_key(shard), f"({mark}", "+inf"
    yield "ZRANGE", hot_key(shard), 0, 0, "WITHSCORES"


def _reaches(mark: int, number: int, lowest: Sequence[bytes] | None) -> bool:
    """Say whether all articles of the writes after a mark are among the hottest.

    Those trimmed are of writes up to that of the lowest. Where the lowest stands for the first
    write, none are, and a mark from before the first write misses nothing.
    """
    if not lowest or not 0 <= mark <= number:
        return False
    return mark >= float(lowest[1]) or (mark == 0 and lowest[0] == b"")
