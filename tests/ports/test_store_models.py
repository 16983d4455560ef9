"""What every store promises of popularity and of activations."""

import threading
from concurrent.futures import ThreadPoolExecutor

from service.ports import Activation, Store
from tests.stores import NOW, SPACE, Shelf

OTHER_SPACE = "space-2"
WRITERS = 4


# --- popularity -----------------------------------------------------------------------------------


def test_popularity_starts_empty(store: Store) -> None:
    """Revision 0 is the empty table, for who has seen none."""
    assert store.popularity(0) is None
    table = store.popularity(-1)
    assert table is not None
    assert (table.revision, dict(table.weights), table.at) == (0, {}, 0.0)


def test_an_import_replaces_the_whole_table(shelf: Shelf) -> None:
    """Each import is a new revision, told once to every reader; old weights are gone."""
    store, reader = shelf.open(), shelf.open()
    assert store.replace_popularity({f"N{i}": i / 3 for i in range(5_000)}, at=NOW) == 1
    assert store.replace_popularity({"N1": -2.5, "N2": 0.1}, at=NOW + 1 / 3) == 2
    table = reader.popularity(1)
    assert table is not None
    assert (table.revision, dict(table.weights)) == (2, {"N1": -2.5, "N2": 0.1})
    assert table.at == NOW + 1 / 3
    assert reader.popularity(2) is None
    assert store.replace_popularity({}, at=NOW) == 3
    assert reader.popularity(2).weights == {}  # type: ignore[union-attr]


def test_readers_never_see_parts_of_two_imports(shelf: Shelf) -> None:
    """All weights of a table come from one import, and its revision never goes back."""
    writers, reader = [shelf.open(), shelf.open()], shelf.open()
    is_over = threading.Event()

    def write(writer: Store, start: int) -> None:
        for i in range(start, 30, 2):
            writer.replace_popularity({f"N{n}": float(i) for n in range(40)}, at=float(i))

    def read() -> int:
        last = 0
        while not is_over.is_set():
            table = reader.popularity(last)
            if table is not None:
                assert table.revision > last
                assert len(table.weights) == 40
                assert set(table.weights.values()) == {table.at}
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


# --- models ---------------------------------------------------------------------------------------


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


def test_a_store_that_is_there_answers_a_ping(store: Store) -> None:
    """A ping returns, and says nothing."""
    store.ping()
