"""What every store promises of its change log: each write is heard of, or the gap is."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import numpy as np
import pytest

from contract.text import fingerprint
from service.ports import Position, Store
from tests.stores import Shelf, a_publication, a_vector, get, put

WRITERS = 4


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
