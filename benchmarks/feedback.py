"""What feedback costs readers: recommendations with events coming in beside, and without."""

import asyncio
import gc
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypedDict

import click
import numpy as np
import orjson

from benchmarks import catalogues
from benchmarks.comparison import DIGITS, BenchmarkError, Spread, ratios, reported
from benchmarks.cpu import cpu_seconds
from benchmarks.durable_stores import STORES, fill, own_store, redis_memory
from benchmarks.events import Plan, check_held, made_up_events
from benchmarks.load import LOAD_CORE, require
from benchmarks.open_load import Answered, Connections, arrive, request
from benchmarks.results import FOLDER, ROOT, write_result
from benchmarks.servers import SERVER_CORE, Server, running
from contract.bundle import Bundle, open_bundle
from contract.bundle_errors import BundleError
from service.adapters.stores import open_store
from service.decay import Decay
from service.errors import ServiceError
from service.settings import Settings

SEED = 23
HISTORY, N = 50, 10
RECOMMENDED, READERS_ASKED = "/v1/recommendations", 2_000
# Of those who send events: each waits for the answer to a batch before it sends the next.
SENDERS, LINES = 4, 100
NDJSON = "application/x-ndjson"
WARM_UP = 300
GOAL, MISSED = 1.5, 1
PACKAGES = ("fastapi", "uvicorn", "uvloop", "orjson", "pydantic", "redis", "faiss-cpu", "numpy")


class Load(TypedDict):
    """What is sent: how many events of how many readers, and how many requests a second beside."""

    events: int
    readers: int
    articles: int
    rounds: int
    rate: float


@dataclass(frozen=True, slots=True)
class Leg:
    """Recommendations of one stretch, times in milliseconds, and the events taken meanwhile."""

    feedback: bool
    recommendations: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    degraded: int
    events: int
    seconds: float
    cpu_share: float


@click.command()
@click.option("--events", default=200_000, show_default=True, help="Each counts once.")
@click.option("--readers", default=10_000, show_default=True)
@click.option("--articles", default=26_000, show_default=True, help="Articles made up.")
@click.option("--rounds", default=5, show_default=True, help="Legs with feedback, and without.")
@click.option("--rate", default=100.0, show_default=True, help="Recommendations a second.")
@click.option("--store", "stores", multiple=True, type=click.Choice(STORES), default=STORES)
@click.option("--bundle", type=click.Path(path_type=Path), default=ROOT / "bundles" / "newsbert")
@click.option("--out", type=click.Path(path_type=Path), default=FOLDER)
def main(*, stores: Sequence[str], bundle: Path, out: Path, **load: Any) -> None:  # noqa: ANN401
    """Send events as fast as they are taken beside recommendations; then count them in the store.

    Example: python -m benchmarks.feedback --events 200000
    """
    load_ = Load(**load)  # type: ignore[typeddict-item]  # click has typed them
    figures, runs = dict[str, Any](), list[dict[str, Any]]()
    with reported("feedback", BundleError, ServiceError):
        require("taskset")
        opened = open_bundle(bundle)
        for name in stores:
            with TemporaryDirectory() as place, on_core(LOAD_CORE):
                legs, figures[name] = measured(name, Path(place), bundle, opened, load_)
            runs += [{"store": name, **asdict(leg)} for leg in legs]
            click.echo(f"{name}: {figures[name]}")
    file = write_result(
        "feedback",
        figures=figures,
        runs=runs,
        settings={**load_, "senders": SENDERS, "lines": LINES, "model": opened.model, "goal": GOAL},
        pinning=f"server on core {SERVER_CORE}, load and Redis on core {LOAD_CORE}",
        packages=PACKAGES,
        folder=out,
    )
    click.echo(f"written to {file.name}")
    with reported("feedback", status=MISSED):
        for name, found in figures.items():
            check_quick(name, found)


def measured(
    name: str, place: Path, path: Path, bundle: Bundle, load: Load
) -> tuple[list[Leg], dict[str, Any]]:
    """Serve from a store of one kind, send it everything in rounds, and check what it holds."""
    with own_store(name, place) as (url, redis):
        store = open_store(url)
        catalogues.fill_with_made_up(store, bundle, load["articles"], SEED)
        ids, now = [f"M{row}" for row in range(load["articles"])], datetime.now(UTC)
        plan = made_up_events(
            load["events"], readers=load["readers"], articles=ids, now=now, seed=SEED
        )
        serve = ("newsbert", "serve", "--bundle", str(path.absolute()), "--store", url)
        with running(serve, ready="/health/ready", log=place / "service.log") as server:
            legs = asyncio.run(drive(server, plan, load))
            half_life_s = 3_600 * float(Settings.model_fields["popularity_half_life_h"].default)
            held = check_held(store, plan, Decay(half_life_s), now.timestamp())
            memory = (
                redis_memory(redis, partial(fill, server, ids, SEED)) if redis is not None else {}
            )
        store.close()
    return legs, {**figures(legs), **held, **memory, "repeated": plan.repeated}


async def drive(server: Server, plan: Plan, load: Load) -> list[Leg]:
    """Send the events in as many parts as there are rounds; after each the same without events."""
    connections = Connections(server.port)
    asked = recommendations(load)
    batches = [request("/v1/feedback", body, NDJSON) for body in plan.bodies(LINES)]
    parts = np.array_split(np.arange(len(batches)), load["rounds"])
    legs, verdicts = list[Leg](), Counter[str]()
    await arrive(connections, asked, rate=load["rate"], seed=SEED, most=WARM_UP)
    for number, part in enumerate(parts):
        settings: dict[str, Any] = {"rate": load["rate"], "seed": SEED + number}
        sent = [batches[place] for place in part]
        for feedback in (True, False):
            await asyncio.to_thread(server.settle)
            gc.collect()
            gc.disable()
            used, begun = cpu_seconds(server.pid), time.perf_counter()
            if feedback:
                answers, told = await beside(connections, asked, sent, settings)
                verdicts.update(told)
            else:
                most = legs[-1].recommendations
                answers, told = await arrive(connections, asked, most=most, **settings), Counter()
            took, used = time.perf_counter() - begun, cpu_seconds(server.pid) - used
            gc.enable()
            legs.append(leg_of(answers, sum(told.values()), took, used))
            click.echo(legs[-1])
    await connections.close()
    check_verdicts(verdicts, plan)
    return legs


async def beside(
    connections: Connections,
    asked: Sequence[bytes],
    batches: Sequence[bytes],
    settings: dict[str, Any],
) -> tuple[list[Answered], Counter[str]]:
    """Ask for recommendations until all batches are acknowledged; count the verdicts."""
    is_over, waiting, verdicts = asyncio.Event(), iter(batches), Counter[str]()

    async def send() -> None:
        for batch in waiting:
            answer = orjson.loads(await connections.ask(batch))
            rejected = len(answer.pop("rejected"))
            verdicts.update({**answer, "rejected": rejected})

    reading = asyncio.create_task(arrive(connections, asked, until=is_over, **settings))
    try:
        await asyncio.gather(*(send() for _ in range(SENDERS)))
    finally:
        is_over.set()
        answers = await reading
    return answers, verdicts


def recommendations(load: Load) -> list[bytes]:
    """Write requests, in turn with a history and with the id of one of the readers."""
    random = np.random.default_rng(SEED)
    bodies = catalogues.made_up_requests(
        READERS_ASKED, size=load["articles"], history=HISTORY, seed=SEED, n=N
    )
    for body in bodies[1::2]:
        del body["history"]
        body["user_id"] = f"reader-{random.integers(load['readers'])}"
    return [request(RECOMMENDED, orjson.dumps(body)) for body in bodies]


def leg_of(answers: Sequence[Answered], events: int, seconds: float, cpu_s: float) -> Leg:
    """Summarise a stretch; raise BenchmarkError for a page that is not full."""
    pages = [orjson.loads(answer.body) for answer in answers]
    if any(len(page["items"]) != N for page in pages):
        raise BenchmarkError("a recommendation is not full")
    p50, p99, most = np.percentile([1e3 * answer.took_s for answer in answers], (50, 99, 100))
    return Leg(
        feedback=events > 0,
        recommendations=len(answers),
        p50_ms=round(float(p50), DIGITS),
        p99_ms=round(float(p99), DIGITS),
        max_ms=round(float(most), DIGITS),
        degraded=sum(bool(page["degraded"]) for page in pages),
        events=events,
        seconds=round(seconds, DIGITS),
        cpu_share=round(cpu_s / seconds, DIGITS),
    )


def figures(legs: Sequence[Leg]) -> dict[str, Any]:
    """Return p99 with and without feedback, their ratio in each round, and events a second."""
    pairs = list(zip(legs[::2], legs[1::2], strict=True))
    p99 = [{"with": one.p99_ms, "without": other.p99_ms} for one, other in pairs]
    ratio = Spread.of(ratios(p99, "with", "without"))
    return {
        "p99_ms_with": Spread.of([one["with"] for one in p99]).as_dict(),
        "p99_ms_without": Spread.of([one["without"] for one in p99]).as_dict(),
        "p99_ratio": ratio.as_dict(),
        "events_per_s": Spread.of([one.events / one.seconds for one in legs[::2]]).as_dict(),
        "degraded": sum(leg.degraded for leg in legs),
    }


def check_verdicts(verdicts: Counter[str], plan: Plan) -> None:
    """Raise BenchmarkError unless each event was accepted once and known the second time."""
    due = {"accepted": len(plan.events), "duplicates": plan.repeated, "rejected": 0}
    if dict(verdicts) != due:
        raise BenchmarkError(f"the answers told {dict(verdicts)}, and {due} is right")


def check_quick(store: str, found: dict[str, Any]) -> None:
    """Raise BenchmarkError where feedback makes the slowest recommendations too slow."""
    if (ratio := found["p99_ratio"]["median"]) > GOAL:
        raise BenchmarkError(f"{store}: p99 is {ratio:.2f} times that without feedback")


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Keep this process, and what it starts, on one core for the block."""
    allowed = os.sched_getaffinity(0)
    if core not in allowed:
        raise BenchmarkError(f"needs the cores {SERVER_CORE} and {LOAD_CORE} for itself")
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


if __name__ == "__main__":
    main()
