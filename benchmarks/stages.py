"""Where the time of a request goes: its stages by the service's word, and by processor time."""

import asyncio
import http.client
import itertools
import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from statistics import fmean, median
from typing import Any

import click
import orjson
from fastapi import FastAPI
from starlette.types import ASGIApp, Message

from benchmarks.comparison import BenchmarkError
from benchmarks.cpu import idle
from benchmarks.results import ROOT
from benchmarks.servers import SERVER_CORE, START_TIMEOUT_S, Server, environment
from service.app import create_app
from service.gate import Gate
from service.routes.lane import Lane
from service.routes.reading import QUICK
from service.running import Running
from service.settings import Settings

ANSWERS = 2_000
WARM_UP = 200
TOTAL = "total"
US_PER_MS, US_PER_S = 1e3, 1e6
# The most that all cases of a process may take, from its start.
LONGEST_S = 600.0
Means = dict[str, float]  # microseconds by stage
Row = dict[str, float | None]


def told(server: Server, path: str, bodies: Sequence[bytes], answers: int = ANSWERS) -> Means:
    """Return the medians of what `Server-Timing` says of some answers, asked for one by one.

    Raise BenchmarkError for any answer but 200.
    """
    timings = []
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        for body in itertools.islice(itertools.cycle(bodies), WARM_UP + answers):
            connection.request("POST", path, body, {"content-type": "application/json"})
            response = connection.getresponse()
            response.read()
            _require_ok(path, response.status)
            timings.append(response.headers["server-timing"])
    return by_stage(timings[WARM_UP:], median)


def by_stage(timings: Iterable[str], summary: Callable[[Sequence[float]], float]) -> Means:
    """Summarise `Server-Timing` headers: microseconds of each stage, in the order of stages."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for timing in timings:
        for part in timing.split(", "):
            name, _, duration = part.partition(";dur=")
            found[name].append(US_PER_MS * float(duration))
    return {name: round(summary(values), 1) for name, values in found.items()}


def processor_time(
    bundle: Path, store: str, retrieval: str, cases: Mapping[str, tuple[str, Path]]
) -> dict[str, Means]:
    """Return each case's mean processor time by stage, of a process on the server's core.

    A case is a path and a file of bodies. Raise BenchmarkError where the process fails or does not
    end.
    """
    command = [sys.executable, "-m", "benchmarks.stages", str(bundle.absolute()), store]
    for name, (path, bodies) in cases.items():
        command += ["--case", name, path, str(bodies)]
    try:
        done = subprocess.run(
            ["taskset", "--cpu-list", str(SERVER_CORE), *command],
            cwd=ROOT,
            env=environment(retrieval=retrieval),
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_S,
        )
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"no stages within {LONGEST_S:g} s") from error
    if done.returncode:
        raise BenchmarkError(f"no stages: {(done.stderr.strip() or 'no word').splitlines()[-1]}")
    means: dict[str, Means] = json.loads(done.stdout)
    return means


def table(cpu: Means, wall: Means, request_us: float) -> dict[str, Row]:
    """Put side by side what each stage costs, and what is left of a request for the server.

    `cpu` has the stages and the `total` in process; what no stage has of that is the `lane`:
    gate, routing, headers. `request_us` is the processor time of a request under load.
    """
    stages = {name: us for name, us in cpu.items() if name != TOTAL}
    rows: dict[str, Row] = {
        name: {"cpu_us": us, "server_timing_us": wall.get(name)} for name, us in stages.items()
    }
    rows["lane"] = {"cpu_us": round(cpu[TOTAL] - sum(stages.values()), 1), "server_timing_us": None}
    rows["server"] = {"cpu_us": round(request_us - cpu[TOTAL], 1), "server_timing_us": None}
    rows["request"] = {"cpu_us": round(request_us, 1), "server_timing_us": wall.get(TOTAL)}
    return rows


async def timed(app: FastAPI, path: str, bodies: Sequence[bytes], answers: int = ANSWERS) -> Means:
    """Answer in this process; return the mean processor time by stage and in `total`.

    Raise BenchmarkError for any answer but 200.
    """
    service: Running = app.state.running
    lane = Lane(app, routes=QUICK)
    gate = Gate(lane, telemetry=service.telemetry, max_in_flight=1, clock=time.thread_time)
    timings, totals = [], []
    for body in itertools.islice(itertools.cycle(bodies), WARM_UP + answers):
        started = time.thread_time()
        headers = await _answered(gate, app, path, body)
        totals.append(time.thread_time() - started)
        timings.append(headers[b"server-timing"].decode())
    means = by_stage(timings[WARM_UP:], fmean)
    return {**means, TOTAL: round(US_PER_S * fmean(totals[WARM_UP:]), 1)}


async def _answered(gate: ASGIApp, app: FastAPI, path: str, body: bytes) -> dict[bytes, bytes]:
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)

    await gate(_scope(app, path, len(body)), receive, send)
    _require_ok(path, messages[0]["status"])
    return dict(messages[0]["headers"])


def _require_ok(path: str, status: int) -> None:
    if status != http.client.OK:
        raise BenchmarkError(f"{path} answers {status}")


def _scope(app: FastAPI, path: str, size: int) -> dict[str, Any]:
    headers = {"host": "127.0.0.1", "content-type": "application/json", "content-length": size}
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), str(value).encode()) for name, value in headers.items()],
        "app": app,
    }


async def _cases(bundle: Path, store: str, cases: Sequence[tuple[str, str, Path]]) -> bytes:
    app = create_app(Settings(bundle=bundle, store=store))
    async with app.router.lifespan_context(app):
        await settle(app)
        return orjson.dumps(
            {
                name: await timed(app, path, bodies.read_bytes().splitlines())
                for name, path, bodies in cases
            }
        )


async def settle(app: FastAPI, patience_s: float = START_TIMEOUT_S) -> None:
    """Wait until the service is ready and has built what it builds in the background.

    Raise BenchmarkError when it takes too long: for ever, where one of its jobs has ended.
    """
    service: Running = app.state.running
    give_up = time.monotonic() + patience_s
    while not await asyncio.to_thread(idle, time.process_time) or service.hindrances():
        if time.monotonic() > give_up:
            reasons = ", ".join(service.hindrances()) or "it is busy"
            raise BenchmarkError(f"the service does not settle: {reasons}")


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("store")
@click.option("--case", "cases", type=(str, str, click.Path(path_type=Path)), multiple=True)
def main(bundle: Path, store: str, cases: Sequence[tuple[str, str, Path]]) -> None:
    """Answer the bodies of each case in this process; print processor time by stage as JSON.

    Example: python -m benchmarks.stages BUNDLE sqlite:///store.sqlite --case x /v1/rank rank.jsonl
    """
    click.echo(asyncio.run(_cases(bundle, store, cases)))


if __name__ == "__main__":
    main()
