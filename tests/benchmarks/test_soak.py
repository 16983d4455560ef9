"""The soak benchmark judges rightly, and its requests notice wrong answers."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import mixture, soak
from benchmarks.comparison import BenchmarkError
from benchmarks.mixture import Visitors
from service.adapters.memory_store import MemoryStore
from service.client import Client
from service.wire.ranked import RecommendationAnswer
from tests.builders import a_bundle

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def samples(*levels: float) -> list[soak.Sample]:
    """Look at a process every hundred requests."""
    return [
        {"requests": 100.0 * n, "rss_mib": one, "peak_mib": max(levels)}
        for n, one in enumerate(levels)
    ]


def test_the_level_is_taken_after_the_warm_up() -> None:
    """What is taken before it is no leak; what is given back later is none."""
    found = soak.figures(samples(200, 290, 300, 310, 299), warm_up=200)
    assert (found["ready_mib"], found["level_mib"]) == (200, 300)
    assert (found["highest_to_level"], found["last_mib"]) == (1.0333, 299)
    soak.check_flat(found)


@pytest.mark.parametrize("levels", [(200, 300, 310, 316), (200, 300, 316, 300)])
def test_growth_by_more_than_a_twentieth_is_told(levels: tuple[float, ...]) -> None:
    """At the end or in between."""
    with pytest.raises(BenchmarkError, match=r"grew to 1\.053 times"):
        soak.check_flat(soak.figures(samples(*levels), warm_up=100))


def test_a_run_that_is_all_warm_up_has_no_figure() -> None:
    """One look is no comparison."""
    with pytest.raises(BenchmarkError, match="after a warm-up of 200"):
        soak.figures(samples(200, 300, 300), warm_up=200)


def test_memory_is_read_from_the_status() -> None:
    """In MiB: what is held now, and the most that ever was."""
    status = "VmPeak:\t 9 kB\nVmHWM:\t  2048 kB\nVmRSS:\t  1536 kB\n"
    assert soak.parse_memory(status) == {"rss_mib": 1.5, "peak_mib": 2.0}


def test_made_up_texts_are_like_a_language() -> None:
    """Each number has its own word, some words are frequent, most are rare."""
    assert len({mixture.word(n) for n in range(2 * mixture.WORDS)}) == 2 * mixture.WORDS
    counts = Counter(mixture.text(np.random.default_rng(1), 20_000).split())
    assert counts.most_common(1)[0][1] > 1_000
    assert len(counts) > 5_000


def test_the_catalogue_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    """Articles, vectors and clicks."""
    bundle = a_bundle(tmp_path / "tiny")
    stores = MemoryStore(), MemoryStore()
    for store in stores:
        assert len(soak.filled(store, bundle, 50)) == 50
    one, other = (store.fetch(["M7"], namespace=bundle.namespace)["M7"] for store in stores)
    assert one.article is not None
    assert other.article is not None
    assert one.article.title == other.article.title
    assert np.array_equal(one.vector, other.vector)


class Wrong(Client):
    """A service that repeats one article on every page."""

    async def recommend(self, body: Any) -> RecommendationAnswer:
        """Answer with the same ten again and again."""
        items = [{"id": f"N{n}", "score": 1.0, "rank": n + 1} for n in range(mixture.N)]
        said = {"model": "m", "namespace": "n", "generation": 1, "degraded": []}
        told = {"items": items, "strategy": "latest", "empty": None, "next_cursor": "c"}
        return RecommendationAnswer.model_validate({**told, **said})


@pytest.mark.anyio
async def test_a_wrong_answer_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that repeats the last one, for example."""
    monkeypatch.setattr(mixture, "SHARES", {"walk": 1})
    async with Wrong("http://test") as client:
        with pytest.raises(BenchmarkError, match="page 2 of a walk"):
            await Visitors(client, ["N1"], seed=1).one()


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio."""
    return "asyncio"
