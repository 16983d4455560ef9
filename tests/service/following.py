"""Processes of the service without their HTTP side, and what other processes write."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import numpy as np

from service.batching import Batcher
from service.catalogue import Catalogue
from service.decay import Decay
from service.filler import Filler
from service.follower import Follower, Pace
from service.id_table import ABSENT
from service.popularity import PopularityReader
from service.ports import Activation
from service.saved import Saved
from service.storage import AsyncStore
from service.telemetry import Telemetry
from tests.service.fakes import (
    DIM,
    HOUR,
    MODEL,
    NOW,
    PATIENCE_S,
    SPACE,
    SPEC,
    FakeClock,
    FakeEncoder,
    FlakyStore,
    a_publication,
)

HALF_LIFE_S = 24 * HOUR


class Process:
    """One process of the service without its HTTP side."""

    def __init__(
        self,
        store: FlakyStore,
        encoder: FakeEncoder,
        executor: Executor,
        pace: Pace,
        **options: Any,
    ) -> None:
        clock, awaitable = FakeClock(), AsyncStore(store, executor)  # type: ignore[arg-type]
        self.catalogue = Catalogue(Activation(0, MODEL, SPACE), DIM, history_ttl_s=HOUR, **options)
        self.telemetry = Telemetry()
        self.batcher = Batcher(encoder.vectors, executor)
        self.filler = Filler(awaitable, self.catalogue, self.batcher, SPEC, clock)
        self.follower = Follower(
            awaitable,
            self.catalogue,
            self.filler,
            activate=partial(store.activate, model=MODEL, namespace=SPACE),
            clock=clock,
            telemetry=self.telemetry,
            popularity=PopularityReader(Decay(HALF_LIFE_S)),
            pace=pace,
        )

    def shows(self, *ids: str) -> bool:
        """Say whether the snapshot holds exactly these articles."""
        snapshot = self.catalogue.current
        return snapshot.size == len(ids) and all(snapshot.row(i) != ABSENT for i in ids)

    def metric(self, name: str) -> float | None:
        """Read one of the process's metrics."""
        return self.telemetry.registry.get_sample_value(name)


@asynccontextmanager
async def started(
    store: FlakyStore,
    encoder: FakeEncoder,
    executor: Executor,
    *,
    poll_interval_s: float = 0.001,
    outage_s: float = 0.05,
    saved: Saved | None = None,
    load_saved: Callable[[], Saved | None] | None = None,
    **options: Any,
) -> AsyncIterator[Process]:
    """Run a process's jobs for the length of a block; it may go on from what was saved."""
    pace = Pace(poll_interval_s, popularity_interval_s=0.0, outage_s=outage_s)
    process = Process(store, encoder, executor, pace, **options)
    following = process.follower.run(load_saved or (lambda: saved))
    jobs = [following, process.batcher.run(), process.filler.run()]
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield process
        assert not any(task.done() for task in tasks), "a job has ended by itself"
    finally:
        encoder.gate.set()
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)


def publish(store: FlakyStore, *ids: str, **fields: Any) -> None:
    """Write articles as another process would."""
    publications = [a_publication(i, **fields) for i in ids]
    store.inner.publish(publications, namespace=SPACE, now=NOW)


def publish_bare(store: FlakyStore, *ids: str) -> None:
    """Write articles as a process of another namespace would: without a vector of this one."""
    publications = [a_publication(i, title=f"Title of {i}") for i in ids]
    store.inner.publish(publications, namespace="another space", now=NOW)


def titles(process: Process) -> dict[str, str]:
    """Return the titles of a process's snapshot by id."""
    snapshot = process.catalogue.current
    rows = np.flatnonzero(snapshot.is_current)
    return {f.id: f.title for f in (snapshot.columns.facts[row] for row in rows)}


def popularity(process: Process) -> dict[str, float]:
    """Return the log-weights of a process's snapshot by id."""
    snapshot = process.catalogue.current
    return {i: float(snapshot.popularity[snapshot.row(i)]) for i in titles(process)}
