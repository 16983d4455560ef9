"""Feedback: events of readers to the store, many requests' together, each event counted once.

What is acknowledged is stored. An event sent again is recognised in its reader's record, which is
written in one step with the clicks that it counts.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import compress
from typing import Final, NamedTuple

from service.decay import Decay
from service.errors import Overloaded
from service.ports import Amendment, Clock, Span
from service.pseudonyms import Pseudonyms
from service.readers import AHEAD_S, Event, Kind, Record, Verdict, taken
from service.storage import AsyncStore
from service.telemetry import Telemetry

# Events of one write: enough to share what a commit costs, few enough that readers who are being
# answered hardly wait for the thread that merges them. It then rests for so many times as long as
# it computed (benchmarks/results/feedback.json).
AT_ONCE: Final = 32
REST: Final = 4.0
# A record outlives its events by so much: an event from a little ahead, or by another process'
# clock, is known for as long as it would be taken.
MARGIN_S: Final = 3 * AHEAD_S
# Events that wait; what comes beyond them is shed.
MOST_WAITING: Final = 20_000


class Sent(NamedTuple):
    """An event, and whose it is."""

    user_id: str
    event: Event


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """Events of one request that wait to be written, and where their verdicts go."""

    sent: Sequence[Sent]
    verdicts: "asyncio.Future[list[Verdict]]"

    def tell(self, verdicts: list[Verdict]) -> None:
        """Answer whoever waits; where the client has gone that is nobody."""
        if not self.verdicts.done():
            self.verdicts.set_result(verdicts)

    def fail(self, error: Exception) -> None:
        """Raise an error where somebody waits."""
        if not self.verdicts.done():
            self.verdicts.set_exception(error)


class Feedback:
    """Takes events of any number of requests at once and writes them in turn, in groups.

    `are_known` says of articles whether there are any such: on others clicks are kept, and count
    for nothing, or made-up ids would fill the store.
    """

    def __init__(
        self,
        store: AsyncStore,
        pseudonyms: Pseudonyms,
        decay: Decay,
        clock: Clock,
        telemetry: Telemetry,
        are_known: Callable[[Sequence[str]], Iterable[bool]],
        *,
        ttl_s: float,
    ) -> None:
        self._store = store
        self._pseudonyms = pseudonyms
        self._decay = decay
        self._clock = clock
        self._telemetry = telemetry
        self._are_known = are_known
        self._ttl_s = ttl_s
        self._queue = deque[_Waiting]()
        self._events_waiting = 0
        self._writer: asyncio.Task[None] | None = None

    async def take(self, sent: Sequence[Sent]) -> list[Verdict]:
        """Return what became of each event, once those accepted are stored.

        Raise Overloaded when too many wait, and StoreError when they could not be written: some may
        be all the same, and are duplicates when they are sent again.
        """
        if self._events_waiting + len(sent) > MOST_WAITING:
            raise Overloaded("too many events wait to be written")
        self._events_waiting += len(sent)
        try:
            parts = [sent[start : start + AT_ONCE] for start in range(0, len(sent), AT_ONCE)]
            return [verdict for part in parts for verdict in await self._taken(part)]
        finally:
            self._events_waiting -= len(sent)

    async def _taken(self, sent: Sequence[Sent]) -> list[Verdict]:
        waiting = _Waiting(sent, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())
        try:
            return await waiting.verdicts
        except asyncio.CancelledError:
            # Whoever has gone is told of nothing, and takes nobody's place in the queue.
            with suppress(ValueError):
                self._queue.remove(waiting)
            raise

    async def _write_all(self) -> None:
        while self._queue:
            group = self._next_group()
            sent = [one for waiting in group for one in waiting.sent]
            try:
                found, computed_s = await self._store.run(partial(self._timed, sent))
            except Exception as error:  # noqa: BLE001 - whoever waits is told, whatever it is
                for one in group:
                    one.fail(error)
                continue
            verdicts = iter(found)
            for one in group:
                one.tell([next(verdicts) for _ in one.sent])
            await asyncio.sleep(REST * computed_s)

    def _next_group(self) -> list[_Waiting]:
        group = [self._queue.popleft()]
        events = len(group[0].sent)
        while self._queue and events + len(self._queue[0].sent) <= AT_ONCE:
            group.append(self._queue.popleft())
            events += len(group[-1].sent)
        return group

    def _timed(self, sent: Sequence[Sent]) -> tuple[list[Verdict], float]:
        # Not by the clock on the wall: while the store is waited for, others compute.
        begun = time.thread_time()
        return self._write(sent), time.thread_time() - begun

    def _write(self, sent: Sequence[Sent]) -> list[Verdict]:
        now = self._clock()
        places: dict[str, list[int]] = {}
        for place, one in enumerate(sent):
            places.setdefault(self._pseudonyms.of(one.user_id), []).append(place)
        known = self._known(one.event for one in sent)
        amendments = self._store.blocking.amend(
            list(places),
            partial(self._amendment, sent, places, known, now),
            expires_at=now + self._ttl_s + MARGIN_S,
            now=now,
        )
        found = {place: told for one in amendments for place, told in one.outcomes.items()}
        verdicts = [Verdict(found[place]) for place in range(len(sent))]
        kinds = (one.event.kind for one in sent)
        for told, events in Counter(zip(kinds, verdicts, strict=True)).items():
            self._telemetry.feedback.labels(*told).inc(events)
        return verdicts

    def _amendment(
        self,
        sent: Sequence[Sent],
        places: Mapping[str, Sequence[int]],
        known: Set[str],
        now: float,
        records: Mapping[str, bytes | None],
    ) -> Amendment:
        """Take the events of some readers into their records; count the clicks that are new."""
        written, outcomes = dict[str, bytes](), dict[int, str]()
        clicks: dict[Span, dict[str, float]] = {}
        for pseudonym, raw in records.items():
            events = [sent[place].event for place in places[pseudonym]]
            record = Record.kept(raw, self._telemetry.rejected)
            after = taken(record, events, now=now, ttl_s=self._ttl_s)
            if after.raw is not None:
                written[pseudonym] = after.raw
            outcomes |= zip(places[pseudonym], after.verdicts, strict=True)
            counted = [event for event in after.taken(events) if _clicked(event) in known]
            self._count(counted, clicks, now)
        return Amendment(written, clicks, outcomes)

    def _known(self, events: Iterable[Event]) -> Set[str]:
        ids = list({article_id for event in events if (article_id := _clicked(event))})
        return set(compress(ids, self._are_known(ids)))

    def _count(
        self, events: Iterable[Event], clicks: dict[Span, dict[str, float]], now: float
    ) -> None:
        for event in events:
            span = self._decay.span(event.at)
            # Of a span that is over, a click weighs nothing any more.
            if span.ends_at > now:
                sums, article_id = clicks.setdefault(span, {}), _clicked(event)
                sums[article_id] = sums.get(article_id, 0.0) + self._decay.weight(event.at)


def _clicked(event: Event) -> str:
    """Return the article that was clicked, an empty text where the event is no click."""
    return event.ids[0] if event.kind is Kind.CLICK else ""
