"""How many requests a second one core answers, beside a yardstick that only parses and replies.

And where the time of each request goes, stage by stage.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import click

from benchmarks import catalogues, stages
from benchmarks.catalogues import Body
from benchmarks.comparison import BenchmarkError, Spread, interleaved, ratios, reported
from benchmarks.load import CONNECTIONS, LOAD_CORE, Leg, load, require, valid_rounds
from benchmarks.oracle import ALL, MOST, Oracle, check_answers
from benchmarks.results import FOLDER, ROOT, write_result
from benchmarks.servers import SERVER_CORE, Server, running
from contract.bundle import Bundle, open_bundle
from contract.bundle_errors import BundleError
from service.adapters.stores import open_store
from service.errors import ServiceError
from service.ports import Store

SEED = 11
SEARCHES = {"exact": "exact", "ivf": "auto"}  # the service's setting of each search
HISTORY, N, CANDIDATES = 50, 10, 200
READERS = 500
WARM_UP_S = 2
PACKAGES = ("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "orjson", "pydantic",
            "faiss-cpu", "onnxruntime", "numpy")  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One kind of request, and the share of the yardstick that it is to reach, where one is set."""

    name: str
    path: str
    bodies: Sequence[Body]
    goal: float | None = None


@dataclass(frozen=True)
class Setup:
    """A catalogue, how it is searched, and the cases measured on it."""

    catalogue: str
    search: str
    cases: Sequence[Case]

    @property
    def least(self) -> float:
        """Return the share of the right articles that answers must have."""
        return ALL if self.search == "exact" else MOST


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
    with reported("service", BundleError, ServiceError):
        require("wrk", "taskset")
        if not {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
            raise BenchmarkError(f"needs the cores {SERVER_CORE} and {LOAD_CORE} for itself")
        opened = open_bundle(bundle)
        figures: dict[str, Any] = {}
        runs: list[dict[str, Any]] = []
        with TemporaryDirectory() as place:
            for catalogue, fill in fillings(size).items():
                url = f"sqlite:///{place}/{catalogue}.sqlite"
                with filled(url, fill, opened) as store:
                    oracle = Oracle(store, opened)
                for setup in setups(size):
                    if setup.catalogue == catalogue:
                        bench = Bench(bundle, url, Path(place), oracle, seconds, rounds)
                        bench.measure(setup, figures, runs)
    file = write_result(
        "service",
        figures=figures,
        runs=runs,
        settings={
            "model": opened.model,
            "dim": opened.manifest.dim,
            "seconds": seconds,
            "rounds": rounds,
            "articles": size,
            "connections": CONNECTIONS,
            "store": "sqlite",
        },
        pinning=f"server on core {SERVER_CORE}, wrk on core {LOAD_CORE}, over loopback",
        packages=PACKAGES,
        folder=out,
    )
    click.echo(f"written to {file.name}")


def fillings(size: int) -> dict[str, Callable[[Store, Bundle], None]]:
    """Return what fills a store, by the catalogue's name."""
    made_up = partial(catalogues.fill_with_made_up, size=size, seed=SEED)
    return {"samples": catalogues.fill_with_samples, "made_up": made_up}


def setups(size: int) -> list[Setup]:
    """Return what is asked of each catalogue, and the goals of issue 5."""
    made_up = partial(catalogues.made_up_requests, READERS, size=size, history=HISTORY, seed=SEED)
    recommend, rank = "/v1/recommendations", "/v1/rank"
    plain = [{**body, "diversity": 0} for body in made_up(n=N)]
    samples = [Case("samples", recommend, catalogues.sample_requests(N))]
    large = [
        Case("default", recommend, made_up(n=N), 0.20),
        Case("plain", recommend, plain, 0.30),
        Case("rank", rank, made_up(candidates=CANDIDATES), 0.40),
    ]
    return [
        Setup("samples", "exact", samples),
        *(Setup("made_up", search, _named(large, search)) for search in SEARCHES),
    ]


def _named(cases: Sequence[Case], search: str) -> list[Case]:
    return [replace(case, name=f"{case.name}_{search}") for case in cases]


@dataclass(frozen=True)
class Bench:
    """A filled store at a URL with the right answers, and how long to measure on it."""

    bundle: Path
    url: str
    place: Path
    oracle: Oracle
    seconds: int
    rounds: int

    def measure(self, setup: Setup, figures: dict[str, Any], runs: list[dict[str, Any]]) -> None:
        """Check the service's answers, load it and the yardstick; add what was found."""
        retrieval = SEARCHES[setup.search]
        files = {case.name: self._bodies(case) for case in setup.cases}
        paths = {case.name: (case.path, files[case.name]) for case in setup.cases}
        cpu = stages.processor_time(self.bundle, self.url, retrieval, paths)
        serve = ("newsbert", "serve", "--bundle", str(self.bundle.absolute()), "--store", self.url)
        log = self.place / "service.log"
        with running(serve, ready="/health/ready", log=log, retrieval=retrieval) as service:
            for case in setup.cases:
                service.settle()
                size = check_answers(service, case.path, case.bodies, self.oracle, setup.least)
                wall = stages.told(service, case.path, files[case.name].read_bytes().splitlines())
                with yardstick(size, self.place) as standard:
                    servers = {"service": service, "yardstick": standard}
                    legs = alternate(
                        servers, case.path, files[case.name], self.seconds, self.rounds
                    )
                runs += [{"case": case.name, **leg.as_dict()} for o in legs for leg in o.values()]
                figures[case.name] = {
                    **summary(case, legs),
                    "answer_bytes": size,
                    "stages": stages.table(cpu[case.name], wall, request_us(legs)),
                }
                show(figures[case.name]["stages"])

    def _bodies(self, case: Case) -> Path:
        return catalogues.write_bodies(self.place / f"{case.name}.jsonl", case.bodies)


def request_us(legs: Sequence[dict[str, Leg]]) -> float:
    """Return the service's processor time of a request under load, in microseconds."""
    return 1e6 / median(one["service"].requests_per_cpu_s for one in legs)


def show(rows: dict[str, stages.Row]) -> None:
    """Print a table of stages: processor time, and what `Server-Timing` said."""
    for name, row in rows.items():
        wall = row["server_timing_us"]
        told = "" if wall is None else f"{wall:8.1f}"
        click.echo(f"  {name:12}{row['cpu_us']:8.1f}{told}")


@contextmanager
def filled(url: str, fill: Callable[[Store, Bundle], None], bundle: Bundle) -> Iterator[Store]:
    """Open a store and fill it."""
    store = open_store(url)
    try:
        fill(store, bundle)
        yield store
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


def summary(case: Case, legs: Sequence[dict[str, Leg]]) -> dict[str, Any]:
    """Return speeds and their ratio over the rounds that count, and print them."""
    valid = valid_rounds(legs)
    speeds = {s: Spread.of([one[s] for one in valid]) for s in ("service", "yardstick")}
    ratio = Spread.of(ratios(valid, "service", "yardstick"))
    click.echo(
        f"{case.name}: service {speeds['service']}/s, yardstick {speeds['yardstick']}/s, "
        f"ratio {ratio}{'' if case.goal is None else f', goal {case.goal:.2f}'}"
    )
    return {
        **{f"{server}_requests_per_s": speed.as_dict() for server, speed in speeds.items()},
        "ratio": ratio.as_dict(),
        "goal": case.goal,
        "void_rounds": len(legs) - len(valid),
    }


if __name__ == "__main__":
    main()
