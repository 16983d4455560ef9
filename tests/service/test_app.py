"""The composition root: settings reach the parts that they are for, and all ends with the app."""

import asyncio
import gc
import threading
from pathlib import Path

import orjson
import pytest

from service.app import create_app
from tests.builders import a_catalogue
from tests.service.events import a_click
from tests.service.web import served, serving_app

pytestmark = pytest.mark.anyio


def jobs() -> set[str]:
    """Name what runs on the event loop."""
    return {task.get_name() for task in asyncio.all_tasks()}


def encoder_threads() -> int:
    """Count the threads that encode."""
    return sum(thread.name.startswith("encoder") for thread in threading.enumerate())


@pytest.mark.parametrize("threads", [1, 2])
async def test_as_many_threads_encode_as_are_set_and_end_with_the_app(
    bundle_path: Path, threads: int
) -> None:
    """Each has a batch of its own where there is enough to encode."""
    lines = [a.model_dump_json(include={"id", "title"}) for a in a_catalogue(200)]
    headers = {"content-type": "application/x-ndjson"}
    async with served(bundle_path, threads=threads) as client:
        answer = await client.post("/v1/news:batch", content="\n".join(lines), headers=headers)
        assert orjson.loads(answer.content)["written"] == 200
        assert encoder_threads() == threads
    assert encoder_threads() == 0


async def test_only_a_process_of_its_own_keeps_the_collector_from_the_catalogue(
    bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others, such as tests, hold more than the service in their memory."""
    async with serving_app(bundle_path):
        assert "collector" not in jobs()
    monkeypatch.setenv("NEWSBERT_BUNDLE", str(bundle_path))
    monkeypatch.setenv("NEWSBERT_STORE", "memory://")
    app = create_app()
    async with app.router.lifespan_context(app):
        assert "collector" in jobs()
    gc.unfreeze()
    assert "collector" not in jobs()


@pytest.mark.parametrize("key", ["", "a key of their own"])
async def test_processes_with_one_key_know_a_reader_by_one_pseudonym(
    bundle_path: Path, tmp_path: Path, key: str
) -> None:
    """The store's, or the one that is given; with another key nothing is found."""
    store, click = f"sqlite:///{tmp_path}/store.sqlite", a_click()
    async with served(bundle_path, store, reader_key=key) as client:
        assert (await client.post("/v1/feedback", json=[click])).json()["accepted"] == 1
    path = f"/v1/users/{click['user_id']}"
    async with served(bundle_path, store, reader_key=key) as client:
        assert (await client.get(path)).json()["events"][0]["event_id"] == click["event_id"]
    async with served(bundle_path, store, reader_key="another") as client:
        assert (await client.get(path)).status_code == 404
