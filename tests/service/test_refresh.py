"""A refresh encodes each text once, resumes where it was killed, and counts popularity."""

from collections.abc import Sequence
from math import log

import numpy as np
import pytest

from contract.article import Article
from service.errors import StoreUnavailable
from service.refresh import CHUNK, Progress, Refresher, popularity
from tests.builders import a_catalogue, an_article, an_impression
from tests.service.fakes import SPACE, SPEC, FakeClock, FakeEncoder, FlakyStore, a_vector


def refresher(store: FlakyStore, encoder: FakeEncoder) -> Refresher:
    """Start a process that refreshes."""
    return Refresher(store, encoder, SPEC, SPACE, FakeClock())  # type: ignore[arg-type]


def refresh(store: FlakyStore, encoder: FakeEncoder, articles: Sequence[Article]) -> Progress:
    """Run a whole refresh; return its sums."""
    steps = list(refresher(store, encoder).refresh(articles))
    return Progress(
        *(sum(getattr(s, f) for s in steps) for f in ("articles", "written", "encoded"))
    )


def distinct_texts(articles: Sequence[Article]) -> set[str]:
    """Return the texts that must be encoded."""
    return {SPEC.text(article) for article in articles}


def test_every_article_is_stored_with_its_vector(store: FlakyStore, encoder: FakeEncoder) -> None:
    """Over several chunks, each with the vector of its own text."""
    articles = a_catalogue(CHUNK + 10)
    assert refresh(store, encoder, articles) == Progress(CHUNK + 10, CHUNK + 10, CHUNK + 10)
    stored = store.inner.fetch([a.id for a in articles], namespace=SPACE)
    assert all(stored[a.id].article == a for a in articles)
    assert all(np.array_equal(stored[a.id].vector, a_vector(SPEC.text(a))) for a in articles)


def test_a_second_refresh_writes_and_encodes_nothing(
    store: FlakyStore, encoder: FakeEncoder
) -> None:
    """In another process: what is stored costs one look."""
    articles = a_catalogue(20)
    refresh(store, encoder, articles)
    assert refresh(store, encoder, articles) == Progress(20, 0, 0)
    assert len(encoder.texts) == 20


@pytest.mark.parametrize("apart", [1, CHUNK])
def test_two_ids_with_one_text_are_encoded_once(
    store: FlakyStore, encoder: FakeEncoder, apart: int
) -> None:
    """In one chunk or across chunks."""
    between = a_catalogue(apart)
    twins = an_article("T1", title="Twins"), an_article("T2", title="Twins")
    done = refresh(store, encoder, [twins[0], *between, twins[1]])
    assert (done.written, done.encoded) == (apart + 2, apart + 1)
    assert encoder.texts.count(SPEC.text(twins[0])) == 1


def test_of_one_id_given_twice_the_last_one_counts(store: FlakyStore, encoder: FakeEncoder) -> None:
    """Within a chunk it is one write."""
    first, last = an_article("N1", title="First"), an_article("N1", title="Last")
    assert refresh(store, encoder, [first, last]) == Progress(2, 1, 1)
    assert store.inner.fetch(["N1"], namespace=SPACE)["N1"].article == last


def test_a_change_beside_the_text_is_written_and_not_encoded(
    store: FlakyStore, encoder: FakeEncoder
) -> None:
    """A new url keeps the vector; a new topic is a new text."""
    refresh(store, encoder, [an_article("N1"), an_article("N2", title="Other")])
    changed = [an_article("N1", url="https://example.org"), an_article("N2", topic="health")]
    assert refresh(store, encoder, changed) == Progress(2, 2, 1)
    assert encoder.texts[-1] == SPEC.text(changed[1])


def test_a_killed_refresh_resumes(store: FlakyStore, encoder: FakeEncoder) -> None:
    """Killed after the first chunk and run again: every distinct text was encoded once in all."""
    articles = [*a_catalogue(CHUNK + 50), an_article("T1", title="Twins"), an_article("N0")]
    first = next(refresher(store, encoder).refresh(articles))
    assert first == Progress(CHUNK, CHUNK, CHUNK)
    refresh(store, encoder, articles)
    assert sorted(encoder.texts) == sorted({*distinct_texts(articles)})


def test_a_refresh_that_lost_its_store_resumes(store: FlakyStore, encoder: FakeEncoder) -> None:
    """The chunk in flight is encoded again, those before are not."""
    articles = a_catalogue(3 * CHUNK)
    steps = refresher(store, encoder).refresh(articles)
    next(steps)
    store.before["publish"] = lambda: setattr(store, "is_down", True)
    with pytest.raises(StoreUnavailable):
        next(steps)
    store.is_down = False
    refresh(store, encoder, articles)
    assert len(encoder.texts) == 3 * CHUNK + CHUNK
    assert {i for b in store.inner.scan(namespace=SPACE) for i in (s.id for s in b)} == {
        a.id for a in articles
    }


def test_nothing_to_refresh_is_no_error(store: FlakyStore, encoder: FakeEncoder) -> None:
    """An empty file."""
    assert list(refresher(store, encoder).refresh([])) == []


def test_popularity_is_the_logarithm_of_clicks() -> None:
    """Displays that were not clicked count nothing; an article without clicks has no weight."""
    impressions = [
        an_impression("1", candidates=("N1", "N2"), clicks=(True, False)),
        an_impression("2", candidates=("N2", "N1", "N3"), clicks=(True, True, False)),
        an_impression("3", candidates=("N1",), clicks=(True,)),
        an_impression("4", candidates=(), clicks=()),
    ]
    assert popularity(iter(impressions)) == pytest.approx({"N1": log(3), "N2": 0.0})
    assert popularity(iter([])) == {}
