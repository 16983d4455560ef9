"""Whether memory stays flat: many mixed requests to one process with 65,000 articles."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

from benchmarks import catalogues, mixture
from benchmarks.comparison import DIGITS, BenchmarkError, reported
from benchmarks.load import require
from benchmarks.memory import memory_mib
from benchmarks.mixture import Visitors
from benchmarks.results import FOLDER, ROOT, write_result
from benchmarks.servers import SERVER_CORE, running
from contract.bundle import Bundle, open_bundle
from contract.bundle_errors import BundleError
from contract.text import fingerprint
from service.adapters.stores import open_store
from service.client import Client, ClientError
from service.errors import ServiceError
from service.ports import Publication, Store

SEED = 17
AT_ONCE = 8
DEADLINE_S = 30.0
# More than a snapshot holds beside its rows before they are merged and the words indexed anew.
RENEWED = 2_500
CLICKED = 5_000
SAVED_EVERY_S = 30.0
GROWTH, GREW = 1.05, 1
# Memory is read when nothing is under way any more: the same for so long, or after so long.
SETTLED_S, LONGEST_S, LOOK_S, SAME = 3.0, 60.0, 0.25, 0.002
PACKAGES = ("fastapi", "uvicorn", "faiss-cpu", "bm25s", "onnxruntime", "numpy", "httpx2")
Look = dict[str, float]


@click.command()
@click.option("--requests", default=200_000, show_default=True)
@click.option("--warm-up", default=20_000, show_default=True, help="Requests before the level.")
@click.option("--every", default=10_000, show_default=True, help="Requests between two looks.")
@click.option("--size", default=65_000, show_default=True, help="Articles made up.")
@click.option("--bundle", type=click.Path(path_type=Path), default=ROOT / "bundles" / "newsbert")
@click.option("--out", type=click.Path(path_type=Path), default=FOLDER)
def main(*, requests: int, warm_up: int, every: int, size: int, bundle: Path, out: Path) -> None:
    """Ask for everything, publish and take down; what stays resident may not grow by 5 %.

    Example: python -m benchmarks.soak --requests 200000
    """
    with reported("soak", BundleError, ClientError, ServiceError):
        require("taskset")
        opened = open_bundle(bundle)
        looks, snapshots = soak(bundle, opened, size, requests, every)
        found = {**figures(looks, warm_up), "snapshots_saved": snapshots}
    file = write_result(
        "soak",
        figures=found,
        runs=looks,
        settings={
            "requests": requests,
            "warm_up": warm_up,
            "articles": size,
            "at_once": AT_ONCE,
            "shares": mixture.SHARES,
            "model": opened.model,
            "store": "sqlite",
        },
        pinning=f"server on core {SERVER_CORE}",
        packages=PACKAGES,
        folder=out,
    )
    click.echo(f"written to {file.name}: {found}")
    with reported("soak", status=GREW):
        check_flat(found)


def soak(
    path: Path, bundle: Bundle, size: int, requests: int, every: int
) -> tuple[list[Look], int]:
    """Serve made-up articles and ask until all requests are answered.

    Return what was seen, and how many snapshots the service saved meanwhile.
    """
    with TemporaryDirectory() as place:
        url = f"sqlite:///{place}/store.sqlite"
        store = open_store(url)
        serve = ("newsbert", "serve", "--bundle", str(path.absolute()), "--store", url)
        try:
            ids = filled(store, bundle, size, datetime.now(UTC))
            between = partial(clicked, store, ids, np.random.default_rng(SEED))
            log = Path(place, "service.log")
            # Snapshots are saved while requests are answered, many times.
            snapshots = Path(place, "snapshots")
            saving = {"snapshots": snapshots, "snapshot_interval_s": SAVED_EVERY_S}
            with running(serve, ready="/health/ready", log=log, **saving) as server:
                looks = asyncio.run(
                    drive(
                        server.url("/"),
                        server.pid,
                        ids,
                        requests=requests,
                        every=every,
                        renewed=RENEWED,
                        between=between,
                    )
                )
            return looks, saved(snapshots)
        finally:
            store.close()


def saved(folder: Path) -> int:
    """Return how many snapshots were saved: they are numbered from 1, the newest are kept.

    Raise BenchmarkError without any: then nothing is known of what saving takes.
    """
    numbers = [int(one.name) for one in folder.rglob("*") if one.name.isdecimal()]
    if not numbers:
        raise BenchmarkError("the service saved no snapshot")
    return max(numbers)


async def drive(
    url: str,
    pid: int,
    ids: Sequence[str],
    *,
    requests: int,
    every: int,
    renewed: int,
    between: Callable[[], object] = lambda: None,
    report: Callable[[Look], object] = print,
) -> list[Look]:
    """Ask a service, several things at once, and look at the memory of its process in between.

    Raise BenchmarkError for a wrong answer and ClientError for none. `between` is called after
    each look.
    """
    looks: list[Look] = []
    async with Client(url, deadline_s=DEADLINE_S) as client:
        visitors = Visitors(client, ids, SEED)
        for target in range(0, requests + 1, every):
            started, before = time.perf_counter(), visitors.requests
            if target == every:
                await visitors.renew(renewed)
            await visit(visitors, target)
            took, done = time.perf_counter() - started, visitors.requests - before
            look = {"requests": visitors.requests, "per_s": round(done / took, DIGITS)}
            looks.append({**look, **await settled(pid)})
            report(looks[-1])
            between()
    return looks


async def visit(visitors: Visitors, target: int) -> None:
    """Do several things at once until so many requests are answered; raise the first error."""
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(_visit(visitors, target))
    except ExceptionGroup as errors:
        # As it is, for who knows what to do with it: the others came in its wake.
        raise errors.exceptions[0] from None


async def settled(pid: int) -> Look:
    """Wait until a process neither takes nor gives back memory; return what it holds, in MiB."""
    last, since, begun = memory_mib(pid), time.monotonic(), time.monotonic()
    while time.monotonic() < min(since + SETTLED_S, begun + LONGEST_S):
        await asyncio.sleep(LOOK_S)
        now = memory_mib(pid)
        if abs(now["rss_mib"] - last["rss_mib"]) > SAME * last["rss_mib"]:
            since = time.monotonic()
            last = now
    return memory_mib(pid)


def figures(looks: Sequence[Look], warm_up: int) -> dict[str, float]:
    """Return the level after the warm-up, and the most and the last that was seen after it."""
    after = [one["rss_mib"] for one in looks if one["requests"] >= warm_up]
    if len(after) < 2:
        raise BenchmarkError(f"nothing was seen after a warm-up of {warm_up} requests")
    level, *later = after
    return {
        "ready_mib": looks[0]["rss_mib"],
        "level_mib": level,
        "highest_mib": max(later),
        "last_mib": later[-1],
        "peak_mib": looks[-1]["peak_mib"],
        "highest_to_level": round(max(later) / level, DIGITS),
        "last_to_level": round(later[-1] / level, DIGITS),
    }


def check_flat(found: dict[str, float]) -> None:
    """Raise BenchmarkError when more than 5 % over the level was held at any later look."""
    if found["highest_to_level"] > GROWTH:
        raise BenchmarkError(f"memory grew to {found['highest_to_level']:.3f} times its level")


def filled(store: Store, bundle: Bundle, size: int, now: datetime) -> list[str]:
    """Write made-up articles with made-up vectors, and clicks on some; return the ids."""
    random = np.random.default_rng(SEED)
    _, vectors = catalogues.made_up_vectors(size, bundle.manifest.dim, SEED)
    ids = [f"M{row}" for row in range(size)]
    for rows in catalogues.in_rows(size, catalogues.WRITTEN_AT_ONCE):
        articles = [mixture.an_article(random, ids[row], now) for row in rows]
        publications = [
            Publication(article, fingerprint(bundle.text.text(article)), vectors[row])
            for row, article in zip(rows, articles, strict=True)
        ]
        store.publish(publications, namespace=bundle.namespace, now=now.timestamp())
    clicked(store, ids, random, now)
    return ids


def clicked(store: Store, ids: Sequence[str], random: np.random.Generator, now: datetime) -> None:
    """Replace what is popular, as a job that counts clicks does."""
    picked = random.choice(len(ids), min(CLICKED, len(ids)), replace=False)
    weights = {ids[row]: float(random.exponential()) for row in picked}
    store.replace_popularity(weights, at=now.timestamp())


async def _visit(visitors: Visitors, target: int) -> None:
    while visitors.requests < target:
        await visitors.one()


if __name__ == "__main__":
    main()
