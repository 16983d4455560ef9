"""The composition root: settings reach the parts that they are for, and all ends with the app."""

import threading
from pathlib import Path

import orjson
import pytest

from tests.builders import a_catalogue
from tests.service.web import served

pytestmark = pytest.mark.anyio


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
