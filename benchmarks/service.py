"""How many requests a second one core answers, beside a yardstick that only parses and replies."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from benchmarks import catalogues
from benchmarks.catalogues import Body
from benchmarks.comparison import BenchmarkError, Spread, interleaved, ratios
from benchmarks.load import CONNECTIONS, LOAD_CORE, Leg, load, require, valid_rounds
from benchmarks.oracle import check_answers, recommender
from benchmarks.results import FOLDER, ROOT, write_result
from benchmarks.servers import SERVER_CORE, Server, running
from contract.bundle import Bundle, open_bundle
from contract.bundle_errors import BundleError
from service.adapters.stores import open_store
from service.errors import ServiceError
from service.ports import Store

SEED = 11
HISTORY, N, CANDIDATES = 50, 10, 200
READERS = 500
WARM_UP_S = 2
PACKAGES = ("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "orjson", "pydantic",
            "faiss-cpu", "onnxruntime", "numpy")  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One kind of request on one catalogue."""

    name: str
    path: str
    bodies: Sequence[Body]


@dataclass(frozen=True)
class Setup:
    """A catalogue and the cases measured on it."""

    name: str
    fill: Callable[[Store, Bundle], None]
    cases: Sequence[Case]


@click.command()
@click.option("--bundle", type=click.Path(path_type=Path), default=ROOT / "bundles" / "newsbert")
@click.option("--seconds", default=10, show_default=True, help="Length of a leg.")
@click.option("--rounds", default=5, show_default=True, help="Legs of each server in each case.")
@click.option("--size", default=65_000, show_default=True, help="Articles made up.")
@click.option("--out", type=click.Path(path_type=Path), default=FOLDER)
def main(*, bundle: Path, seconds: int, rounds: int, size: int, out: Path) -> None:
    """Load service and yardstick in turns: server on core 0, wrk on core 1, answers checked first.

    A leg is void unless the server used 95 % of its core, and a round unless both its legs count.

    Example: python -m benchmarks.service --seconds 10 --rounds 5
    """
    try:
        require("wrk", "taskset")
        if not {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
            raise BenchmarkError(f"needs the cores {SERVER_CORE} and {LOAD_CORE} for itself")
        opened = open_bundle(bundle)
        figures: dict[str, Any] = {}
        runs: list[dict[str, Any]] = []
        for setup in setups(size):
            measure(setup, bundle, opened, seconds, rounds, figures, runs)
    except (BenchmarkError, BundleError, ServiceError) as error:
        click.echo(f"benchmarks.service: {error}", err=True)
        sys.exit(2)
    file = write_result(
        "service",
        figures=figures,
        runs=runs,
        settings={
            "model": opened.model,
            "dim": opened.manifest.dim,
            "seconds": seconds,
            "rounds": rounds,
            "connections": CONNECTIONS,
            "store": "sqlite",
        },
        pinning=f"server on core {SERVER_CORE}, wrk on core {LOAD_CORE}, over loopback",
        packages=PACKAGES,
        folder=out,
    )
    click.echo(f"written to {file.name}")


def setups(size: int) -> list[Setup]:
    """Return the catalogues and what is asked of each."""
    made_up = partial(catalogues.made_up_requests, READERS, size=size, history=HISTORY, seed=SEED)
    recommend, rank = "/v1/recommendations", "/v1/rank"
    large = [
        Case(f"recommendations_{size}", recommend, made_up(n=N)),
        Case(f"rank_{HISTORY}x{CANDIDATES}", rank, made_up(candidates=CANDIDATES)),
    ]
    samples = [Case("recommendations_samples", recommend, catalogues.sample_requests(N))]
    fill = partial(catalogues.fill_with_made_up, size=size, seed=SEED)
    return [
        Setup("samples", catalogues.fill_with_samples, samples),
        Setup(f"made up {size}", fill, large),
    ]


def measure(
    setup: Setup,
    path: Path,
    bundle: Bundle,
    seconds: int,
    rounds: int,
    figures: dict[str, Any],
    runs: list[dict[str, Any]],
) -> None:
    """Fill a store, check the service's answers, load it and the yardstick; add what was found."""
    with TemporaryDirectory() as place, filled(setup, Path(place), bundle) as (url, store):
        truth = recommender(store, bundle)
        serve = ("newsbert", "serve", "--bundle", str(path.absolute()), "--store", url)
        with running(serve, ready="/health/ready", log=Path(place, "service.log")) as service:
            for case in setup.cases:
                size = check_answers(service, case.path, case.bodies, truth)
                bodies = catalogues.write_bodies(Path(place, f"{case.name}.jsonl"), case.bodies)
                with yardstick(size, Path(place)) as standard:
                    servers = {"service": service, "yardstick": standard}
                    legs = alternate(servers, case.path, bodies, seconds, rounds)
                runs += [{"case": case.name, **leg.as_dict()} for o in legs for leg in o.values()]
                figures[case.name] = {**summary(case.name, legs), "answer_bytes": size}


@contextmanager
def filled(setup: Setup, place: Path, bundle: Bundle) -> Iterator[tuple[str, Store]]:
    """Make a store with the setup's catalogue; give its URL and itself."""
    url = f"sqlite:///{place / 'store.sqlite'}"
    store = open_store(url)
    try:
        setup.fill(store, bundle)
        yield url, store
    finally:
        store.close()


@contextmanager
def yardstick(size: int, place: Path) -> Iterator[Server]:
    """Run the yardstick with answers of the service's size."""
    sizes = ("--recommendation-bytes", str(size), "--rank-bytes", str(size))
    arguments = ("benchmarks.yardstick", *sizes)
    with running(arguments, ready="/health/ready", log=place / "yardstick.log") as server:
        yield server


def alternate(
    servers: dict[str, Server], path: str, bodies: Path, seconds: int, rounds: int
) -> list[dict[str, Leg]]:
    """Load the servers in turns; the one that waits is frozen. The first turn only warms up."""
    for server in servers.values():
        server.freeze()

    def leg(name: str, length: int) -> Leg:
        server = servers[name]
        server.thaw()
        try:
            url = server.url(path)
            return load(name, url=url, pid=server.pid, bodies=bodies, seconds=length)
        finally:
            server.freeze()

    interleaved(1, {name: partial(leg, name, WARM_UP_S) for name in servers})
    legs = interleaved(rounds, {name: partial(leg, name, seconds) for name in servers})
    for server in servers.values():
        server.thaw()
    return legs


def summary(name: str, legs: Sequence[dict[str, Leg]]) -> dict[str, Any]:
    """Return speeds and their ratio over the rounds that count, and print them."""
    valid = valid_rounds(legs)
    speeds = {s: Spread.of([one[s] for one in valid]) for s in ("service", "yardstick")}
    ratio = Spread.of(ratios(valid, "service", "yardstick"))
    click.echo(
        f"{name}: service {speeds['service']}/s, yardstick {speeds['yardstick']}/s, ratio {ratio}"
    )
    return {
        **{f"{server}_requests_per_s": speed.as_dict() for server, speed in speeds.items()},
        "ratio": ratio.as_dict(),
        "void_rounds": len(legs) - len(valid),
    }


if __name__ == "__main__":
    main()
