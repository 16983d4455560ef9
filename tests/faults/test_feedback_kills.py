"""SIGKILL of the service and of Redis while readers give feedback, at seeded random moments.

What was acknowledged is in its reader's record once, and every click in any record is counted once;
what is sent again after it is taken or known, and nothing is counted a second time.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.comparison import BenchmarkError
from benchmarks.events import check_clicks
from service.decay import Decay
from service.ports import Amendment, Store
from service.pseudonyms import Pseudonyms
from service.readers import Event, Kind, Record
from service.settings import Settings
from tests.faults.crowd import MEMBERS, Crowd
from tests.problem_shape import check_log
from tests.redis_server import RedisServer
from tests.service.events import a_click, an_impression
from tests.serving import Service, degraded, ids_of, serving
from tests.stores import durable_store
from tests.waiting import wait_until

SURELY_IN_FLIGHT, SHARE_OF_ROUNDS = 4, 0.8
# Fewer than senders: all the time two of them write the same reader's record.
READERS = 5
# When a kill comes, in seconds after the senders started.
EARLIEST_S, LATEST_S = 0.05, 0.35
ROUNDS = [5, pytest.param(20, marks=pytest.mark.slow)]
AT_ONCE = 500
ARTICLES = [f"N{n}" for n in range(40)]
DECAY = Decay(3_600 * float(Settings.model_fields["popularity_half_life_h"].default))
Body = dict[str, Any]


class Senders(Crowd):
    """Send events of a few readers, some of them twice.

    `sent` holds every event by its id, `acknowledged` the ids of those answered with 200.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self.sent: dict[str, Body] = {}
        self.acknowledged: set[str] = set()
        self._mine = [list[Body]() for _ in range(MEMBERS)]
        self._moments = [random.Random(member) for member in range(MEMBERS)]
        super().__init__(url, prefix)

    def turn(self, client: httpx.Client, member: int, number: int) -> None:
        """Send some new events, and one that was sent before."""
        moments, mine = self._moments[member], self._mine[member]
        reader = f"{self.prefix}-{moments.randrange(READERS)}"
        fresh = some_events(f"{self.prefix}-{member}-{number}", reader)
        again = moments.sample(mine, 1) if mine else []
        mine += fresh
        ids = {event["event_id"]: event for event in (*fresh, *again)}
        with self.lock:
            self.sent |= ids
        answer = self.ask(client, "POST", "/v1/feedback", [*fresh, *again])
        if answer is not None and answer.status_code == 200:
            assert answer.json()["rejected"] == []
            self.acknowledged |= ids.keys()


@pytest.mark.parametrize("rounds", ROUNDS)
def test_kills_of_the_service_count_every_event_once(
    rounds: int, store: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    """The next process knows what the last one acknowledged."""

    def kill(service: Service, senders: Senders) -> None:
        service.kill()
        senders.stop()
        assert senders.statuses <= {200}
        # What the killed process had sent to Redis is over and done with by then.
        service.start()

    with serving(tiny_bundle, store, tmp_path) as service, opened(store) as kept:
        check_kills(rounds, service, kept, kill)


@pytest.mark.parametrize("rounds", ROUNDS)
def test_kills_of_redis_count_every_event_once(
    rounds: int, durable_redis: RedisServer, tiny_bundle: Path, tmp_path: Path
) -> None:
    """The service stays up and refuses meanwhile; it does not write twice what it wrote before."""

    def kill(service: Service, senders: Senders) -> None:
        durable_redis.kill()
        wait_until(partial(senders.statuses.__contains__, 503))
        durable_redis.start()
        wait_until(lambda: degraded(service) == [])
        senders.stop()
        assert 503 in senders.statuses <= {200, 503}

    url = durable_redis.url
    with serving(tiny_bundle, url, tmp_path) as service, opened(url) as kept:
        check_kills(rounds, service, kept, kill)


def test_lost_events_are_seen(tiny_bundle: Path, tmp_path: Path) -> None:
    """A Redis that writes nothing to disk loses what was acknowledged, and that is found out."""
    forgetful = RedisServer(tmp_path / "redis")
    try:
        with serving(tiny_bundle, forgetful.url, tmp_path) as service:
            senders = Senders(service.url, "r")
            wait_until(lambda: len(senders.acknowledged) > 2 * MEMBERS)
            forgetful.restart()
            senders.stop()
            with opened(forgetful.url) as kept, pytest.raises(AssertionError, match="are lost"):
                check_counted_once(kept, senders.acknowledged)
    finally:
        forgetful.kill()


@pytest.mark.parametrize("times", [0, 2])
def test_clicks_not_counted_once_are_seen(times: int, store: str) -> None:
    """Not at all, or twice: the sums tell."""
    event = Event(Kind.CLICK, "e1", time.time(), ("N1",))
    weights = {DECAY.span(event.at): {"N1": times * DECAY.weight(event.at)}}
    record = Record().with_events([event]).to_bytes()
    with opened(store) as kept:
        kept.amend(
            ["ab" * 16],
            lambda _: Amendment({"ab" * 16: record}, weights, {}),
            expires_at=event.at + 3_600,
            now=event.at,
        )
        with pytest.raises(BenchmarkError, match="clicks"):
            check_counted_once(kept, {"e1"})


def check_kills(
    rounds: int, service: Service, kept: Store, kill: Callable[[Service, Senders], None]
) -> None:
    """Kill as often under senders, whom `kill` stops; fail unless every event counts once."""
    publish(service)
    moments, busy, everything = random.Random(rounds), 0, dict[str, Body]()
    for number in range(rounds):
        senders = Senders(service.url, f"r{number}")
        time.sleep(moments.uniform(EARLIEST_S, LATEST_S))
        busy += senders.in_flight >= SURELY_IN_FLIGHT
        kill(service, senders)
        check_counted_once(kept, senders.acknowledged)
        everything.update(senders.sent)
        send_again(service, senders)
        check_counted_once(kept, everything, exactly=True)
    check_log(service.log())
    assert busy >= SHARE_OF_ROUNDS * rounds, "too few kills met feedback in flight"


def publish(service: Service) -> None:
    """Publish what is clicked: on articles that the service does not know clicks count nothing."""
    lines = "\n".join(f'{{"id": "{i}", "title": "Cup {i}"}}' for i in ARTICLES)
    headers = {"content-type": "application/x-ndjson"}
    answer = service.client.post("/v1/news:batch", content=lines, headers=headers)
    assert answer.json()["written"] == len(ARTICLES)
    asked = {"candidates": ARTICLES, "n": len(ARTICLES), "collapse": False}
    wait_until(
        lambda: len(ids_of(service.client.post("/v1/recommendations", json=asked))) == len(ARTICLES)
    )


def some_events(number: str, user_id: str) -> list[Body]:
    """Make what a reader was shown and did: one of each kind."""
    shown = random.Random(number).sample(ARTICLES, 3)
    base = {"user_id": user_id, "at": datetime.now(UTC).isoformat()}
    actions = [
        a_click(event_id=f"{number}-{type_[0]}", type=type_, news_id=article_id, **base)
        for type_, article_id in zip(("click", "read", "hide"), shown, strict=True)
    ]
    return [an_impression(1, *shown, event_id=f"{number}-i", **base), *actions]


def send_again(service: Service, senders: Senders) -> None:
    """Send everything once more; what was acknowledged must be known, all else known or taken."""
    events = list(senders.sent.values())
    told = Counter[str]()
    for start in range(0, len(events), AT_ONCE):
        answer = service.client.post("/v1/feedback", json=events[start : start + AT_ONCE])
        assert answer.status_code == 200, answer.text
        assert answer.json()["rejected"] == []
        told.update({name: answer.json()[name] for name in ("accepted", "duplicates")})
    assert told.total() == len(events)
    assert told["duplicates"] >= len(senders.acknowledged)


def check_counted_once(
    store: Store, event_ids: "set[str] | dict[str, Body]", *, exactly: bool = False
) -> None:
    """Fail unless the events are in records once, and clicks are counted as records have them.

    With `exactly`, each must be as it was sent, in the record of its reader, and there no others.
    """
    raw = {one: record for batch in store.readers() for one, record in batch.items()}
    records = {pseudonym: Record.of(one).events for pseudonym, one in raw.items()}
    times = Counter(event.id for events in records.values() for event in events)
    lost = [one for one in event_ids if one not in times]
    assert not lost, f"{len(lost)} of {len(event_ids)} acknowledged events are lost"
    assert set(times.values()) <= {1}, "an event is there twice"
    every = [event for events in records.values() for event in events]
    check_clicks(store, every, DECAY, time.time())
    if exactly:
        assert isinstance(event_ids, dict)
        pseudonyms = Pseudonyms(lambda: store.secret("reader"))
        due = {(pseudonyms.of(one["user_id"]), _event(one)) for one in event_ids.values()}
        assert {(who, event) for who, events in records.items() for event in events} == due


def _event(body: Body) -> Event:
    ids = tuple(body["items"]) if "items" in body else (body["news_id"],)
    at = datetime.fromisoformat(body["at"]).timestamp()
    return Event(Kind(body["type"]), body["event_id"], at, ids)


@contextmanager
def opened(url: str) -> Iterator[Store]:
    """Open a store beside the service."""
    store = durable_store(url)
    try:
        yield store
    finally:
        store.close()
