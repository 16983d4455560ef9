"""What is peculiar to readers in SQLite: erasing leaves no trace, and faults write nothing."""

import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from service.adapters import sqlite_clicks, sqlite_readers
from service.adapters.sqlite_database import Database
from service.adapters.sqlite_schema import SHELVES, shelf_of
from service.adapters.sqlite_store import SqliteStore
from service.errors import StoreUnavailable
from service.ports import Amendment, Store
from tests.amending import (
    SPAN,
    SPANS,
    a_pseudonym,
    always,
    amend,
    count,
    counted,
    keep,
    one_more,
    records,
    told,
)
from tests.stores import NOW, Shelf, a_publication, put, scanned

A, B = a_pseudonym("A"), a_pseudonym("B")
# Readers of one shelf alone: only trees with many pages are balanced.
SHELF = shelf_of(A)
TOGETHER = [p for p in map(a_pseudonym, range(30_000)) if shelf_of(p) == SHELF]
# Repetitions of a secret: with these, balancing leaves copies of some rows behind.
SIZES = (1, 10, 20, 30, 40, 50)
SHORT_S = 0.2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name the file of the store that the test's shelf opens."""
    return tmp_path / "store.sqlite"


def change(path: Path, statement: str, *values: object) -> None:
    """Change the file behind the store's back."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


def a_secret(pseudonym: str, version: int) -> bytes:
    """Make bytes that are a reader's alone, in this version of the record."""
    return f"<{a_pseudonym((pseudonym, version))}>".encode()


def traces(path: Path, *secrets: bytes) -> list[bytes]:
    """Return those secrets that any file of the store's folder holds."""
    held = b"\n".join(file.read_bytes() for file in path.parent.iterdir())
    return [secret for secret in secrets if secret in held]


@contextmanager
def a_long_read(path: Path) -> Iterator[None]:
    """Read in another process's stead for as long as the block takes, as a backup does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM meta").fetchone()
        yield


# --- erasure --------------------------------------------------------------------------------------


def test_nothing_of_a_forgotten_reader_is_in_any_file(sqlite_shelf: Shelf, path: Path) -> None:
    """Pseudonym and record, each of its versions, of whatever size; the others stay whole."""
    store = sqlite_shelf.open()
    seeded = random.Random(1)
    kept = dict[str, bytes]()
    for version in range(3):
        kept = {p: a_secret(p, version) * seeded.choice(SIZES) for p in TOGETHER}
        amend(store, TOGETHER, always(kept, {}))
    gone = seeded.sample(TOGETHER, len(TOGETHER) // 2)
    for reader in gone:
        assert store.forget(reader) is True
        del kept[reader]
    secrets = [secret for reader in gone for secret in _secrets(reader)]
    assert traces(path, *secrets) == []
    assert records(store) == kept
    assert traces(path, *(reader.encode() for reader in kept)) != []


def _secrets(reader: str) -> list[bytes]:
    return [reader.encode(), *(a_secret(reader, version) for version in range(3))]


def test_an_expired_record_leaves_nothing_once_its_reader_is_forgotten(
    sqlite_shelf: Shelf, path: Path
) -> None:
    """The WAL still held it; that there is nothing to remove is no reason to leave it there."""
    store = sqlite_shelf.open()
    keep(store, A, a_secret(A, 0), ttl_s=-1.0)
    store.let_go(time.time())
    assert store.reader(A) is None
    assert traces(path, a_secret(A, 0)) != []
    assert store.forget(A) is False
    assert traces(path, *_secrets(A)) == []


Finish = Callable[[Store, Shelf], object]
FINISHES: Mapping[str, Finish] = {
    "an amendment": lambda store, _: keep(store, B, b"next"),
    "forgetting": lambda store, _: store.forget(B),
    "closing": lambda store, _: store.close(),
    "opening": lambda _, shelf: shelf.open(),
    "letting go": lambda store, _: store.let_go(NOW),
}


@pytest.mark.parametrize("finish", FINISHES)
def test_what_a_long_read_kept_in_the_wal_is_wiped_after_it(
    sqlite_shelf: Shelf, path: Path, finish: str
) -> None:
    """The reader is forgotten all the same, in bounded time; any process's next step wipes it."""
    store, other = sqlite_shelf.open(busy_timeout_s=SHORT_S), sqlite_shelf.open()
    keep(store, A, a_secret(A, 0))
    with a_long_read(path):
        begin = time.monotonic()
        assert store.forget(A) is True
        assert SHORT_S <= time.monotonic() - begin < 10 * SHORT_S
        assert store.reader(A) is other.reader(A) is None
        # Neither hurts, and neither waits.
        keep(other, B, b"here")
        assert traces(path, *_secrets(A)) != []
    FINISHES[finish](other, sqlite_shelf)
    assert traces(path, *_secrets(A)) == []


def test_a_forget_that_waits_for_a_read_holds_up_no_writer(sqlite_shelf: Shelf, path: Path) -> None:
    """Others write between its tries, also with less patience than it has."""
    store = sqlite_shelf.open(busy_timeout_s=2.0)
    other = sqlite_shelf.open(busy_timeout_s=1.0)
    keep(store, A, b"1")
    with ThreadPoolExecutor(1) as pool, a_long_read(path):
        forgetting = pool.submit(store.forget, A)
        writes = 0
        while not forgetting.done():
            writes += len(put(other, a_publication("N1")))
    assert forgetting.result() is True
    assert writes > 2


def test_once_wiped_writes_are_as_cheap_as_before(sqlite_shelf: Shelf, path: Path) -> None:
    """They go to the WAL, and nobody empties it for each of them."""
    store = sqlite_shelf.open()
    store.forget(A)
    keep(store, B, b"1")
    wal = path.with_name(f"{path.name}-wal")
    assert wal.stat().st_size > 0


def test_every_connection_zeroes_what_it_deletes(path: Path) -> None:
    """Whatever SQLite was built with, and also while several are open."""
    database = Database(path)
    with database.reading() as one, database.reading() as other:
        found = [db.execute("PRAGMA secure_delete").fetchone() for db in (one, other)]
    assert found == [(1,), (1,)]
    database.close()


# --- faults ---------------------------------------------------------------------------------------


def test_a_fault_while_clicks_are_counted_leaves_no_record(sqlite_shelf: Shelf, path: Path) -> None:
    """Nor clicks: both are one transaction."""
    store = sqlite_shelf.open()
    count(store, {"N1": 1.0})
    change(
        path,
        "CREATE TRIGGER no_more BEFORE INSERT ON clicks WHEN NEW.id = 'N3' "
        "BEGIN SELECT RAISE(ABORT, 'no more'); END",
    )
    clicks = {SPAN: {"N1": 1.0, "N3": 1.0}}
    with pytest.raises(StoreUnavailable, match="no more"):
        keep(store, A, b"never", clicks)
    assert (store.reader(A), counted(store)) == (b"clicked", {SPAN: {"N1": 1.0}})


def test_a_lock_that_is_not_released_is_an_outage(sqlite_shelf: Shelf, path: Path) -> None:
    """Amendments and erasures say so; records are read all the same."""
    store = sqlite_shelf.open(busy_timeout_s=0.1)
    keep(store, A, b"1")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for act in (lambda: amend(store, [A], one_more), lambda: store.forget(A)):
            with pytest.raises(StoreUnavailable, match="locked"):
                act()
        assert store.reader(A) == b"1"


def test_a_record_that_is_no_bytes_is_none(sqlite_shelf: Shelf, path: Path) -> None:
    """Damage of the file is made good by the next amendment."""
    store = sqlite_shelf.open()
    keep(store, A, b"1")
    change(path, f"UPDATE {SHELF} SET body = 'text'")  # noqa: S608
    assert store.reader(A) is None
    assert records(store) == {}
    amend(store, [A], one_more)
    assert records(store) == {A: b"1"}


# --- bounded work ---------------------------------------------------------------------------------


def test_what_is_over_goes_a_little_at_a_time(
    sqlite_shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it, in transactions that hold up no writer for long."""
    monkeypatch.setattr(sqlite_readers, "SWEPT_AT_ONCE", 3)
    old = dict.fromkeys(TOGETHER[:10], b"old")
    over = SPAN._replace(ends_at=NOW)
    made = Amendment(old, {over: {f"N{i}": 1.0 for i in range(7)}}, {})
    store, writes = sqlite_shelf.open(), list[int]()
    store.amend(list(old), lambda _: made, expires_at=NOW, now=NOW - 1)
    keep(store, A, b"young")
    writing = Database.writing

    def counted_writing(database: Database) -> AbstractContextManager[sqlite3.Connection]:
        writes.append(1)
        return writing(database)

    monkeypatch.setattr(Database, "writing", counted_writing)
    store.let_go(NOW)
    assert records(store) == {A: b"young"}
    assert not counted(store, [over]).get(over)
    # Ten records and seven sums, three at a time.
    assert len(writes) == 4 + 3
    store.let_go(NOW)
    assert len(writes) == 4 + 3


def test_changed_sums_are_found_by_an_index(sqlite_shelf: Shelf, path: Path) -> None:
    """Replicas ask every second; what did not change costs nothing."""
    sqlite_shelf.open()
    with closing(sqlite3.connect(path)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {sqlite_clicks.CHANGED}", (0.0, "", 0))
        details = [row[3] for row in plan.fetchall()]
    assert len(details) == 1
    assert "INDEX clicked (ends_at=? AND span=? AND revision>?)" in details[0]


# --- files of other times -------------------------------------------------------------------------


def test_a_mark_of_what_a_backup_does_not_have_tells_nothing(tmp_path: Path) -> None:
    """Beyond the revision of the restored file, everything is told."""
    path, backup = tmp_path / "store.sqlite", tmp_path / "backup.sqlite"
    with closing(SqliteStore(path)) as store:
        count(store, {"N1": 1.0})
        change(path, "VACUUM INTO ?", str(backup))
        count(store, {"N1": 1.0})
        mark = store.clicks(SPANS, ()).mark
    with closing(SqliteStore(backup)) as restored:
        clicks = restored.clicks(SPANS, mark)
        assert (told(clicks), clicks.is_whole) == ({SPAN: {"N1": 1.0}}, True)


def test_a_store_of_before_readers_gets_what_is_missing(sqlite_shelf: Shelf, path: Path) -> None:
    """Articles and imports stay; what was imported counts from the opening on, once and for all."""
    store = sqlite_shelf.open()
    put(store, a_publication("N1"))
    store.replace_popularity({"N1": 1.5}, at=NOW)
    store.close()
    _as_before_readers(path)
    begin = time.time()
    store = sqlite_shelf.open()
    table = store.popularity(-1)
    assert table is not None
    assert (table.revision, dict(table.weights)) == (1, {"N1": 1.5})
    assert begin <= table.at <= time.time()
    assert sqlite_shelf.open().popularity(-1) == table
    amend(store, [A], one_more)
    assert (records(store), counted(store)) == ({A: b"1"}, {SPAN: {"N1": 1.0}})
    assert store.forget(A) is True
    assert scanned(store).keys() == {"N1"}
    store.replace_popularity({}, at=NOW + 1)
    assert store.popularity(1).at == NOW + 1  # type: ignore[union-attr]


def test_a_store_of_before_readers_without_an_import_has_none(
    sqlite_shelf: Shelf, path: Path
) -> None:
    """The empty table is of no time."""
    sqlite_shelf.open().close()
    _as_before_readers(path)
    table = sqlite_shelf.open().popularity(-1)
    assert table is not None
    assert (table.revision, table.at) == (0, 0.0)


def _as_before_readers(path: Path) -> None:
    """Take away what earlier releases did not write."""
    values = "'popularity_at', 'clicks', 'forgotten', 'wiped'"
    with closing(sqlite3.connect(path)) as connection, connection:
        for name in ("clicks", *SHELVES):
            connection.execute(f"DROP TABLE {name}")
        connection.execute(f"DELETE FROM meta WHERE name IN ({values})")  # noqa: S608
