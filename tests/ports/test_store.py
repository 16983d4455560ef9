"""What every store promises, whatever it is made of."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import numpy as np
import pytest

from contract.text import fingerprint
from service.adapters.frames import FrameError
from service.ports import Activation, Position, Store
from tests.stores import NOW, SPACE, Shelf, a_publication, a_vector, get, put, scanned

OTHER_SPACE = "space-2"
WRITERS = 4


# --- articles -----------------------------------------------------------------------------------


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


# --- take-downs ---------------------------------------------------------------------------------


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


# --- vectors ------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_vectors_that_are_not_finite_are_refused(store: Store, number: float) -> None:
    """Nothing of the call is written."""
    bad = np.full(8, number, dtype=np.float32)
    publication = a_publication("N2")
    end = store.position()
    with pytest.raises(FrameError, match="finite"):
        put(store, a_publication("N1"), type(publication)(publication.article, "0" * 32, bad))
    with pytest.raises(FrameError, match="finite"):
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


# --- the change log -----------------------------------------------------------------------------


def test_the_log_tells_every_write_oldest_first(store: Store) -> None:
    """Publishing and taking down are told; asking again from the new position tells nothing."""
    start = store.position()
    put(store, a_publication("N1"))
    put(store, a_publication("N2"))
    store.take_down("N1")
    changes = store.changes(start)
    assert changes.is_complete
    assert [i for i in changes.ids if i == "N1"] == ["N1", "N1"]
    assert set(changes.ids) == {"N1", "N2"}
    again = store.changes(changes.position)
    assert (again.ids, again.position, again.is_complete) == ((), changes.position, True)


def test_a_position_serves_any_store_on_the_same_data(shelf: Shelf) -> None:
    """A process can go on where another one stopped, or where its own snapshot was saved."""
    first, second = shelf.open(), shelf.open()
    put(first, a_publication("N1"))
    start = first.position()
    put(first, a_publication("N2"))
    assert second.changes(start).ids == ("N2",)


def test_a_long_log_is_read_in_parts(store: Store) -> None:
    """One answer is bounded; asking on gives the rest, with nothing lost or told twice."""
    start = store.position()
    wanted = [f"N{i}" for i in range(9_000)]
    for i in range(0, len(wanted), 1_000):
        put(store, *(a_publication(n, has_vector=False) for n in wanted[i : i + 1_000]))
    told: list[str] = []
    position = start
    while part := store.changes(position):
        assert part.is_complete
        assert len(part.ids) <= 5_000
        if not part.ids:
            break
        told, position = told + list(part.ids), part.position
    assert sorted(told) == sorted(wanted)


def test_a_trimmed_log_says_so(shelf: Shelf) -> None:
    """Who asks from before the oldest entry is told to scan, and where to go on from."""
    store = shelf.open(log_limit=100)
    put(store, a_publication("N1"))
    start = store.position()
    for i in range(10):
        put(store, *(a_publication(f"N{j}", f"{i}", has_vector=False) for j in range(400)))
    late = store.changes(start)
    assert not late.is_complete
    assert late.ids == ()
    put(store, a_publication("N1", "new"))
    assert store.changes(late.position).ids == ("N1",)


@pytest.mark.parametrize("foreign", [(), ("another",), ("another", "1"), ("x",) * 16])
def test_a_foreign_position_says_so(store: Store, foreign: Position) -> None:
    """A position of another store, saved with a snapshot, is never taken for one of this."""
    put(store, a_publication("N1"))
    changes = store.changes(foreign)
    assert (changes.ids, changes.is_complete) == ((), False)
    assert changes.position == store.position()


def test_a_reader_that_polls_hears_of_every_write(shelf: Shelf) -> None:
    """With writers in several stores, no acknowledged write goes unheard, no version is twice."""
    reader = shelf.open()
    position, told, is_over = reader.position(), set[str](), threading.Event()
    stores = [shelf.open() for _ in range(WRITERS)]

    def write(worker: int) -> None:
        for i in range(40):
            put(stores[worker], a_publication(f"W{worker}-{i}", has_vector=False))

    def poll() -> None:
        nonlocal position
        is_last = False
        while not is_last:
            is_last = is_over.is_set()
            changes = reader.changes(position)
            assert changes.is_complete
            position = changes.position
            told.update(changes.ids)
            time.sleep(0.001)

    with ThreadPoolExecutor(WRITERS + 1) as pool:
        polling = pool.submit(poll)
        list(pool.map(write, range(WRITERS)))
        is_over.set()
        polling.result(timeout=30)
    assert told == {f"W{w}-{i}" for w in range(WRITERS) for i in range(40)}


def test_versions_grow_strictly_under_concurrent_writes(shelf: Shelf) -> None:
    """Writers of one article in two stores never share a version, and none is skipped."""
    stores = [shelf.open(), shelf.open()]
    start = stores[0].position()

    def write(worker: int) -> list[int]:
        text = f"by {worker}"
        return [put(stores[worker % 2], a_publication("N1", text))[0] for _ in range(25)]

    with ThreadPoolExecutor(WRITERS) as pool:
        versions = list(pool.map(write, range(WRITERS)))
    assert all(own == sorted(set(own)) for own in versions)
    assert sorted(v for own in versions for v in own) == list(range(1, 25 * WRITERS + 1))
    assert stores[0].changes(start).ids == ("N1",) * 25 * WRITERS


def test_no_reader_sees_half_an_article(shelf: Shelf) -> None:
    """Title, fingerprint and vector always belong together while writers change them."""
    writer, reader = shelf.open(), shelf.open()
    put(writer, a_publication("N1", "text 0"))
    is_over = threading.Event()

    def write() -> None:
        for i in count():
            put(writer, a_publication("N1", f"text {i % 7}"))
            if is_over.is_set():
                return

    def read() -> None:
        last = 0
        for _ in range(200):
            stored = get(reader)
            assert stored.article is not None
            assert stored.fingerprint == fingerprint(stored.article.title)
            assert stored.version >= last
            np.testing.assert_array_equal(stored.vector, a_vector(stored.article.title))
            last = stored.version

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        try:
            read()
        finally:
            is_over.set()
        writing.result(timeout=30)
    assert get(writer).version > 1


# --- popularity ---------------------------------------------------------------------------------


def test_popularity_starts_empty(store: Store) -> None:
    """Revision 0 is the empty table, for who has seen none."""
    assert store.popularity(0) is None
    table = store.popularity(-1)
    assert table is not None
    assert (table.revision, dict(table.weights)) == (0, {})


def test_an_import_replaces_the_whole_table(shelf: Shelf) -> None:
    """Each import is a new revision, told once to every reader; old weights are gone."""
    store, reader = shelf.open(), shelf.open()
    assert store.replace_popularity({f"N{i}": i / 3 for i in range(5_000)}) == 1
    assert store.replace_popularity({"N1": -2.5, "N2": 0.1}) == 2
    table = reader.popularity(1)
    assert table is not None
    assert (table.revision, dict(table.weights)) == (2, {"N1": -2.5, "N2": 0.1})
    assert reader.popularity(2) is None
    assert store.replace_popularity({}) == 3
    assert reader.popularity(2).weights == {}  # type: ignore[union-attr]


def test_readers_never_see_parts_of_two_imports(shelf: Shelf) -> None:
    """All weights of a table come from one import, and its revision never goes back."""
    writers, reader = [shelf.open(), shelf.open()], shelf.open()
    is_over = threading.Event()

    def write(writer: Store, start: int) -> None:
        for i in range(start, 30, 2):
            writer.replace_popularity({f"N{n}": float(i) for n in range(40)})

    def read() -> int:
        last = 0
        while not is_over.is_set():
            table = reader.popularity(last)
            if table is not None:
                assert table.revision > last
                assert len(table.weights) == 40
                assert len(set(table.weights.values())) == 1
                last = table.revision
        return last

    with ThreadPoolExecutor(3) as pool:
        reading = pool.submit(read)
        list(pool.map(write, writers, (0, 1)))
        is_over.set()
        reading.result(timeout=30)
    assert store_revision(reader) == 30


def store_revision(store: Store) -> int:
    """Return the revision of the latest import."""
    table = store.popularity(-1)
    assert table is not None
    return table.revision


# --- models -------------------------------------------------------------------------------------


def test_nothing_is_active_before_the_first_activation(store: Store) -> None:
    """A new store serves no model."""
    assert store.active() is None


def test_activations_count_up_and_roll_back_by_the_same_flip(shelf: Shelf) -> None:
    """The latest is active for everybody; the one already active keeps its generation."""
    store, other = shelf.open(), shelf.open()
    first = store.activate(model="m1", namespace=SPACE)
    assert first == Activation(1, "m1", SPACE)
    assert other.activate(model="m1", namespace=SPACE) == first
    assert other.activate(model="m2", namespace=OTHER_SPACE).generation == 2
    assert store.activate(model="m1", namespace=SPACE).generation == 3
    for _ in range(20):
        store.activate(model="m2", namespace=SPACE)
        last = store.activate(model="m1", namespace=SPACE)
    assert store.active() == other.active() == shelf.open().active() == last
    assert last.generation == 43


def test_concurrent_activations_claim_different_generations(shelf: Shelf) -> None:
    """Two flips never share a generation."""
    stores = [shelf.open() for _ in range(WRITERS)]

    def flip(worker: int) -> list[int]:
        names = [f"m{worker}-{i}" for i in range(10)]
        return [stores[worker].activate(model=n, namespace=SPACE).generation for n in names]

    with ThreadPoolExecutor(WRITERS) as pool:
        claimed = [g for own in pool.map(flip, range(WRITERS)) for g in own]
    assert sorted(claimed) == list(range(1, 10 * WRITERS + 1))


# --- the whole ----------------------------------------------------------------------------------


def test_a_store_that_is_there_answers_a_ping(store: Store) -> None:
    """A ping returns, and says nothing."""
    store.ping()


def _at_once(*acts: Callable[[], object]) -> None:
    with ThreadPoolExecutor(len(acts)) as pool:
        for running in [pool.submit(act) for act in acts]:
            running.result(timeout=30)
