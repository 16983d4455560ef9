"""Where the time of a request goes: stages told and counted, and nothing of a request left out."""

import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import fmean, median
from types import SimpleNamespace
from typing import cast

import pytest
from fastapi import FastAPI

from benchmarks import stages
from benchmarks.comparison import BenchmarkError
from benchmarks.cpu import idle
from benchmarks.servers import Server, environment
from benchmarks.stages import by_stage, processor_time, settle, table, timed, told
from tests.builders import a_bundle
from tests.service.fakes import PATIENCE_S
from tests.service.web import serving_app

pytestmark = pytest.mark.anyio
RANK = json.dumps({"history": ["N1"], "candidates": ["N2", "N3"]}).encode()


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[FastAPI]:
    """Serve an empty catalogue."""
    a_bundle(tmp_path / "tiny", dim=16)
    async with serving_app(tmp_path / "tiny") as app:
        yield app


def test_headers_are_summarised_stage_by_stage() -> None:
    """Milliseconds become microseconds; stages keep their order."""
    timings = ["body;dur=0.010, total;dur=0.1", "body;dur=0.030, total;dur=0.2"]
    assert by_stage(timings, fmean) == {"body": 20.0, "total": 150.0}
    assert list(by_stage([*timings, timings[0]], median).values()) == [10.0, 100.0]


def test_the_rows_of_a_table_add_up_to_the_request() -> None:
    """What no stage has is the lane's, what is not in process the server's."""
    cpu, wall = {"body": 10.0, "score": 60.0, "total": 90.0}, {"body": 12.0, "total": 80.0}
    rows = table(cpu, wall, 130.0)
    assert {name: row["cpu_us"] for name, row in rows.items()} == {
        "body": 10.0,
        "score": 60.0,
        "lane": 20.0,
        "server": 40.0,
        "request": 130.0,
    }
    assert [row["server_timing_us"] for row in rows.values()] == [12.0, None, None, None, 80.0]


async def test_a_request_is_timed_in_process_by_stage(app: FastAPI) -> None:
    """Each stage of the route costs something, and all together less than the whole."""
    found = await timed(app, "/v1/rank", [RANK], answers=20)
    assert list(found) == ["body", "reader", "filter", "score", "answer", "total"]
    assert 0 < sum(us for name, us in found.items() if name != "total") < found["total"]


async def test_refusals_are_not_timed(app: FastAPI) -> None:
    """They are fast, and no answers."""
    with pytest.raises(BenchmarkError, match="/v1/rank answers 422"):
        await timed(app, "/v1/rank", [b"{}"], answers=1)


@contextmanager
def answering(status: int) -> Iterator[Server]:
    """Answer every request with a status and the same times."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("server-timing", "body;dur=0.01, total;dur=0.1")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield cast("Server", SimpleNamespace(port=server.server_port))
        finally:
            server.shutdown()
            thread.join()


def test_the_service_tells_the_times_of_its_stages() -> None:
    """Medians of what it says with its answers."""
    with answering(200) as server:
        assert told(server, "/v1/rank", [RANK], answers=3) == {"body": 10.0, "total": 100.0}


def test_the_times_of_refusals_are_not_told() -> None:
    """They are no answers, over HTTP either."""
    with (
        answering(422) as server,
        pytest.raises(BenchmarkError, match="/v1/rank answers 422"),
    ):
        told(server, "/v1/rank", [RANK], answers=1)


async def test_a_service_that_is_ready_settles(app: FastAPI) -> None:
    """Once it only waits."""
    await settle(app, patience_s=PATIENCE_S)


async def test_a_service_whose_job_has_ended_never_settles(app: FastAPI) -> None:
    """What it would have built is not built: no time of it is told."""
    ended = asyncio.ensure_future(asyncio.sleep(0))
    await ended
    app.state.running = replace(app.state.running, jobs=(ended,))
    with pytest.raises(BenchmarkError, match="does not settle: background_job_ended"):
        await settle(app, patience_s=0)


def test_a_process_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After as long as all cases may take."""
    monkeypatch.setattr(stages, "LONGEST_S", 0.05)
    with pytest.raises(BenchmarkError, match=r"no stages within 0\.05 s"):
        processor_time(tmp_path, "memory://", "exact", {})


def test_a_process_that_works_is_not_idle() -> None:
    """Whatever waits is."""
    assert idle(lambda: 0.0)
    assert not idle(time.perf_counter)


def test_a_measured_process_takes_no_settings_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service is told its own, the numerical library chooses for itself; the rest is kept."""
    for name in ("NEWSBERT_DIVERSITY", "OPENBLAS_CORETYPE", "SOME_OTHER"):
        monkeypatch.setenv(name, "set")
    given = environment(retrieval="exact")
    assert given["NEWSBERT_RETRIEVAL"] == "exact"
    assert given["OMP_NUM_THREADS"] == "1"
    changed = {"NEWSBERT_RETRIEVAL", "OMP_NUM_THREADS"}
    assert set(os.environ) - set(given) - changed >= {"NEWSBERT_DIVERSITY", "OPENBLAS_CORETYPE"}
    assert given["SOME_OTHER"] == "set"
