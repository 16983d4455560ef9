"""The catalogue: newest versions win, vectors may come late, merging keeps everything."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.article import Vectors
from service.catalogue import LOGITS_AT_ONCE, MERGE_ROWS, Catalogue
from service.errors import StoreUnavailable
from service.id_table import ABSENT
from service.popularity import PopularityUpdate
from service.ports import Activation, StoredArticle
from service.snapshot import Snapshot
from tests.service.fakes import (
    ACTIVATION,
    DIM,
    HOUR,
    NOW,
    NumpyIndex,
    NumpyIndexes,
    a_catalogue_with,
    a_stored,
    a_take_down,
)


def many(count: int, *, version: int = 1, start: int = 0) -> list[StoredArticle]:
    """Build articles quickly: one vector and one body for all, the id in both."""
    one = a_stored("M", version=version)
    assert one.article is not None
    return [
        replace(one, id=f"M{i}", article=one.article.model_copy(update={"id": f"M{i}"}))
        for i in range(start, start + count)
    ]


def titles(snapshot: Snapshot) -> dict[str, str]:
    """List the title of every article by id."""
    rows = np.flatnonzero(snapshot.is_current)
    return {snapshot.columns.facts[row].id: snapshot.columns.facts[row].title for row in rows}


def test_a_new_version_replaces_the_old_one() -> None:
    """The id answers with its newest title and vector, and counts once."""
    catalogue = a_catalogue_with(a_stored("N1", title="Old"))
    new = a_stored("N1", version=2, title="New")
    assert catalogue.apply([new], NOW) == 1
    snapshot = catalogue.current
    assert titles(snapshot) == {"N1": "New"}
    assert np.array_equal(snapshot.vectors[snapshot.row("N1")], new.vector)


@pytest.mark.parametrize("batch", [[1, 2], [2, 1], [2, 2, 1]])
def test_of_versions_in_one_batch_the_highest_wins(batch: list[int]) -> None:
    """The order within a batch means nothing."""
    catalogue = a_catalogue_with()
    changed = [a_stored("N1", version=v, title=f"Title {v}") for v in batch]
    assert catalogue.apply(changed, NOW) == 1
    assert titles(catalogue.current) == {"N1": "Title 2"}


def test_a_version_seen_before_is_no_news() -> None:
    """Notifications may come twice or late: nothing changes, not even the snapshot object."""
    catalogue = a_catalogue_with(a_stored("N1", version=2))
    before = catalogue.current
    assert catalogue.apply([a_stored("N1", version=2), a_stored("N1", version=1)], NOW) == 0
    assert catalogue.current is before


def test_a_take_down_removes_an_article_until_it_is_published_anew() -> None:
    """After a take-down a late notification of the old version does not bring it back."""
    catalogue = a_catalogue_with(a_stored("N1"))
    catalogue.apply([a_take_down("N1", version=2)], NOW)
    catalogue.apply([a_stored("N1", version=1)], NOW)
    assert (catalogue.current.size, catalogue.current.row("N1")) == (0, ABSENT)
    catalogue.apply([a_stored("N1", version=3, title="Back")], NOW)
    assert titles(catalogue.current) == {"N1": "Back"}


def test_an_article_appears_when_its_vector_arrives() -> None:
    """Without a vector it is not shown; the same version with a vector is news once."""
    bare, whole = a_stored("N1", vector=None), a_stored("N1")
    catalogue = a_catalogue_with(bare)
    assert catalogue.current.size == 0
    assert catalogue.apply([bare], NOW) == 0
    assert [catalogue.apply([whole], NOW), catalogue.apply([whole], NOW)] == [1, 0]
    assert catalogue.current.size == 1


def test_a_changed_text_without_a_vector_hides_the_old_text() -> None:
    """An old vector never stands for a new text."""
    catalogue = a_catalogue_with(a_stored("N1", title="Old"))
    catalogue.apply([a_stored("N1", version=2, title="New", vector=None)], NOW)
    assert catalogue.current.size == 0
    catalogue.apply([a_stored("N1", version=2, title="New")], NOW)
    assert titles(catalogue.current) == {"N1": "New"}


@pytest.mark.parametrize("added", [MERGE_ROWS, MERGE_ROWS + 1, 3 * MERGE_ROWS])
def test_merging_keeps_everything(added: int) -> None:
    """Above 2,000 changed ids there is one base again, with old, changed and new articles."""
    catalogue = a_catalogue_with(*many(1_000))
    catalogue.set_popularity(PopularityUpdate({"M0": 1.0, "M999": 2.0, "M1000": 3.0}))
    catalogue.apply([a_take_down("M1", 2)], NOW)
    changed = many(added, version=3, start=500)
    for start in range(0, added, 700):
        catalogue.apply(changed[start : start + 700], NOW)
    snapshot = catalogue.current
    rows = [snapshot.row(f"M{i}") for i in range(500 + added)]
    assert snapshot.size == 500 + added - 1
    assert rows[1] == ABSENT
    assert len(set(rows)) == len(rows)
    assert [snapshot.columns.facts[r].version for r in rows[:502] if r >= 0] == [1] * 499 + [3, 3]
    assert snapshot.popularity[[rows[0], rows[999], rows[1000]]].tolist() == [1.0, 2.0, 3.0]
    is_merged = len(snapshot.recent) < added
    assert is_merged == (added > MERGE_ROWS - 1)


def test_many_changes_of_one_article_run_out_of_no_room() -> None:
    """Each change takes a row; full columns are merged, and old rows are let go."""
    catalogue = Catalogue(ACTIVATION, DIM, history_ttl_s=0, merge_rows=4)
    for version in range(1, 100):
        catalogue.apply([a_stored("N1", version=version, title=f"Title {version}")], NOW)
    assert titles(catalogue.current) == {"N1": "Title 99"}
    assert len(catalogue.current.columns.vectors) <= 10


@pytest.mark.parametrize(("size", "is_merged"), [(100, True), (500, False)])
def test_in_a_large_catalogue_one_percent_may_change_before_a_merge(
    size: int, is_merged: bool
) -> None:
    """Four changed ids are above a bound of two, yet not above one percent of 500."""
    catalogue = Catalogue(ACTIVATION, DIM, history_ttl_s=0, merge_rows=2)
    catalogue.load([many(size)], now=NOW)
    catalogue.apply(many(4, start=1_000), NOW)
    assert (len(catalogue.current.recent) == 0) == is_merged
    assert catalogue.current.size == size + 4


def test_an_expired_article_counts_in_histories_until_its_time_to_live_ends() -> None:
    """After expiry plus history_ttl a merge drops the row; before that it is kept but not live."""
    expired = datetime.fromtimestamp(NOW - 2 * HOUR, UTC)
    catalogue = Catalogue(ACTIVATION, DIM, history_ttl_s=3 * HOUR, merge_rows=1)
    catalogue.load([[a_stored("N1", expires_at=expired)]], now=NOW)
    catalogue.apply([a_stored("N2"), a_stored("N3")], NOW)
    assert titles(catalogue.current).keys() == {"N1", "N2", "N3"}
    assert not catalogue.current.live(NOW)[catalogue.current.row("N1")]
    catalogue.apply([a_stored("N4"), a_stored("N5")], NOW + HOUR)
    assert titles(catalogue.current).keys() == {"N2", "N3", "N4", "N5"}


def test_a_load_leaves_out_what_histories_may_no_longer_use() -> None:
    """A restart does not bring back what a merge had dropped."""
    old, recent = (datetime.fromtimestamp(NOW - hours * HOUR, UTC) for hours in (4, 2))
    catalogue = Catalogue(ACTIVATION, DIM, history_ttl_s=3 * HOUR)
    catalogue.load([[a_stored("N1", expires_at=old), a_stored("N2", expires_at=recent)]], now=NOW)
    assert titles(catalogue.current).keys() == {"N2"}


def test_a_load_replaces_everything() -> None:
    """What a scan does not give is gone, and versions count from what it gave."""
    catalogue = a_catalogue_with(a_stored("N1", version=9), a_stored("N2", version=9))
    catalogue.load([[a_stored("N1", version=1, title="Restored")], [a_stored("N3")]], now=NOW)
    assert titles(catalogue.current).keys() == {"N1", "N3"}
    assert catalogue.apply([a_stored("N2", version=1)], NOW) == 1


def test_popularity_goes_with_articles_that_come_later() -> None:
    """A table may name articles that are not there yet; it is replaced as a whole."""
    catalogue = a_catalogue_with(a_stored("N1"))
    catalogue.set_popularity(PopularityUpdate({"N1": 0.5, "N2": 1.5}))
    catalogue.apply([a_stored("N2"), a_stored("N3")], NOW)
    assert catalogue.current.popularity.tolist() == [0.5, 1.5, -np.inf]
    catalogue.set_popularity(PopularityUpdate({"N3": 2.5}))
    assert catalogue.current.popularity.tolist() == [-np.inf, -np.inf, 2.5]


def test_an_activation_is_seen_with_the_same_articles() -> None:
    """Another bundle of the same namespace keeps the rows."""
    catalogue = a_catalogue_with(a_stored("N1"))
    flipped = Activation(generation=7, model="model-2", namespace=ACTIVATION.namespace)
    catalogue.set_activation(flipped)
    assert catalogue.current.activation == flipped
    assert catalogue.current.size == 1


def first_numbers(vectors: Vectors) -> NDArray[np.float32]:
    """Stand in for the attention logit of an article."""
    return vectors[:, 0].copy()


@pytest.mark.parametrize("size", [3, LOGITS_AT_ONCE + 1])
def test_every_row_has_its_logit_whichever_way_it_came(size: int) -> None:
    """Loaded, applied and merged rows have theirs; a whole catalogue is not encoded at once."""
    asked: list[int] = []

    def logits(vectors: Vectors) -> NDArray[np.float32]:
        asked.append(len(vectors))
        return first_numbers(vectors)

    catalogue = a_catalogue_with(*many(size), a_stored("N1"), merge_rows=2, logits=logits)
    catalogue.apply([a_stored("N2")], NOW)
    for snapshot in (catalogue.current, merged(catalogue)):
        assert np.array_equal(
            snapshot.columns.logits[: snapshot.count], first_numbers(snapshot.vectors)
        )
    assert max(asked) <= LOGITS_AT_ONCE
    assert sum(asked) == catalogue.current.count


def merged(catalogue: Catalogue) -> Snapshot:
    """Change so much that the rows are merged."""
    before = catalogue.current.columns
    for version in range(2, 200):
        catalogue.apply(many(8, version=version, start=1_000_000), NOW)
        if catalogue.current.columns is not before:
            return catalogue.current
    raise AssertionError("never merged")


def test_every_row_has_the_words_of_its_article() -> None:
    """Whoever is asked for them sees the whole article, and merging keeps them."""
    catalogue = a_catalogue_with(
        a_stored("N1", abstract="one"), merge_rows=2, terms=lambda a: a.abstract.encode()
    )
    catalogue.apply([a_stored("N2", abstract="two"), a_stored("N3", vector=None)], NOW)
    assert catalogue.current.columns.terms == [b"one", b"two"]
    assert merged(catalogue).columns.terms[:2] == [b"one", b"two"]


def test_a_write_that_fails_leaves_nothing_behind() -> None:
    """The rows already written are seen neither at once nor with the next write."""
    is_broken = False

    def logits(vectors: Vectors) -> NDArray[np.float32]:
        if is_broken:
            raise ValueError("broken")
        return first_numbers(vectors)

    catalogue = a_catalogue_with(a_stored("N1"), logits=logits)
    before, is_broken = catalogue.current, True
    with pytest.raises(ValueError, match="broken"):
        catalogue.apply([a_stored("N2"), a_stored("N3")], NOW)
    assert catalogue.current is before
    is_broken = False
    catalogue.apply([a_stored("N4")], NOW)
    assert (titles(catalogue.current).keys(), catalogue.current.size) == ({"N1", "N4"}, 2)
    assert catalogue.apply([a_stored("N2")], NOW) == 1


def test_a_load_and_a_merge_are_followed_by_an_index() -> None:
    """It covers all rows of then; later rows are the tail; the next one learns from the last."""
    indexes = NumpyIndexes()
    catalogue = a_catalogue_with(*many(5), merge_rows=2, indexes=indexes)
    first = catalogue.current.index
    assert first is not None
    assert (first.size, indexes.lent) == (5, [None])
    catalogue.apply([a_stored("N1")], NOW)
    catalogue.set_popularity(PopularityUpdate({"N1": 1.0}))
    assert catalogue.current.index is first
    snapshot = merged(catalogue)
    assert snapshot.index is not None
    assert (snapshot.index.size, indexes.lent) == (snapshot.count, [None, first])


def test_a_snapshot_is_live_before_its_index_is_built() -> None:
    """Meanwhile it is searched exactly: what was written is there at once."""
    indexes, seen = NumpyIndexes(), list[Snapshot]()
    catalogue = Catalogue(ACTIVATION, DIM, history_ttl_s=HOUR, indexes=indexes)
    indexes.meanwhile = lambda: seen.append(catalogue.current)
    catalogue.load([many(5)], NOW)
    assert [(snapshot.size, snapshot.index) for snapshot in seen] == [(5, None)]


def test_a_small_catalogue_has_no_index_until_it_has_grown() -> None:
    """The builder decides from which number of rows on."""
    catalogue = a_catalogue_with(*many(3), indexes=NumpyIndexes(fewest=5))
    assert catalogue.current.index is None
    catalogue.apply(many(2, start=3), NOW)
    assert catalogue.current.index is not None


def test_an_index_of_rows_merged_meanwhile_is_thrown_away() -> None:
    """The other writer's merge numbers the rows anew; the next index is of those."""
    indexes = NumpyIndexes()
    catalogue = Catalogue(ACTIVATION, DIM, history_ttl_s=HOUR, merge_rows=1, indexes=indexes)
    catalogue.apply([a_take_down("M1", version=9)], NOW)
    other = threading.Thread(target=catalogue.apply, args=(many(3, version=2), NOW))

    def merge_meanwhile() -> None:
        old = catalogue.current.columns
        other.start()
        while catalogue.current.columns is old:
            time.sleep(0.001)

    indexes.meanwhile = merge_meanwhile
    catalogue.apply(many(3), NOW)
    other.join()
    snapshot = catalogue.current
    assert isinstance(snapshot.index, NumpyIndex)
    assert np.array_equal(snapshot.index.vectors, snapshot.vectors)


def test_an_index_is_built_where_it_is_started() -> None:
    """One at a time, whatever is written meanwhile; one that fails is not the last."""
    indexes, work = NumpyIndexes(), list[Callable[[], None]]()
    catalogue = a_catalogue_with(*many(3), indexes=indexes, start=work.append)
    catalogue.apply([a_stored("N1")], NOW)
    assert (len(work), catalogue.current.index) == (1, None)

    def fail() -> None:
        raise ValueError("broken")

    indexes.meanwhile = fail
    with pytest.raises(ValueError, match="broken"):
        work.pop()()
    catalogue.apply([a_stored("N2")], NOW)
    work.pop()()
    assert catalogue.current.index is not None
    assert (catalogue.current.index.size, work) == (5, [])


def test_who_waits_for_a_vector_is_known() -> None:
    """Until it has come, or the article is taken down; whichever way it was noticed."""
    catalogue = a_catalogue_with(*(a_stored(f"N{i}", vector=None) for i in range(3)), a_stored("M"))
    catalogue.apply([a_take_down("N1"), a_stored("N3", vector=None)], NOW)
    catalogue.fill([a_stored("N0")], NOW)
    assert sorted(catalogue.lacking()) == ["N2", "N3"]
    catalogue.load([[a_stored("N4", vector=None)], [a_stored("N4", version=2)]], NOW)
    assert catalogue.lacking() == []


def test_a_scan_that_fails_leaves_everything_as_it_was() -> None:
    """The store may be lost in the middle of it."""
    catalogue = a_catalogue_with(a_stored("N1"), a_stored("N2", vector=None))

    def broken() -> Iterator[list[StoredArticle]]:
        yield [a_stored("N3"), a_stored("N1", version=2, title="New")]
        raise StoreUnavailable("gone")

    before = catalogue.current
    with pytest.raises(StoreUnavailable):
        catalogue.load(broken(), NOW)
    assert catalogue.current is before
    assert catalogue.lacking() == ["N2"]
    assert catalogue.apply([a_stored("N3")], NOW) == 1


def test_names_of_few_kinds_are_held_once() -> None:
    """A million articles of one topic hold one string for it."""
    catalogue = a_catalogue_with(
        a_stored("N1", topic="".join(["spo", "rts"])), a_stored("N2", topic="".join(["sp", "orts"]))
    )
    first, second = catalogue.current.columns.facts
    assert first.topic is second.topic


def test_two_writers_at_once_lose_nothing() -> None:
    """The follower and the filler apply from different threads."""
    catalogue = Catalogue(ACTIVATION, DIM, history_ttl_s=HOUR, merge_rows=16)
    halves = many(200), many(200, start=200)

    def apply(half: list[StoredArticle]) -> None:
        for stored in half:
            catalogue.apply([stored], NOW)

    writers = [threading.Thread(target=apply, args=(half,)) for half in halves]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert catalogue.current.size == 400
    assert all(catalogue.current.row(f"M{i}") != ABSENT for i in range(400))
