"""The metrics that the status page is drawn from, set where the thing happens."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.batching import Batcher
from tests.builders import a_catalogue
from tests.service.fakes import PATIENCE_S, FakeEncoder, until
from tests.service.web import served, until_shown

pytestmark = pytest.mark.anyio
SIZE = 40


async def measured(client: httpx.AsyncClient, name: str) -> dict[str, float]:
    """Read the values of a metric by their labels, joined."""
    page = (await client.get("/metrics")).text
    return {
        ",".join(one.labels.values()): one.value
        for family in text_string_to_metric_families(page)
        for one in family.samples
        if one.name == name
    }


async def publish_all(client: httpx.AsyncClient) -> None:
    """Publish a catalogue, and wait until it is shown."""
    lines = [a.model_dump_json(include={"id", "title"}) for a in a_catalogue(SIZE)]
    headers = {"content-type": "application/x-ndjson"}
    await client.post("/v1/news:batch", content="\n".join(lines), headers=headers)
    await until_shown(client, {f"N{i}" for i in range(SIZE)})


async def test_the_model_that_serves_is_named(bundle_path: Path) -> None:
    """Once, with its namespace, as answers name it."""
    async with served(bundle_path) as client:
        answer = (await client.get("/v1/latest")).json()
        named = await measured(client, "newsbert_model_info")
        assert named == {f"{answer['model']},{answer['namespace']}": 1}


async def test_a_snapshot_has_two_ages(bundle_path: Path) -> None:
    """One since its last change; one, always young, since it was known to equal the store."""
    began = time.time()
    changed, confirmed = (
        f"newsbert_snapshot_{one}_timestamp_seconds" for one in ("changed", "confirmed")
    )
    async with served(bundle_path) as client:
        first = (await measured(client, changed))[""]
        assert began <= first <= time.time()
        await publish_all(client)
        assert (await measured(client, changed))[""] > first
        now = time.time()
        async with asyncio.timeout(PATIENCE_S):
            while (await measured(client, confirmed))[""] < now:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.005)


@pytest.mark.parametrize(("retrieval", "rows"), [("exact", 0), ("auto", SIZE)])
async def test_rows_of_an_index_are_counted(bundle_path: Path, retrieval: str, rows: int) -> None:
    """As soon as it is built; with exact search there is none."""
    async with served(bundle_path, retrieval=retrieval, index_rows=SIZE) as client:
        await publish_all(client)
        async with asyncio.timeout(PATIENCE_S):
            while await measured(client, "newsbert_index_rows") != {"": rows}:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.005)
        assert await measured(client, "newsbert_articles") == {"": SIZE}


async def test_published_texts_are_counted_by_their_vectors(bundle_path: Path) -> None:
    """A text that was encoded before is known, whether or not the article changes otherwise."""
    async with served(bundle_path) as client:
        for source in ("wire", "wire", "desk"):
            await client.put("/v1/news/N1", json={"title": "Team wins", "source": source})
        await client.put("/v1/news/N1", json={"title": "Team loses"})
        counted = await measured(client, "newsbert_texts_total")
        assert counted == {"known": 2, "encoded": 2}


async def test_a_batcher_tells_how_many_texts_wait() -> None:
    """Those of both lanes, until a worker has taken them."""
    with ThreadPoolExecutor(1) as executor:
        batcher = Batcher(FakeEncoder().vectors, executor)
        assert batcher.waiting == 0
        waiting = asyncio.create_task(batcher.vectors(["one", "two"]))
        await until(lambda: batcher.waiting == 2)
        working = asyncio.create_task(batcher.run())
        await waiting
        assert batcher.waiting == 0
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def test_nothing_waits_for_the_encoder_of_an_idle_service(bundle_path: Path) -> None:
    """The gauge looks at the encoder each time that it is read."""
    async with served(bundle_path) as client:
        assert await measured(client, "newsbert_encoder_waiting") == {"": 0}
