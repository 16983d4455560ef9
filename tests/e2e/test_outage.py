"""Redis absent, hung, gone, or back without its data: reads go on, writes wait for nobody."""

import json
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.adapters.stores import PATIENT_TIMEOUT_S
from tests.builders import a_catalogue
from tests.faults.requests import ROUTES
from tests.problem_shape import check_log
from tests.redis_server import RedisServer
from tests.service.events import a_click
from tests.serving import Service, degraded, ids_of, percentile, serving
from tests.waiting import wait_until

READS = 600
QUICK_S = 0.25
PAUSE_S = 2.0
AT_ONCE = 8
# What another write before it, in the same thread of the store, may cost besides.
MARGIN_S = 0.5
NEED_THE_STORE = {
    "PUT /v1/news/{id}",
    "GET /v1/news/{id}",
    "DELETE /v1/news/{id}",
    "POST /v1/news:batch",
    "GET /v1/news",
    "POST /v1/feedback",
    "GET /v1/users/{id}",
    "DELETE /v1/users/{id}",
}
SANE_EXITS = {0, -signal.SIGTERM}


@pytest.fixture
def service(own_redis: RedisServer, tiny_bundle: Path, tmp_path: Path) -> Iterator[Service]:
    """Serve eight articles from a Redis that the test may break."""
    with serving(tiny_bundle, own_redis.url, tmp_path) as running:
        for article in a_catalogue(8):
            body = {"title": article.title, "topic": article.topic}
            assert running.client.put(f"/v1/news/{article.id}", json=body).status_code == 200
        wait_until(lambda: len(_shown(running)) == 8, 5)
        yield running
        assert running.is_running()
        check_log(running.log())


def test_without_redis_at_the_start_it_waits_and_says_so(
    own_redis: RedisServer, tiny_bundle: Path, tmp_path: Path
) -> None:
    """Alive, not ready, quick to refuse; ready without help once Redis is there."""
    own_redis.kill()
    with serving(tiny_bundle, own_redis.url, tmp_path, ready=False) as service:
        service.wait_for("/health/live")
        unready = service.client.get("/health/ready")
        assert (unready.status_code, unready.json()["reasons"][0]) == (503, "no_snapshot")
        for _ in range(20):
            answer, took = _timed(service, "POST", "/v1/recommendations", json={})
            check_refused(answer, own_redis)
            assert took < QUICK_S
        assert service.is_running()
        own_redis.start()
        service.wait_for("/health/ready", timeout_s=5)
        assert service.client.post("/v1/recommendations", json={}).json()["degraded"] == []
        check_log(service.log())


def test_a_hung_redis_slows_no_read(service: Service, own_redis: RedisServer) -> None:
    """Connections are open and nothing answers: reads go on from memory, under writes too."""
    with own_redis.paused(), _writing(service.url) as written:
        took = [_timed(service, "POST", "/v1/recommendations", json={}) for _ in range(READS)]
        wait_until(lambda: degraded(service) == ["stale"], 2)
        assert {answer.status_code for answer, _ in took} == {200}
        assert percentile([seconds for _, seconds in took], 99) < QUICK_S
        time.sleep(PAUSE_S)
    assert written
    assert {status for status, _ in written} == {503}
    assert max(seconds for _, seconds in written) < PATIENT_TIMEOUT_S + MARGIN_S
    wait_until(lambda: degraded(service) == [], 5)
    assert service.client.put("/v1/news/N1", json={"title": "x"}).status_code == 200


def test_a_reader_whose_history_is_out_of_reach_is_answered_as_one_unknown(
    service: Service, own_redis: RedisServer
) -> None:
    """At once and with the reason, while the store hangs and when it is known to be lost."""
    assert service.client.post("/v1/feedback", json=[a_click()]).json()["accepted"] == 1
    asked = {"json": {"user_id": "reader-1"}}
    known, _ = _timed(service, "POST", "/v1/recommendations", **asked)
    assert (known.json()["strategy"], known.json()["degraded"]) == ("personal", [])
    with own_redis.paused():
        for _ in range(10):
            answer, took = _timed(service, "POST", "/v1/recommendations", **asked)
            assert (answer.status_code, took < QUICK_S) == (200, True)
            assert answer.json()["strategy"] != "personal"
            assert answer.json()["degraded"][0] == "history"
    own_redis.kill()
    answer, took = _timed(service, "POST", "/v1/recommendations", **asked)
    assert (answer.status_code, answer.json()["degraded"][0]) == (200, "history")
    assert took < QUICK_S


def test_during_an_outage_what_needs_the_store_is_503(
    service: Service, own_redis: RedisServer
) -> None:
    """Quickly, with a time to try again, and without a word about where the store is.

    All other routes answer from memory.
    """
    own_redis.kill()
    lines = {"POST /v1/news:batch": {"id": "B1", "title": "x"}, "POST /v1/feedback": a_click()}
    for route, body in ROUTES.items():
        method, path = route.split()
        sent: dict[str, Any] = {"json": body} if body is not None else {}
        if route in lines:
            kind = {"content-type": "application/x-ndjson"}
            sent = {"content": json.dumps(lines[route]), "headers": kind}
        answer, took = _timed(service, method, path.replace("{id}", "N1"), **sent)
        assert took < QUICK_S + MARGIN_S, route
        if route in NEED_THE_STORE:
            check_refused(answer, own_redis)
        else:
            assert answer.status_code == 200, f"{route}: {answer.text}"
    assert len(_shown(service)) == 8
    assert len(ids_of(service.client.get("/v1/latest?collapse=false"))) == 8


def test_a_redis_that_lost_its_data_is_believed(service: Service, own_redis: RedisServer) -> None:
    """The store is the truth, even an empty one: never a 500, and publishing fills it again."""
    own_redis.restart()  # this one keeps nothing on disk
    statuses = set()

    def is_empty() -> bool:
        answer = service.client.post("/v1/recommendations", json={"history": ["N1"]})
        statuses.add(answer.status_code)
        return answer.json()["items"] == []

    wait_until(is_empty, 5)
    assert statuses == {200}
    assert service.client.get("/v1/news/N1").status_code == 404
    assert service.client.put("/v1/news/N1", json={"title": "x"}).status_code == 200
    wait_until(lambda: _shown(service) == ["N1"], 5)


def test_sigterm_lets_requests_in_flight_finish(tiny_bundle: Path, tmp_path: Path) -> None:
    """A batch under way is answered whole; nobody new is let in; the exit code is sane."""
    store = f"sqlite:///{tmp_path}/store.sqlite"
    lines = "\n".join(f'{{"id": "N{i}", "title": "Cup {i}"}}' for i in range(9_000))
    headers = {"content-type": "application/x-ndjson"}
    with serving(tiny_bundle, store, tmp_path) as service, ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(
            httpx.post, f"{service.url}/v1/news:batch", content=lines, headers=headers, timeout=30
        )
        wait_until(lambda: len(_shown(service)) > 0, 10)
        assert not under_way.done()
        assert service.stop() in SANE_EXITS
        assert under_way.result().json() == {"written": 9_000, "unchanged": 0, "rejected": []}
        check_log(service.log())
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{service.url}/health/live")
        service.start()
        assert service.client.get("/v1/news/N8999").status_code == 200


def check_refused(answer: httpx.Response, redis: RedisServer) -> None:
    """Fail unless an answer is a 503 with `Retry-After` that does not say where Redis is."""
    assert answer.status_code == 503, answer.text
    assert answer.headers["retry-after"]
    assert answer.json()["code"] in {"store_unavailable", "not_ready"}
    assert str(redis.port) not in answer.text
    assert "127.0.0.1" not in answer.text


@contextmanager
def _writing(url: str) -> Iterator[list[tuple[int, float]]]:
    """Publish from several threads for the block; give status and duration of each write."""
    written: list[tuple[int, float]] = []
    is_over = threading.Event()

    def write(number: int) -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            while not is_over.is_set():
                started = time.monotonic()
                answer = client.put(f"/v1/news/W{number}", json={"title": "x"})
                written.append((answer.status_code, time.monotonic() - started))

    threads = [threading.Thread(target=write, args=(i,)) for i in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    try:
        yield written
        # Only what began and ended in the outage counts.
        written = list(written)
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def _timed(
    service: Service, method: str, path: str, **body: object
) -> tuple[httpx.Response, float]:
    started = time.monotonic()
    answer = service.client.request(method, path, **body)  # type: ignore[arg-type]
    return answer, time.monotonic() - started


def _shown(service: Service) -> list[str]:
    return ids_of(service.client.post("/v1/recommendations", json={"n": 200, "collapse": False}))
