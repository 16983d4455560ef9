"""Made-up events of readers: bodies to send, and what the store must hold when all are taken."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson

from benchmarks.comparison import BenchmarkError
from service.decay import Decay
from service.feedback import Sent
from service.ports import Store
from service.pseudonyms import Pseudonyms
from service.readers import Event, Kind, Record

# How many of a hundred events are of each kind.
SHARES = {Kind.IMPRESSION: 40, Kind.CLICK: 35, Kind.READ: 20, Kind.HIDE: 5}
SHOWN = 10
# All events lie within these hours, the last of them now.
HOURS = 6.0
TWICE, LATE = 0.1, 0.1
# How many events later what comes late or again is sent, at most.
DISPLACED = 2_000
AGREEMENT = 1e-9


@dataclass(frozen=True, slots=True)
class Plan:
    """Events, each once and in the order of their times, and the order of sending by number."""

    events: Sequence[Sent]
    order: Sequence[int]

    @property
    def repeated(self) -> int:
        """Return how many are sent a second time."""
        return len(self.order) - len(self.events)

    def bodies(self, lines: int) -> list[bytes]:
        """Return NDJSON bodies of so many lines, in the order of sending."""
        starts = range(0, len(self.order), lines)
        return [self._body(self.order[start : start + lines]) for start in starts]

    def _body(self, numbers: Sequence[int]) -> bytes:
        return b"\n".join(orjson.dumps(_wire(self.events[number])) for number in numbers)


def made_up_events(
    count: int, *, readers: int, articles: Sequence[str], now: datetime, seed: int
) -> Plan:
    """Make up what readers were shown and did; a tenth comes late, and a tenth twice."""
    random = np.random.default_rng(seed)
    kinds = random.choice(len(SHARES), count, p=np.array(list(SHARES.values())) / 100)
    whose = random.integers(readers, size=count)
    shown, anything = dict[int, tuple[str, tuple[str, ...]]](), tuple(articles)
    events = []
    for number, (reader, kind) in enumerate(zip(whose, kinds, strict=True)):
        at = now - timedelta(hours=HOURS) * (1 - (number + 1) / count)
        if (one := list(SHARES)[kind]) is Kind.IMPRESSION:
            drawn = random.integers(len(articles), size=SHOWN)
            request, ids = f"r{number}", tuple(dict.fromkeys(articles[i] for i in drawn))
            shown[reader] = (request, ids)
        else:
            request, among = shown.get(reader, ("", anything))
            ids = (among[random.integers(len(among))],)
        event = Event(one, f"e{number}", at.timestamp(), ids, request)
        events.append(Sent(f"reader-{reader}", event))
    return Plan(events, _order(count, random))


def check_held(store: Store, plan: Plan, decay: Decay, now: float) -> dict[str, float]:
    """Compare a store with the events that were sent to it, and to no other readers.

    Return the size of a record in bytes, mean and highest. Raise BenchmarkError where an event is
    lost, there twice or not as it was sent, and where sums of clicks are not those of each once.
    """
    due: dict[str, list[Event]] = {}
    pseudonyms = Pseudonyms(lambda: store.secret("reader"))
    for user_id, event in plan.events:
        due.setdefault(user_id, []).append(event)
    whose = {pseudonyms.of(user_id): events for user_id, events in due.items()}
    raw = {one: record for batch in store.readers() for one, record in batch.items()}
    if raw.keys() != whose.keys():
        raise BenchmarkError(f"{len(raw)} readers are kept, {len(whose)} gave feedback")
    for pseudonym, record in raw.items():
        if sorted(Record.of(record).events) != sorted(whose[pseudonym]):
            raise BenchmarkError("a reader's events are not those that were sent, each once")
    check_clicks(store, [event for _, event in plan.events], decay, now)
    sizes = [len(record) for record in raw.values()]
    return {"record_bytes_mean": round(sum(sizes) / len(sizes), 1), "record_bytes_max": max(sizes)}


def check_clicks(store: Store, events: Iterable[Event], decay: Decay, now: float) -> None:
    """Raise BenchmarkError unless a store has counted the clicks of these events, each once."""
    found = store.clicks(decay.live(now), ()).sums
    kept, due = {span.name: sums for span, sums in found.items() if sums}, _sums(events, decay)
    if {s: of.keys() for s, of in kept.items()} != {s: of.keys() for s, of in due.items()}:
        raise BenchmarkError("clicks are counted of other articles than those clicked")
    for span, sums in due.items():
        for article_id, sum_ in sums.items():
            if not math.isclose(kept[span][article_id], sum_, rel_tol=AGREEMENT):
                raise BenchmarkError("the sums of clicks are not those of every click once")


def _order(count: int, random: np.random.Generator) -> list[int]:
    """Draw the order of sending: some come later than their time, some once more."""
    places = np.arange(count, dtype=float)
    late = random.random(count) < LATE
    places[late] += random.uniform(1, DISPLACED, late.sum())
    twice = random.permutation(count)[: round(TWICE * count)]
    again = places[twice] + random.uniform(1, DISPLACED, len(twice))
    numbers = np.concatenate([np.arange(count), twice])
    return [int(n) for n in numbers[np.argsort(np.concatenate([places, again]), kind="stable")]]


def _wire(sent: Sent) -> dict[str, Any]:
    event = sent.event
    about = {"items": event.ids} if event.kind is Kind.IMPRESSION else {"news_id": event.ids[0]}
    named = {"request_id": event.request} if event.request else {}
    at = datetime.fromtimestamp(event.at, UTC).isoformat()
    told = {"event_id": event.id, "type": event.kind, "user_id": sent.user_id, "at": at}
    return {**told, **about, **named}


def _sums(events: Iterable[Event], decay: Decay) -> dict[str, dict[str, float]]:
    """Add the weights of clicks up as they should be, by span and article, exactly rounded."""
    weights: dict[str, dict[str, list[float]]] = {}
    for event in events:
        if event.kind is Kind.CLICK:
            of_span = weights.setdefault(decay.span(event.at).name, {})
            of_span.setdefault(event.ids[0], []).append(decay.weight(event.at))
    return {span: {i: math.fsum(one) for i, one in of.items()} for span, of in weights.items()}
