"""Publishing: no text is encoded twice, nothing unchanged is written, take-downs are final."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress

import numpy as np
import pytest

from contract.article import Article
from service.batching import Batcher, Lane
from service.errors import ArticleUnknown, DeadlineExceeded, StoreUnavailable
from service.publish import Published, Publisher
from service.storage import AsyncStore
from tests.builders import an_article
from tests.service.fakes import NOW, SPACE, SPEC, FakeClock, FakeEncoder, FlakyStore, a_vector

pytestmark = pytest.mark.anyio


class Desk:
    """A publisher with all that it works on."""

    def __init__(self, publisher: Publisher, encoder: FakeEncoder, store: FlakyStore) -> None:
        self.publisher = publisher
        self.encoder = encoder
        self.store = store

    async def publish(self, *articles: Article, timeout_s: float = 10.0) -> dict[str, Published]:
        """Publish articles; return what became of each id."""
        done = await self.publisher.publish(articles, lane=Lane.INTERACTIVE, timeout_s=timeout_s)
        assert len({one.id for one in done}) == len(done)
        return {one.id: one for one in done}


@asynccontextmanager
async def opened(
    encoder: FakeEncoder, store: FlakyStore, executor: Executor
) -> AsyncIterator[Desk]:
    """Open a desk for the length of a block."""
    batcher = Batcher(encoder.vectors, executor)
    task = asyncio.create_task(batcher.run())
    await asyncio.sleep(0)
    clock = FakeClock()
    publisher = Publisher(AsyncStore(store, executor), batcher, SPEC, SPACE, clock)  # type: ignore[arg-type]
    yield Desk(publisher, encoder, store)
    encoder.gate.set()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def desk(encoder: FakeEncoder, store: FlakyStore, executor: Executor) -> AsyncIterator[Desk]:
    """Give an open desk."""
    async with opened(encoder, store, executor) as desk:
        yield desk


async def test_an_article_is_stored_with_its_vector(desk: Desk) -> None:
    """Acknowledged with a version, readable at once, first seen at the clock's time."""
    article = an_article("N1")
    assert await desk.publish(article) == {"N1": Published("N1", 1, is_changed=True)}
    stored = await desk.publisher.article("N1")
    assert (stored.article, stored.version, stored.first_seen) == (article, 1, NOW)
    assert np.array_equal(stored.vector, a_vector(SPEC.text(article)))


async def test_an_unchanged_article_costs_no_write_and_no_encoding(desk: Desk) -> None:
    """The same article again keeps its version and notifies nobody."""
    await desk.publish(an_article("N1"))
    assert await desk.publish(an_article("N1")) == {"N1": Published("N1", 1, is_changed=False)}
    assert len(desk.encoder.texts) == 1
    assert desk.store.calls.count("publish") == 1


async def test_of_one_id_given_twice_the_last_one_counts(desk: Desk) -> None:
    """It is one write and one text."""
    first, last = an_article("N1", title="First"), an_article("N1", title="Last")
    done = await desk.publish(first, an_article("N2"), last)
    assert {i: one.version for i, one in done.items()} == {"N1": 1, "N2": 1}
    assert (await desk.publisher.article("N1")).article == last
    assert SPEC.text(first) not in desk.encoder.texts


async def test_two_ids_with_one_text_are_encoded_once(desk: Desk) -> None:
    """Both are written, with the same vector."""
    await desk.publish(an_article("N1"), an_article("N2", url="https://example.org/2"))
    assert desk.encoder.texts == [SPEC.text(an_article())]
    one, two = [await desk.publisher.article(i) for i in ("N1", "N2")]
    assert np.array_equal(one.vector, two.vector)


@pytest.mark.parametrize(
    ("change", "is_encoded"),
    [
        ({"title": "Coach resigns"}, True),
        ({"topic": "politics"}, True),
        ({"subtopic": "tennis"}, True),
        ({"abstract": "Not part of the text."}, False),
        ({"url": "https://example.org"}, False),
        ({"source": "wire", "language": "en"}, False),
        ({"expires_at": "2030-01-01T00:00:00Z"}, False),
    ],
)
async def test_only_a_change_of_the_text_is_encoded(
    desk: Desk, change: dict[str, str], is_encoded: bool
) -> None:
    """Every change is written; the vector is that of the present text."""
    await desk.publish(an_article("N1"))
    changed = an_article("N1", **change)
    assert (await desk.publish(changed))["N1"] == Published("N1", 2, is_changed=True)
    assert len(desk.encoder.texts) == (2 if is_encoded else 1)
    stored = await desk.publisher.article("N1")
    assert stored.article == changed
    assert np.array_equal(stored.vector, a_vector(SPEC.text(changed)))


async def test_changed_unchanged_and_new_articles_may_come_together(desk: Desk) -> None:
    """Each is answered for itself."""
    await desk.publish(an_article("N1"), an_article("N2"))
    done = await desk.publish(
        an_article("N1"), an_article("N2", title="New title"), an_article("N3", title="Third")
    )
    assert {i: (one.version, one.is_changed) for i, one in done.items()} == {
        "N1": (1, False), "N2": (2, True), "N3": (1, True),
    }  # fmt: skip


async def test_nothing_to_publish_is_no_error(desk: Desk) -> None:
    """An empty batch writes nothing."""
    assert await desk.publish() == {}
    assert "publish" not in desk.store.calls


async def test_an_article_taken_down_is_unknown_until_published_anew(desk: Desk) -> None:
    """Its vector went with it, so the text is encoded again; versions go on."""
    await desk.publish(an_article("N1"))
    assert await desk.publisher.take_down("N1") == 2
    with pytest.raises(ArticleUnknown):
        await desk.publisher.article("N1")
    assert (await desk.publish(an_article("N1")))["N1"].version == 3
    assert len(desk.encoder.texts) == 2


@pytest.mark.parametrize("is_taken_down", [False, True])
async def test_taking_down_what_is_not_there_is_unknown(desk: Desk, is_taken_down: bool) -> None:
    """Never published, or taken down before."""
    if is_taken_down:
        await desk.publish(an_article("N1"))
        await desk.publisher.take_down("N1")
    with pytest.raises(ArticleUnknown):
        await desk.publisher.take_down("N1")


async def test_reading_an_unknown_article_says_so(desk: Desk) -> None:
    """Unknown is an error of its own, not an empty article."""
    with pytest.raises(ArticleUnknown):
        await desk.publisher.article("nothing")


async def test_what_cannot_be_encoded_in_time_is_not_stored(desk: Desk) -> None:
    """No article is stored that cannot be recommended."""
    desk.encoder.gate.clear()
    with pytest.raises(DeadlineExceeded):
        await desk.publish(an_article("N1"), timeout_s=0.05)
    assert "publish" not in desk.store.calls


async def test_a_store_that_does_not_answer_is_told_to_the_publisher(desk: Desk) -> None:
    """Nothing is acknowledged that is not stored."""
    desk.store.is_down = True
    with pytest.raises(StoreUnavailable):
        await desk.publish(an_article("N1"))
    desk.store.is_down = False
    assert (await desk.publish(an_article("N1")))["N1"].is_changed


async def test_publishers_of_one_article_at_once_leave_one_whole_article(desk: Desk) -> None:
    """Whoever wrote last: article and vector belong together."""
    articles = [an_article("N1", title=f"Title {i}") for i in range(8)]
    done = await asyncio.gather(*(desk.publish(article) for article in articles))
    assert sorted(one["N1"].version for one in done) == list(range(1, 9))
    stored = await desk.publisher.article("N1")
    assert stored.article is not None
    assert np.array_equal(stored.vector, a_vector(SPEC.text(stored.article)))
