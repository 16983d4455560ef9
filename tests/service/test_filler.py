"""The filler gives vectors to articles that lack one, and goes on after whatever fails."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import suppress

import numpy as np
import pytest
from structlog.testing import capture_logs

from service.batching import Batcher
from service.catalogue import Catalogue
from service.filler import BATCH, Filler
from service.ports import StoredArticle
from service.storage import AsyncStore
from tests.service.fakes import (
    ACTIVATION,
    DIM,
    HOUR,
    NOW,
    SPACE,
    SPEC,
    FakeClock,
    FakeEncoder,
    FlakyStore,
    a_publication,
    a_vector,
    until,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def catalogue() -> Catalogue:
    """Give an empty catalogue."""
    return Catalogue(ACTIVATION, DIM, history_ttl_s=HOUR)


@pytest.fixture
async def filler(
    store: FlakyStore, catalogue: Catalogue, encoder: FakeEncoder, executor: Executor
) -> AsyncIterator[Filler]:
    """Give a filler at work, whose pause after a failure is short."""
    batcher = Batcher(encoder.vectors, executor)
    awaitable = AsyncStore(store, executor)  # type: ignore[arg-type]
    filler = Filler(awaitable, catalogue, batcher, SPEC, FakeClock(), retry_pause_s=0.01)
    tasks = [asyncio.create_task(job) for job in (batcher.run(), filler.run())]
    yield filler
    assert not any(task.done() for task in tasks), "a job has ended by itself"
    encoder.gate.set()
    for task in tasks:
        task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)


def bare(store: FlakyStore, *ids: str) -> list[str]:
    """Store articles without a vector of this namespace; return their texts."""
    publications = [a_publication(i, title=f"Title of {i}") for i in ids]
    store.inner.publish(publications, namespace="another space", now=NOW)
    return [SPEC.text(p.article) for p in publications]


def note(filler: Filler, store: FlakyStore, catalogue: Catalogue, ids: list[str]) -> None:
    """Do as the follower does: apply what is stored, then hand over what lacks a vector."""
    catalogue.apply(store.inner.fetch(ids, namespace=SPACE).values(), NOW)
    filler.add(ids)


def stored(store: FlakyStore, article_id: str) -> StoredArticle:
    """Read an article past the outage."""
    return store.inner.fetch([article_id], namespace=SPACE)[article_id]


async def test_a_vector_goes_into_the_store_and_the_catalogue(
    filler: Filler, store: FlakyStore, catalogue: Catalogue
) -> None:
    """The version stays: nothing about the article has changed."""
    (text,) = bare(store, "N1")
    note(filler, store, catalogue, ["N1"])
    await until(lambda: catalogue.current.size == 1)
    assert np.array_equal(stored(store, "N1").vector, a_vector(text))
    assert stored(store, "N1").version == catalogue.current.columns.facts[0].version == 1


async def test_what_needs_nothing_costs_nothing(
    filler: Filler, store: FlakyStore, catalogue: Catalogue, encoder: FakeEncoder
) -> None:
    """Unknown, taken down, or filled by another process meanwhile."""
    bare(store, "N1", "N2")
    store.inner.take_down("N1")
    store.inner.publish([a_publication("N3")], namespace=SPACE, now=NOW)
    note(filler, store, catalogue, ["N1", "nothing", "N3"])
    note(filler, store, catalogue, ["N2"])
    await until(lambda: stored(store, "N2").vector is not None)
    assert len(encoder.texts) == 1


async def test_many_are_filled_in_batches(
    filler: Filler, store: FlakyStore, catalogue: Catalogue
) -> None:
    """More than one batch, none left over, none encoded twice."""
    ids = [f"N{i}" for i in range(BATCH + 20)]
    bare(store, *ids)
    note(filler, store, catalogue, ids)
    note(filler, store, catalogue, ids)
    await until(lambda: catalogue.current.size == len(ids))


async def test_an_outage_is_waited_out(
    filler: Filler, store: FlakyStore, catalogue: Catalogue
) -> None:
    """What could not be stored is tried again."""
    bare(store, "N1")
    store.is_down = True
    with capture_logs() as events:
        note(filler, store, catalogue, ["N1"])
        await until(lambda: bool(events))
    assert events[0] == {
        "event": "fill_failed", "log_level": "warning", "error": "StoreUnavailable",
    }  # fmt: skip
    store.is_down = False
    await until(lambda: catalogue.current.size == 1)


async def test_one_text_that_cannot_be_encoded_does_not_keep_the_others_out(
    filler: Filler, store: FlakyStore, catalogue: Catalogue, encoder: FakeEncoder
) -> None:
    """A bad text is tried again and again, and everybody else is filled meanwhile."""
    bad, *_ = bare(store, "N1", "N2", "N3")
    encoder.refused.add(bad)
    note(filler, store, catalogue, ["N1", "N2", "N3"])
    await until(lambda: catalogue.current.size == 2)
    encoder.refused.clear()
    await until(lambda: catalogue.current.size == 3)


async def test_a_text_that_changed_meanwhile_gets_no_old_vector(
    filler: Filler, store: FlakyStore, catalogue: Catalogue, encoder: FakeEncoder
) -> None:
    """The old text's vector is with the encoder while the article is published anew."""
    bare(store, "N1")
    encoder.gate.clear()
    note(filler, store, catalogue, ["N1"])
    await until(lambda: bool(encoder.calls))
    changed = a_publication("N1", title="New title")
    store.inner.publish([changed], namespace=SPACE, now=NOW)
    encoder.gate.set()
    await until(lambda: "fill" in store.calls)
    await asyncio.sleep(0.02)
    catalogue.apply([stored(store, "N1")], NOW)
    assert np.array_equal(stored(store, "N1").vector, changed.vector)
    row = catalogue.current.row("N1")
    assert np.array_equal(catalogue.current.vectors[row], changed.vector)


async def test_an_article_taken_down_meanwhile_stays_away(
    filler: Filler, store: FlakyStore, catalogue: Catalogue, encoder: FakeEncoder
) -> None:
    """Its vector is with the encoder while it is taken down and the catalogue has seen that."""
    bare(store, "N1")
    encoder.gate.clear()
    note(filler, store, catalogue, ["N1"])
    await until(lambda: bool(encoder.calls))
    store.inner.take_down("N1")
    catalogue.apply([stored(store, "N1")], NOW)
    encoder.gate.set()
    await until(lambda: "fill" in store.calls)
    await asyncio.sleep(0.02)
    assert catalogue.current.size == 0
    assert stored(store, "N1").vector is None


async def test_an_article_that_lacks_a_vector_once_more_meanwhile_is_filled_again(
    filler: Filler, store: FlakyStore, catalogue: Catalogue, encoder: FakeEncoder
) -> None:
    """Published anew by another namespace, and noted, while its old text is being encoded."""
    bare(store, "N1")
    encoder.gate.clear()
    note(filler, store, catalogue, ["N1"])
    await until(lambda: bool(encoder.calls))
    changed = a_publication("N1", title="New title")
    store.inner.publish([changed], namespace="another space", now=NOW)
    note(filler, store, catalogue, ["N1"])
    encoder.gate.set()
    await until(lambda: stored(store, "N1").vector is not None)
    assert np.array_equal(stored(store, "N1").vector, changed.vector)


async def test_a_take_down_that_a_new_load_has_forgotten_is_not_undone(
    filler: Filler, store: FlakyStore, catalogue: Catalogue, encoder: FakeEncoder
) -> None:
    """A scan does not give what is taken down, so the catalogue knows nothing of the article."""
    bare(store, "N1")
    encoder.gate.clear()
    note(filler, store, catalogue, ["N1"])
    await until(lambda: bool(encoder.calls))
    store.inner.take_down("N1")
    catalogue.load(store.inner.scan(namespace=SPACE), NOW)
    encoder.gate.set()
    await until(lambda: "fill" in store.calls)
    await asyncio.sleep(0.02)
    assert catalogue.current.size == 0
