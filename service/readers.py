"""A reader's record: what is kept of one reader, and what an event changes in it.

A record is a function of the events it was given, not of their order: late and repeated events
come to the same. What it holds is bounded, and nothing in it counts beyond the time to live.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from operator import itemgetter
from typing import Final, NamedTuple, Self, TypeAlias
from zlib import crc32

import orjson

from service.errors import ServiceError

FORMAT: Final = 1
# Articles a reader has read or hidden, the latest of each.
READ_KEPT, HIDDEN_KEPT = 200, 200
# A record as bytes, with what stores add below 64 KiB: beyond it the oldest events are let go of, a
# share of them at a time.
MOST_BYTES: Final = 60 * 1024
LET_GO: Final = 8
# Clocks disagree: an event from a little ahead is taken as it is.
AHEAD_S: Final = 300.0
# Later than any time: JSON has no infinity.
NEVER: Final = 1e300
# Hex digits of the checksum in front of a record.
CHECKSUM: Final = 8


class RecordDamaged(ServiceError):
    """A stored record is not what this build writes; nothing of it can be used."""


class Kind(StrEnum):
    """What a reader did, or was shown."""

    IMPRESSION = "impression"
    CLICK = "click"
    READ = "read"
    HIDE = "hide"


class Verdict(StrEnum):
    """What became of an event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    TOO_OLD = "too_old"
    IN_THE_FUTURE = "in_the_future"


class Event(NamedTuple):
    """One thing that a reader did or was shown, at a time in epoch seconds.

    `ids` is the article, of an impression all articles in their order; `request` names the answer
    in which they were recommended, where that is known.
    """

    kind: Kind
    id: str
    at: float
    ids: tuple[str, ...]
    request: str = ""


# An event's time and its line in a record's log.
_Line: TypeAlias = tuple[float, bytes]


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of one reader: articles read and hidden, with the latest time, and the events.

    `log` holds the events as they came, each a line: [id, kind, at, ids, request]. It is searched
    and added to as bytes, for reading all of it would cost far more than taking one event.
    `oldest` is not above the time of any of them; of times up to `floor` it is no longer known
    which events were taken.
    """

    read: Mapping[str, float] = field(default_factory=dict)
    hidden: Mapping[str, float] = field(default_factory=dict)
    log: bytes = b""
    oldest: float = NEVER
    floor: float = 0.0

    @classmethod
    def of(cls, raw: bytes) -> Self:
        """Read what `to_bytes` wrote; raise RecordDamaged for anything else."""
        body = raw[CHECKSUM:]
        if raw[:CHECKSUM] != _checksum(body):
            raise RecordDamaged("a reader's record was altered")
        head, line, rest = body.partition(b"\n")
        try:
            version, floor, oldest, read, hidden = orjson.loads(head)
        except (ValueError, TypeError) as error:
            raise RecordDamaged("a reader's record is of no known form") from error
        if version != FORMAT:
            raise RecordDamaged("a reader's record is of an unknown format")
        return cls(read, hidden, line + rest, oldest, floor)

    @classmethod
    def kept(cls, raw: bytes | None, tell: Callable[[str], object]) -> Self:
        """Read what a store has; without any, or where that is damaged and told of, begin anew."""
        try:
            return cls() if raw is None else cls.of(raw)
        except RecordDamaged:
            tell("reader")
            return cls()

    def to_bytes(self) -> bytes:
        """Write the record, a checksum in front."""
        head = orjson.dumps([FORMAT, self.floor, self.oldest, self.read, self.hidden])
        return _checksum(body := head + self.log) + body

    @property
    def events(self) -> list[Event]:
        """Return the events by time, then id."""
        return [_event(line) for _, line in self._lines()]

    @property
    def is_empty(self) -> bool:
        """Say whether there is nothing in it."""
        return not (self.read or self.hidden or self.log)

    def knows(self, event_id: str) -> bool:
        """Say whether the event of an id was taken and is still in the log."""
        return b"\n[%b," % orjson.dumps(event_id) in self.log

    def since(self, earliest: float) -> "Record":
        """Return the record without what is of before a time."""
        if min([self.oldest, *self.read.values(), *self.hidden.values()]) >= earliest:
            return self
        lines = self._lines()
        return replace(
            self._without(lines, sum(at < earliest for at, _ in lines)),
            read={i: at for i, at in self.read.items() if at >= earliest},
            hidden={i: at for i, at in self.hidden.items() if at >= earliest},
        )

    def with_events(self, events: Sequence[Event]) -> "Record":
        """Return the record with more events in its log, and in nothing else."""
        log = self.log + b"".join(map(_line, events))
        return replace(self, log=log, oldest=min([self.oldest, *(event.at for event in events)]))

    def without_log(self) -> "Record":
        """Return the record without its events: what an answer to a reader needs."""
        return replace(self, log=b"", oldest=NEVER)

    def without_oldest(self, share: int) -> "Record":
        """Return the record without the first of so many parts of its events."""
        lines = self._lines()
        return self._without(lines, len(lines) // share + 1)

    def history(self, most: int) -> list[str]:
        """Return the articles read last, oldest first, each once."""
        return sorted(self.read, key=lambda i: (self.read[i], i))[-most:]

    def _lines(self) -> list[_Line]:
        """Return the lines of the log with their times, oldest first."""
        lines = self.log.split(b"\n")[1:]
        # One call for all of them: one for each costs several times as much.
        rows = orjson.loads(b"[%b]" % b",".join(lines))
        return sorted((row[2], line) for row, line in zip(rows, lines, strict=True))

    def _without(self, lines: Sequence[_Line], gone: int) -> "Record":
        """Return the record without the first of its lines; to their times it is closed."""
        floor = max([self.floor, *(at for at, _ in lines[:gone])])
        log = b"".join(b"\n" + line for _, line in lines[gone:])
        oldest = lines[gone][0] if lines[gone:] else NEVER
        return replace(self, log=log, oldest=oldest, floor=floor)


@dataclass(frozen=True, slots=True)
class Taken:
    """A record after some events, as bytes, and what became of each event.

    `raw` is None where no event changed anything.
    """

    raw: bytes | None
    verdicts: list[Verdict]

    def taken(self, events: Iterable[Event]) -> list[Event]:
        """Return those of the events that were new."""
        told = zip(events, self.verdicts, strict=True)
        return [event for event, verdict in told if verdict is Verdict.ACCEPTED]


def taken(record: Record, events: Iterable[Event], *, now: float, ttl_s: float) -> Taken:
    """Return a record with the events in it that are new to it, and in time."""
    record = record.since(now - ttl_s)
    read, hidden = dict(record.read), dict(record.hidden)
    # Impressions are shown, not read: they are in the log alone.
    noted = {Kind.CLICK: read, Kind.READ: read, Kind.HIDE: hidden}
    fresh, verdicts = dict[str, Event](), list[Verdict]()
    for event in events:
        verdict = _verdict(event, record, fresh, now=now, ttl_s=ttl_s)
        verdicts.append(verdict)
        if verdict is Verdict.ACCEPTED:
            fresh[event.id] = event
            _note(noted.get(event.kind, {}), event)
    if not fresh:
        return Taken(None, verdicts)
    kept = replace(
        record, read=_latest_of(read, READ_KEPT), hidden=_latest_of(hidden, HIDDEN_KEPT)
    ).with_events(list(fresh.values()))
    return Taken(_bounded(kept), verdicts)


def _verdict(
    event: Event, record: Record, fresh: Mapping[str, Event], *, now: float, ttl_s: float
) -> Verdict:
    if event.id in fresh or record.knows(event.id):
        return Verdict.DUPLICATE
    if event.at <= record.floor or event.at < now - ttl_s:
        return Verdict.TOO_OLD
    return Verdict.IN_THE_FUTURE if event.at > now + AHEAD_S else Verdict.ACCEPTED


def _note(times: dict[str, float], event: Event) -> None:
    for article_id in event.ids:
        times[article_id] = max(times.get(article_id, event.at), event.at)


def _latest_of(times: dict[str, float], most: int) -> dict[str, float]:
    if len(times) <= most:
        return times
    return dict(sorted(times.items(), key=itemgetter(1, 0))[-most:])


def _bounded(record: Record) -> bytes:
    """Write a record, without its oldest events where it would be too large with them."""
    while len(raw := record.to_bytes()) > MOST_BYTES and record.log:
        record = record.without_oldest(LET_GO)
    return raw


def _checksum(body: bytes) -> bytes:
    return b"%08x" % crc32(body)


def _line(event: Event) -> bytes:
    return b"\n" + orjson.dumps((event.id, event.kind, event.at, event.ids, event.request))


def _event(line: bytes) -> Event:
    event_id, kind, at, ids, request = orjson.loads(line)
    return Event(Kind(kind), event_id, at, tuple(ids), request)
