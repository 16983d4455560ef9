"""SIGKILL of the service, of Redis, of a refresh, at seeded random moments under load.

What was acknowledged is there afterwards, to read and to recommend, in the version acknowledged
or a later one.
"""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from contract.bundle import open_bundle
from service.adapters.stores import open_store
from service.refresh import CHUNK
from tests.builders import WORDS, a_title
from tests.faults.crowd import MEMBERS, Crowd
from tests.problem_shape import check_log
from tests.redis_server import RedisServer
from tests.serving import (
    ROOT,
    Service,
    degraded,
    environment,
    ids_of,
    newsbert,
    serving,
    wait_until,
)

SURELY_IN_FLIGHT, SHARE_OF_ROUNDS = 4, 0.8
# When a kill comes, in seconds after the writers started.
EARLIEST_S, LATEST_S = 0.05, 0.35
OUTAGE_S = 0.3
# How long a refresh runs between two looks at what it has stored: about a chunk.
SLICE_S = 0.02
PAGE = 200
ROUNDS = [10, pytest.param(50, marks=pytest.mark.slow)]
TOPICS = list(WORDS)


class Writers(Crowd):
    """Publish, each its own articles twice.

    `acknowledged` maps an id to the number in the last title that was answered with 200.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self.acknowledged: dict[str, int] = {}
        super().__init__(url, prefix)

    def turn(self, client: httpx.Client, member: int, number: int) -> None:
        """Publish the next version."""
        article_id = f"{self.prefix}-{member}-{number // 2}"
        body = {"title": a_title(TOPICS[number % 4], number)}
        answer = self.ask(client, "PUT", f"/v1/news/{article_id}", body)
        if answer is not None and answer.status_code == 200:
            self.acknowledged[article_id] = number


@pytest.mark.parametrize("rounds", ROUNDS)
def test_kills_of_the_service_lose_nothing_acknowledged(
    rounds: int, store: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    """The next process has it all."""
    moments, busy, everything = random.Random(rounds), 0, dict[str, int]()
    with serving(tiny_bundle, store, tmp_path) as service:
        for number in range(rounds):
            writers = Writers(service.url, f"r{number}")
            time.sleep(moments.uniform(EARLIEST_S, LATEST_S))
            in_flight = writers.in_flight
            service.kill()
            writers.stop()
            busy += in_flight >= SURELY_IN_FLIGHT
            service.start()
            assert writers.statuses <= {200}
            check_all_there(service, writers.acknowledged)
            everything.update(writers.acknowledged)
        check_recommendable(service, list(everything))
    assert busy >= SHARE_OF_ROUNDS * rounds, "too few kills met writes in flight"
    assert len(everything) > rounds * MEMBERS


@pytest.mark.parametrize("rounds", ROUNDS)
def test_kills_of_redis_lose_nothing_acknowledged(
    rounds: int, durable_redis: RedisServer, tiny_bundle: Path, tmp_path: Path
) -> None:
    """The service stays up: reads are answered all the while, writes are refused meanwhile."""
    moments, busy = random.Random(rounds), 0
    with serving(tiny_bundle, durable_redis.url, tmp_path) as service:
        for number in range(rounds):
            writers = Writers(service.url, f"r{number}")
            time.sleep(moments.uniform(EARLIEST_S, LATEST_S))
            in_flight = writers.in_flight
            durable_redis.kill()
            check_reads_go_on(service)
            busy += in_flight >= SURELY_IN_FLIGHT
            durable_redis.start()
            wait_until(lambda: degraded(service) == [], 10)
            writers.stop()
            assert writers.statuses == {200, 503}
            wait_until(lambda ids=list(writers.acknowledged): _all_shown(service, ids), 5)
            check_all_there(service, writers.acknowledged)
        check_log(service.log())
    assert busy >= SHARE_OF_ROUNDS * rounds, "too few kills met writes in flight"


def test_a_killed_refresh_goes_on_where_it_was(
    store: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    """Nothing is encoded again but the chunk that was under way."""
    count = 32 * CHUNK
    file, flags = tmp_path / "articles.jsonl", ("--bundle", tiny_bundle, "--store", store)
    lines = (json.dumps({"id": f"N{i}", "title": f"Cup of season {i}"}) for i in range(count))
    file.write_text("\n".join(lines))
    target = random.Random(5).randrange(1, count // 4)
    with _counting(store, tiny_bundle) as stored:
        _kill_when(_refresh_in_background(file, flags), lambda: stored() >= target)
        survived = stored()
        assert target <= survived < count
        words = newsbert("refresh", file, *flags).stdout.replace(",", "").split()
        # As in: 16,384 articles: 6,144 written, 6,144 texts encoded, 0.5 s
        assert (int(words[0]), int(words[2]), int(words[4])) == (count, *(2 * [count - survived]))
        assert stored() == count
    assert " 0 written, 0 texts encoded" in newsbert("refresh", file, *flags).stdout


def test_the_check_is_seen_to_fail(tiny_bundle: Path, tmp_path: Path) -> None:
    """A Redis that writes nothing to disk loses what was acknowledged, and that is found out."""
    forgetful = RedisServer(tmp_path / "redis")
    try:
        with serving(tiny_bundle, forgetful.url, tmp_path) as service:
            writers = Writers(service.url, "r")
            wait_until(lambda: len(writers.acknowledged) > 2 * MEMBERS, 30)
            forgetful.restart()
            writers.stop()
            with pytest.raises(AssertionError, match="is lost"):
                check_all_there(service, writers.acknowledged)
    finally:
        forgetful.kill()


def check_all_there(service: Service, acknowledged: dict[str, int]) -> None:
    """Fail unless every article is stored as acknowledged, or as a later write left it."""
    for article_id, number in acknowledged.items():
        answer = service.client.get(f"/v1/news/{article_id}")
        assert answer.status_code == 200, f"{article_id} was acknowledged and is lost"
        assert int(answer.json()["title"].split()[-1]) >= number, f"{article_id} is an older one"
    check_recommendable(service, list(acknowledged))


def check_recommendable(service: Service, ids: list[str]) -> None:
    """Fail unless every article may be recommended."""
    assert _all_shown(service, ids)


def check_reads_go_on(service: Service) -> None:
    """Fail unless reads are answered during an outage, and soon say that they may be old."""
    assert wait_until(lambda: degraded(service) == ["stale"], 1.5) < 1.5
    end = time.monotonic() + OUTAGE_S
    while time.monotonic() < end:
        assert degraded(service) == ["stale"]
        ids_of(service.client.post("/v1/rank", json={"candidates": ["r0-0-0"]}))


def _all_shown(service: Service, ids: list[str]) -> bool:
    for start in range(0, len(ids), PAGE):
        page = ids[start : start + PAGE]
        body = {"candidates": page, "n": PAGE, "collapse": False}
        if set(ids_of(service.client.post("/v1/recommendations", json=body))) != set(page):
            return False
    return True


def _refresh_in_background(file: Path, flags: Sequence[object]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "newsbert", "refresh", str(file), *map(str, flags)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _kill_when(process: "subprocess.Popen[bytes]", reached: Callable[[], bool]) -> None:
    """Kill the process once it has reached that; it stands still while it is looked at.

    It would otherwise be done before a busy machine comes to the second look.
    """
    try:
        deadline = time.monotonic() + 60
        while not reached():
            assert process.poll() is None, "it ended before there was enough to see"
            assert time.monotonic() < deadline
            process.send_signal(signal.SIGCONT)
            time.sleep(SLICE_S)
            process.send_signal(signal.SIGSTOP)
    finally:
        process.kill()
        process.wait()


@contextmanager
def _counting(store: str, bundle: Path) -> Iterator[Callable[[], int]]:
    """Count what is stored, over one connection: a frozen writer's lock lets none be opened."""
    namespace, opened = open_bundle(bundle).namespace, open_store(store)
    try:
        yield lambda: sum(len(batch) for batch in opened.scan(namespace=namespace))
    finally:
        opened.close()
