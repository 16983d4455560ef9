"""Readers of tests: their events, and where these go."""

from collections.abc import Container, Sequence
from concurrent.futures import Executor
from typing import Any

from service.decay import Decay
from service.feedback import Feedback, Sent
from service.histories import Histories, Records
from service.ports import Amendment
from service.pseudonyms import Pseudonyms
from service.readers import Event, Kind, Record, taken
from service.storage import AsyncStore
from service.telemetry import Telemetry
from tests.service.fakes import HOUR, NOW, FakeClock, FlakyStore

TTL_S, HALF_LIFE_S = 24 * HOUR, HOUR
DECAY = Decay(HALF_LIFE_S)
PSEUDONYMS = Pseudonyms(lambda: b"key")


def an_event(id: str = "e1", **fields: Any) -> Event:  # noqa: A002 (the field's own name)
    """Build an event: a click on N1 just now, where nothing else is said."""
    kind = fields.pop("kind", Kind.CLICK)
    return Event(kind, id, fields.pop("at", NOW), tuple(fields.pop("ids", ["N1"])), **fields)


def a_record(*events: Event, now: float = NOW) -> Record:
    """Build the record of events that came one by one."""
    record = Record()
    for event in events:
        raw = taken(record, [event], now=now, ttl_s=TTL_S).raw
        record = record if raw is None else Record.of(raw)
    return record


def sent(*ids: str, user: str = "U1", **fields: Any) -> list[Sent]:
    """Build events of one reader."""
    return [Sent(user, an_event(i, **fields)) for i in ids]


def a_feedback(
    store: FlakyStore,
    executor: Executor,
    clock: FakeClock,
    telemetry: Telemetry | None = None,
    *,
    known: Container[str] | None = None,
    pseudonyms: Pseudonyms = PSEUDONYMS,
    ttl_s: float = TTL_S,
) -> Feedback:
    """Build what takes events to a store; all articles are known, or those that are named."""
    return Feedback(
        AsyncStore(store, executor),
        pseudonyms,
        DECAY,
        clock,
        telemetry or Telemetry(),
        lambda ids: [known is None or i in known for i in ids],
        ttl_s=ttl_s,
    )


def some_records(
    store: FlakyStore, executor: Executor, clock: FakeClock, **options: Any
) -> Records:
    """Build what reads them again."""
    return Records(
        AsyncStore(store, executor),
        options.get("pseudonyms", PSEUDONYMS),
        clock,
        options.get("telemetry") or Telemetry(),
        ttl_s=TTL_S,
    )


def a_histories(
    store: FlakyStore, executor: Executor, clock: FakeClock, **options: Any
) -> Histories:
    """Build what tells requests of them."""
    return Histories(
        some_records(store, executor, clock, **options),
        options.get("is_lost", lambda: False),
        most=50,
        timeout_s=options.get("timeout_s", 10.0),
    )


def keep(store: FlakyStore, events: Sequence[Event], user: str = "U1", now: float = NOW) -> None:
    """Write a reader's record as another process would."""
    keep_raw(store, a_record(*events, now=now).to_bytes(), user)


def keep_raw(store: FlakyStore, raw: bytes, user: str = "U1") -> None:
    """Write these very bytes as a reader's record."""
    pseudonym = PSEUDONYMS.of(user)
    store.inner.amend(
        [pseudonym],
        lambda _: Amendment({pseudonym: raw}, {}, {}),
        expires_at=NOW + TTL_S,
        now=NOW,
    )


def record_of(store: FlakyStore, user: str = "U1") -> Record:
    """Read what a store keeps of a reader."""
    raw = store.inner.reader(PSEUDONYMS.of(user))
    return Record() if raw is None else Record.of(raw)
