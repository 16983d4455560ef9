"""What every store promises, whatever it is made of."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from contract.text import fingerprint
from service.adapters.frames import FrameError
from service.ports import Store
from tests.stores import NOW, SPACE, Shelf, a_publication, a_vector, get, put, scanned

OTHER_SPACE = "space-2"


# --- articles -------------------------------------------------------------------------------------


def test_a_published_article_comes_back_as_it_was(store: Store) -> None:
    """Every field, the fingerprint, the time first seen and the vector survive, bit for bit."""
    publication = a_publication(
        "N1", "Élan: “ünïcode” 🗞", source="Kurier", url="https://a.example/1"
    )
    assert put(store, publication) == [1]
    stored = get(store)
    assert (stored.article, stored.fingerprint) == (publication.article, publication.fingerprint)
    assert (stored.version, stored.first_seen) == (1, NOW)
    assert stored.vector is not None
    assert stored.vector.dtype == np.float32
    np.testing.assert_array_equal(stored.vector, publication.vector)


def test_unknown_ids_are_absent(store: Store) -> None:
    """What was never published is not in the answer, and asking for nothing answers nothing."""
    put(store, a_publication("N1"))
    assert set(store.fetch(["N1", "N2"], namespace=SPACE)) == {"N1"}
    assert store.fetch([], namespace=SPACE) == {}
    assert scanned(store).keys() == {"N1"}


def test_versions_grow_with_each_write_and_come_in_order(store: Store) -> None:
    """One call answers for each publication in turn, also for one article twice."""
    batch = [a_publication("N1", "one"), a_publication("N2", "two"), a_publication("N1", "three")]
    assert put(store, *batch) == [1, 1, 2]
    assert get(store).article == batch[2].article
    assert put(store, a_publication("N1", "four")) == [3]
    assert put(store) == []


def test_first_seen_is_never_changed(store: Store) -> None:
    """A correction, and even a take-down, leaves the time an article was first seen."""
    store.publish([a_publication("N1", "one")], namespace=SPACE, now=NOW)
    store.publish([a_publication("N1", "two")], namespace=SPACE, now=NOW + 60.25)
    store.take_down("N1")
    store.publish([a_publication("N1", "three")], namespace=SPACE, now=NOW + 120)
    assert get(store).first_seen == NOW


def test_a_batch_larger_than_any_internal_limit_is_written_and_read_whole(store: Store) -> None:
    """1,200 articles in one call are all there, by id and by scan, with their vectors."""
    batch = [a_publication(f"N{i}", f"text {i}") for i in range(1_200)]
    assert put(store, *batch) == [1] * len(batch)
    found = scanned(store)
    assert found.keys() == store.fetch([p.article.id for p in batch], namespace=SPACE).keys()
    for publication in batch:
        np.testing.assert_array_equal(found[publication.article.id].vector, publication.vector)


def test_two_stores_on_the_same_data_see_the_same(shelf: Shelf) -> None:
    """What one store has acknowledged, another one opened before or after reads."""
    first, second = shelf.open(), shelf.open()
    put(first, a_publication("N1"))
    assert get(second) is not None
    put(second, a_publication("N1", "two"))
    assert get(first).version == get(shelf.open()).version == 2


# --- take-downs -----------------------------------------------------------------------------------


def test_a_take_down_leaves_a_version_and_nothing_else(store: Store) -> None:
    """The article is still known, as taken down; a scan passes over it."""
    put(store, a_publication("N1"), a_publication("N2"))
    assert store.take_down("N1") == 2
    stored = get(store)
    assert (stored.version, stored.article, stored.fingerprint) == (2, None, "")
    assert stored.vector is None
    assert scanned(store).keys() == {"N2"}


def test_taking_down_what_is_not_there_does_nothing(store: Store) -> None:
    """An unknown article and one already taken down answer None and notify nobody."""
    put(store, a_publication("N1"))
    store.take_down("N1")
    end = store.position()
    assert store.take_down("N1") is None
    assert store.take_down("N2") is None
    assert store.changes(end).ids == ()


def test_a_take_down_removes_the_vectors_of_every_namespace(store: Store) -> None:
    """The same text published again without a vector has none in any namespace."""
    put(store, a_publication("N1"))
    fill = {"N1": (a_publication().fingerprint, a_vector("other"))}
    store.fill(fill, namespace=OTHER_SPACE)
    assert get(store, namespace=OTHER_SPACE).vector is not None
    store.take_down("N1")
    assert put(store, a_publication("N1", has_vector=False)) == [3]
    assert get(store).vector is None
    assert get(store, namespace=OTHER_SPACE).vector is None


def test_a_fill_after_a_take_down_adds_nothing(store: Store) -> None:
    """A slow encoder must not put back what was taken down."""
    publication = a_publication("N1")
    put(store, publication)
    store.take_down("N1")
    store.fill({"N1": (publication.fingerprint, a_vector("x"))}, namespace=SPACE)
    put(store, a_publication("N1", has_vector=False))
    assert get(store).vector is None


def test_take_downs_race_with_writes_without_leaving_vectors(shelf: Shelf) -> None:
    """However publishing, filling and taking down interleave, what is down has no vector."""
    publication = a_publication("N1", has_vector=False)
    fill = {"N1": (publication.fingerprint, a_vector("x"))}
    first, second, third = (shelf.open() for _ in range(3))
    for _ in range(20):
        put(first, publication)
        acts: list[Callable[[], object]] = [
            lambda: first.take_down("N1"),
            lambda: second.fill(fill, namespace=SPACE),
            lambda: third.fill(fill, namespace=OTHER_SPACE),
        ]
        _at_once(*acts)
        put(first, publication)
        assert get(first).vector is None
        assert get(first, namespace=OTHER_SPACE).vector is None
        first.take_down("N1")


# --- vectors --------------------------------------------------------------------------------------


def test_a_stale_vector_is_never_returned(store: Store) -> None:
    """A new text published without a vector has none until one is filled in."""
    put(store, a_publication("N1", "one"))
    put(store, a_publication("N1", "two", has_vector=False))
    assert get(store).vector is None
    assert scanned(store)["N1"].vector is None
    put(store, a_publication("N1", "two"))
    np.testing.assert_array_equal(get(store).vector, a_vector("two"))


def test_a_vector_outlives_changes_that_leave_the_text_alone(store: Store) -> None:
    """New metadata published without a vector keeps the vector of the same text."""
    put(store, a_publication("N1"))
    put(store, a_publication("N1", has_vector=False, source="Kurier"))
    np.testing.assert_array_equal(get(store).vector, a_publication().vector)


def test_vectors_of_two_namespaces_never_mix(store: Store) -> None:
    """A vector is read in its own namespace only, and each may have its own width."""
    put(store, a_publication("N1"))
    assert get(store, namespace=OTHER_SPACE).vector is None
    wide = a_vector("wide", dim=16)
    store.fill({"N1": (a_publication().fingerprint, wide)}, namespace=OTHER_SPACE)
    np.testing.assert_array_equal(get(store, namespace=OTHER_SPACE).vector, wide)
    np.testing.assert_array_equal(get(store).vector, a_publication().vector)


def test_a_fill_notifies_but_makes_no_new_version(store: Store) -> None:
    """Readers hear of the vector; one that already shows this version has nothing to replace."""
    put(store, a_publication("N1", has_vector=False))
    end = store.position()
    store.fill({"N1": (a_publication().fingerprint, a_vector("x"))}, namespace=SPACE)
    np.testing.assert_array_equal(get(store).vector, a_vector("x"))
    assert get(store).version == 1
    assert store.changes(end).ids == ("N1",)


def test_a_fill_adds_only_where_this_text_has_no_vector(store: Store) -> None:
    """Other texts, unknown articles and vectors already there are left alone, and silently."""
    put(store, a_publication("N1", "one"), a_publication("N2", "two", has_vector=False))
    end = store.position()
    other = a_vector("other")
    fills = {name: (fingerprint("one"), other) for name in ("N1", "N2", "N3")}
    store.fill(fills, namespace=SPACE)
    np.testing.assert_array_equal(get(store, "N1").vector, a_vector("one"))
    assert get(store, "N2").vector is None
    assert "N3" not in store.fetch(["N3"], namespace=SPACE)
    assert store.changes(end).ids == ()


@pytest.mark.parametrize(
    ("number", "reason"),
    [(np.nan, "finite"), (np.inf, "finite"), (-np.inf, "finite"), (0.0, "norm")],
)
def test_vectors_that_are_not_sound_are_refused(store: Store, number: float, reason: str) -> None:
    """Nothing of the call is written."""
    bad = np.full(8, number, dtype=np.float32)
    publication = a_publication("N2")
    end = store.position()
    with pytest.raises(FrameError, match=reason):
        put(store, a_publication("N1"), type(publication)(publication.article, "0" * 32, bad))
    with pytest.raises(FrameError, match=reason):
        store.fill({"N1": ("0" * 32, bad)}, namespace=SPACE)
    assert store.changes(end).ids == ()
    assert scanned(store) == {}


def test_a_namespace_has_one_width(shelf: Shelf) -> None:
    """A vector of another width is refused, also by a store that saw none before."""
    put(shelf.open(), a_publication("N1"))
    narrow = a_publication("N2")
    wrong = type(narrow)(narrow.article, narrow.fingerprint, a_vector("x", dim=4))
    with pytest.raises(FrameError, match="dim"):
        put(shelf.open(), wrong)
    assert scanned(shelf.open()).keys() == {"N1"}


def _at_once(*acts: Callable[[], object]) -> None:
    with ThreadPoolExecutor(len(acts)) as pool:
        for running in [pool.submit(act) for act in acts]:
            running.result(timeout=30)
