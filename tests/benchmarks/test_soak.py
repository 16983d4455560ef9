"""The soak benchmark judges rightly, and says what kept it from judging."""

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import chain, count, cycle, repeat
from pathlib import Path
from types import SimpleNamespace

import httpx2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from benchmarks import soak
from benchmarks.comparison import BenchmarkError
from benchmarks.mixture import Visitors
from benchmarks.results import read_figures
from service.adapters.memory_store import MemoryStore
from service.client import Client, Unavailable
from service.errors import StoreUnavailable
from tests.benchmarks.fake_service import FakeService
from tests.builders import a_bundle

NOW = datetime(2026, 11, 21, tzinfo=UTC)
IDS = [f"N{n}" for n in range(200)]


def looks(*levels: float) -> list[soak.Look]:
    """Look at a process every hundred requests."""
    return [
        {"requests": 100.0 * n, "rss_mib": one, "peak_mib": max(levels)}
        for n, one in enumerate(levels)
    ]


def test_the_level_is_taken_after_the_warm_up() -> None:
    """What is taken before it is no leak; what is given back later is none."""
    found = soak.figures(looks(200, 290, 300, 310, 299), warm_up=200)
    assert (found["ready_mib"], found["level_mib"]) == (200, 300)
    assert (found["highest_to_level"], found["last_mib"]) == (1.0333, 299)
    soak.check_flat(found)


@pytest.mark.parametrize("levels", [(200, 300, 310, 316), (200, 300, 316, 300)])
def test_growth_by_more_than_a_twentieth_is_told(levels: tuple[float, ...]) -> None:
    """At the end or in between."""
    with pytest.raises(BenchmarkError, match=r"grew to 1\.053 times"):
        soak.check_flat(soak.figures(looks(*levels), warm_up=100))


def test_a_run_that_is_all_warm_up_has_no_figure() -> None:
    """One look is no comparison."""
    with pytest.raises(BenchmarkError, match="after a warm-up of 200"):
        soak.figures(looks(200, 300, 300), warm_up=200)


def test_the_catalogue_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    """Articles, vectors and clicks."""
    bundle = a_bundle(tmp_path / "tiny")
    one, other = (MemoryStore(), MemoryStore())
    ids = soak.filled(one, bundle, 50, NOW)
    assert soak.filled(other, bundle, 50, NOW) == ids
    kept, again = (store.fetch(ids, namespace=bundle.namespace) for store in (one, other))
    assert len(kept) == 50
    for id_ in ids:
        assert kept[id_].article == again[id_].article is not None
        assert kept[id_].first_seen == again[id_].first_seen
        assert kept[id_].vector is not None
        assert np.array_equal(kept[id_].vector, again[id_].vector)
    clicks = one.popularity(0)
    assert clicks is not None
    assert len(clicks.weights) == 50
    assert clicks == other.popularity(0)


def test_the_snapshots_that_were_saved_are_counted(tmp_path: Path) -> None:
    """They are numbered from 1; the newest are kept, and what is unfinished is none."""
    for name in ("store/6", "store/7", "store/unfinished"):
        (tmp_path / name).mkdir(parents=True)
    assert soak.saved(tmp_path) == 7


@pytest.mark.parametrize("made", ["", "store/unfinished"])
def test_a_run_without_a_snapshot_has_no_figure(made: str, tmp_path: Path) -> None:
    """It would say nothing of what saving takes."""
    (tmp_path / "snapshots" / made).mkdir(parents=True)
    with pytest.raises(BenchmarkError, match="saved no snapshot"):
        soak.saved(tmp_path / "snapshots")


def process(monkeypatch: pytest.MonkeyPatch, levels: Iterator[float]) -> list[float]:
    """Let a process hold these levels, each for a quarter of a second; return those seen."""
    seen: list[float] = []

    def look(_: int) -> soak.Look:
        seen.append(next(levels))
        return {"rss_mib": seen[-1], "peak_mib": 200.0}

    clock = SimpleNamespace(monotonic=lambda: len(seen) / 4, perf_counter=time.perf_counter)
    monkeypatch.setattr(soak, "memory_mib", look)
    monkeypatch.setattr(soak, "time", clock)
    monkeypatch.setattr(soak, "LOOK_S", 0)
    return seen


@pytest.mark.anyio
async def test_memory_is_read_when_it_has_come_to_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """It grows while something is under way; what comes and goes by a thousandth is rest."""
    grows, rests = [100.0 * 1.01**n for n in range(20)], (130.0, 130.1)
    seen = process(monkeypatch, chain(grows, cycle(rests)))
    assert (await soak.settled(1))["rss_mib"] in rests
    assert len(seen) == pytest.approx(len(grows) + 4 * soak.SETTLED_S, abs=3)


@pytest.mark.anyio
async def test_memory_that_never_rests_is_read_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the longest time, as it is then."""
    seen = process(monkeypatch, (100.0 * 1.01**n for n in count()))
    assert (await soak.settled(1))["rss_mib"] == seen[-1]
    assert len(seen) == pytest.approx(4 * soak.LONGEST_S, abs=3)


@pytest.mark.anyio
async def test_a_drive_looks_renews_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each look the clicks are told anew; many articles are published at once, one time."""
    service, events = FakeService(), list[str]()
    transport = httpx2.MockTransport(service.answer)
    monkeypatch.setattr(soak, "Client", partial(Client, transport=transport))
    seen = process(monkeypatch, repeat(100.0))

    def told(what: str) -> Callable[..., None]:
        return lambda *_: events.append(f"{what} {service.asked.count('POST /v1/news:batch')}")

    looks = await soak.drive(
        "http://test",
        1,
        IDS,
        requests=90,
        every=30,
        renewed=3,
        between=told("between"),
        report=told("look"),
    )
    renewed = [0, 1, 1, 1]
    assert events == [f"{what} {n}" for n in renewed for what in ("look", "between")]
    done = [look["requests"] for look in looks]
    assert all(n <= one < n + 40 for n, one in zip((0, 30, 60, 90), done, strict=True))
    # Each look waits until memory rests.
    assert len(seen) > 4 * soak.SETTLED_S * len(looks)


class Failing(Visitors):
    """Visitors who soon meet an error, all at once."""

    def __init__(self, error: Exception) -> None:
        self.requests, self._error = 0, error

    async def one(self) -> None:
        """Fail the third time."""
        await asyncio.sleep(0)
        self.requests += 1
        if self.requests > 2:
            raise self._error


@pytest.mark.anyio
@pytest.mark.parametrize("error", [BenchmarkError("wrong"), Unavailable("gone", None)], ids=repr)
async def test_the_first_error_ends_a_visit_as_it_is(error: Exception) -> None:
    """No group of errors, which nobody catches."""
    with pytest.raises(type(error)) as caught:
        await soak.visit(Failing(error), target=100)
    assert caught.value is error


def ended_with(arguments: list[str]) -> Result:
    """Run the command."""
    return CliRunner().invoke(soak.main, arguments)


@pytest.mark.parametrize(
    "error",
    [BenchmarkError("wrong"), Unavailable("wrong", None), StoreUnavailable("wrong")],
    ids=repr,
)
def test_a_run_that_fails_ends_with_2_and_one_line(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine's answer is 1 for memory that grew."""

    def fail(*_: object) -> None:
        async def run() -> None:
            await soak.visit(Failing(error), target=100)

        asyncio.run(run())

    monkeypatch.setattr(soak, "soak", fail)
    a_bundle(tmp_path / "tiny")
    ended = ended_with(["--bundle", str(tmp_path / "tiny"), "--out", str(tmp_path / "out")])
    assert (ended.exit_code, ended.stderr) == (2, "benchmarks.soak: wrong\n")
    assert not (tmp_path / "out").exists()


def test_a_run_without_a_bundle_ends_with_2(tmp_path: Path) -> None:
    """Before anything is served."""
    ended = ended_with(["--bundle", str(tmp_path / "none")])
    assert ended.exit_code == 2
    assert ended.stderr.startswith("benchmarks.soak: ")


def test_memory_that_grew_ends_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures are written all the same."""
    seen = looks(200, 300, 400), 3
    monkeypatch.setattr(soak, "soak", lambda *_: seen)
    a_bundle(tmp_path / "tiny")
    options = ["--bundle", str(tmp_path / "tiny"), "--out", str(tmp_path), "--warm-up", "100"]
    ended = ended_with(options)
    assert ended.exit_code == 1
    figures = read_figures("soak", tmp_path)
    assert (figures["highest_mib"], figures["snapshots_saved"]) == (400, 3)
