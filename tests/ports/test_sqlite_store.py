"""What is peculiar to the store in one SQLite file: damage, full disks, locks, processes."""

import resource
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from service.adapters.frames import CRC, HEADER, OVERHEAD, Reason, encode
from service.adapters.sqlite_database import Database
from service.adapters.sqlite_store import SqliteStore
from service.errors import SchemaUnknown, StoreFull, StoreUnavailable
from tests.stores import SPACE, Shelf, a_publication, a_vector, get, put, scanned

PUBLICATION = a_publication("N1")
FRAME = encode(a_vector("x"), namespace=SPACE, fingerprint=PUBLICATION.fingerprint)
WIDE = encode(a_vector("x", dim=16), namespace=SPACE, fingerprint=PUBLICATION.fingerprint)
NUMBERS = bytes(len(FRAME) - OVERHEAD)
ZERO = FRAME[: HEADER.size] + CRC.pack(zlib.crc32(FRAME[: HEADER.size] + NUMBERS)) + NUMBERS
# One process that opens a new file together with others and publishes one article 20 times.
WRITER = """
import sys
from pathlib import Path
from service.adapters.sqlite_store import SqliteStore
from tests.stores import a_publication, put
store = SqliteStore(Path(sys.argv[1]))
for i in range(20):
    print(*put(store, a_publication("N1", str(i))))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name the file of the store that the test's shelf opens."""
    return tmp_path / "store.sqlite"


def change(path: Path, statement: str, *values: object) -> None:
    """Change the file behind the store's back."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


# --- damage -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (b"", "length"),
        (FRAME[:-4], "length"),
        (FRAME[:-1] + bytes([FRAME[-1] ^ 1]), "crc"),
        (b"\x00" * len(FRAME), "magic"),
        (WIDE, "dim"),
        (ZERO, "norm"),
    ],
)
def test_a_damaged_vector_is_absent_and_counted(
    sqlite_shelf: Shelf, path: Path, frame: bytes, told: Reason
) -> None:
    """The article stays readable, the damage is told, and a fill repairs it."""
    store = sqlite_shelf.open()
    put(store, PUBLICATION)
    change(path, "UPDATE vectors SET frame = ?", frame)
    assert get(store).article == PUBLICATION.article
    assert get(store).vector is None
    assert scanned(store)["N1"].vector is None
    assert sqlite_shelf.rejected == [told] * 3
    store.fill({"N1": (PUBLICATION.fingerprint, a_vector("y"))}, namespace=SPACE)
    np.testing.assert_array_equal(get(store).vector, a_vector("y"))


def test_a_vector_moved_to_another_namespace_is_absent(sqlite_shelf: Shelf, path: Path) -> None:
    """The frame says itself which namespace it is of; the column is not believed."""
    store = sqlite_shelf.open()
    put(store, PUBLICATION)
    change(path, "UPDATE vectors SET namespace = 'space-2'")
    assert get(store, namespace="space-2").vector is None


@pytest.mark.parametrize("body", ["", "{", '{"id": "N1"}', '{"id": "N2", "title": "Other"}'])
def test_a_damaged_body_is_an_absent_article(sqlite_shelf: Shelf, path: Path, body: str) -> None:
    """Neither fetch nor scan raises, others are unharmed, and publishing again repairs it."""
    store = sqlite_shelf.open()
    put(store, PUBLICATION, a_publication("N3"))
    change(path, "UPDATE articles SET body = ? WHERE id = 'N1'", body)
    assert store.fetch(["N1", "N3"], namespace=SPACE).keys() == scanned(store).keys() == {"N3"}
    assert sqlite_shelf.rejected == ["article"] * 2
    assert put(store, PUBLICATION) == [2]
    assert get(store).article == PUBLICATION.article


# --- the file -----------------------------------------------------------------------------------


def test_another_format_is_refused_with_what_to_do(sqlite_shelf: Shelf, path: Path) -> None:
    """A store written by a later release is not opened, and not changed."""
    put(sqlite_shelf.open(), PUBLICATION)
    change(path, "UPDATE meta SET value = '99' WHERE name = 'schema'")
    with pytest.raises(SchemaUnknown, match=r"format 99.*run the release"):
        sqlite_shelf.open()


def test_a_file_that_is_no_database_is_refused(sqlite_shelf: Shelf, path: Path) -> None:
    """Nothing is written over what is not ours."""
    path.write_bytes(b"no database, " * 100)
    with pytest.raises(SchemaUnknown, match="no SQLite database"):
        sqlite_shelf.open()
    assert path.read_bytes() == b"no database, " * 100


def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    """A path through a folder that is not there is an error of the store, not of SQLite."""
    with pytest.raises(StoreUnavailable, match="unable to open"):
        SqliteStore(tmp_path / "absent" / "store.sqlite")


def test_positions_of_one_file_mean_nothing_in_another(tmp_path: Path) -> None:
    """A file that was deleted and made anew tells its readers to scan."""
    first, second = SqliteStore(tmp_path / "1"), SqliteStore(tmp_path / "2")
    put(second, PUBLICATION)
    assert not second.changes(first.position()).is_complete
    first.close()
    second.close()


def test_a_position_of_what_a_backup_does_not_have_is_a_gap(tmp_path: Path) -> None:
    """A restored file goes on with the same numbers for other writes, and tells them apart."""
    path, backup = tmp_path / "store.sqlite", tmp_path / "backup.sqlite"
    store = SqliteStore(path)
    put(store, a_publication("N1"), a_publication("N2"))
    shared = store.position()
    change(path, "VACUUM INTO ?", str(backup))
    put(store, a_publication("N1", "lost"))
    lost = store.position()
    put(store, a_publication("N3"))
    lost_too = store.position()
    store.close()
    restored = SqliteStore(backup)
    restored.take_down("N2")
    for article_id in ("N1", "N4", "N5"):
        put(restored, a_publication(article_id, "right"))
    assert [restored.changes(p).is_complete for p in (lost, lost_too)] == [False, False]
    assert restored.changes(lost).position == restored.position()
    assert restored.changes(shared).ids == ("N2", "N1", "N4", "N5")
    restored.close()


def test_a_position_before_the_first_write_is_of_every_backup(sqlite_shelf: Shelf) -> None:
    """There is nothing that could be another."""
    store = sqlite_shelf.open()
    start = store.position()
    assert store.changes(start).is_complete
    put(store, PUBLICATION)
    assert store.changes(start).ids == ("N1",)


def test_a_store_of_before_tokens_is_opened_and_scanned_once(
    sqlite_shelf: Shelf, path: Path
) -> None:
    """Its articles stay; a position of then is a gap; from the new one on it is as any other."""
    store = sqlite_shelf.open()
    put(store, PUBLICATION)
    now = store.position()
    change(path, "ALTER TABLE log DROP COLUMN token")
    store.close()
    tokens = set[str]()
    for _ in range(2):
        store = sqlite_shelf.open()
        gaps = [store.changes(then) for then in (now, now[:2])]
        assert [gap.is_complete for gap in gaps] == [False, False]
        tokens.add(store.position()[2])
    assert len(tokens) == 1
    assert "" not in tokens
    put(store, a_publication("N2"))
    assert store.changes(gaps[0].position).ids == ("N2",)
    assert scanned(store).keys() == {"N1", "N2"}


def test_commits_are_durable(path: Path) -> None:
    """Every connection writes ahead and waits for the disk."""
    database = Database(path)
    with database.reading() as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
    database.close()


def test_a_closed_store_says_so(sqlite_shelf: Shelf) -> None:
    """Late calls fail as an outage does."""
    store = sqlite_shelf.open()
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.ping()


# --- trouble ------------------------------------------------------------------------------------


def test_a_full_disk_refuses_writes_and_nothing_else(sqlite_shelf: Shelf, path: Path) -> None:
    """What was acknowledged stays, nothing of the refused call is there, and space heals it."""
    store = sqlite_shelf.open()
    put(store, PUBLICATION)
    batch = [a_publication(f"M{i}", f"text {i}") for i in range(2_000)]
    with _files_capped(path.stat().st_size + 400_000), pytest.raises(StoreFull):
        put(store, *batch)
    assert scanned(store).keys() == {"N1"}
    assert put(store, *batch) == [1] * len(batch)


def test_a_lock_that_is_not_released_is_an_outage_in_bounded_time(
    sqlite_shelf: Shelf, path: Path
) -> None:
    """Writers give up after the busy timeout; readers do not even notice."""
    store = sqlite_shelf.open(busy_timeout_s=0.1)
    put(store, PUBLICATION)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        begin = time.monotonic()
        with pytest.raises(StoreUnavailable, match="locked"):
            put(store, PUBLICATION)
        assert time.monotonic() - begin < 1
        assert get(store).version == 1
    assert put(store, PUBLICATION) == [2]


def test_what_is_active_is_found_beside_a_long_write(sqlite_shelf: Shelf, path: Path) -> None:
    """A process that starts again with the same model writes nothing."""
    store = sqlite_shelf.open(busy_timeout_s=0.1)
    active = store.activate(model="model-1", namespace=SPACE)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert store.activate(model="model-1", namespace=SPACE) == active
        with pytest.raises(StoreUnavailable, match="locked"):
            store.activate(model="model-2", namespace=SPACE)


def test_a_publish_that_fails_leaves_nothing_behind(sqlite_shelf: Shelf, path: Path) -> None:
    """All articles of one call are one transaction."""
    store = sqlite_shelf.open()
    change(
        path,
        "CREATE TRIGGER no_more BEFORE INSERT ON articles WHEN NEW.id = 'N3' "
        "BEGIN SELECT RAISE(ABORT, 'no more'); END",
    )
    with pytest.raises(StoreUnavailable, match="no more"):
        put(store, *(a_publication(f"N{i}") for i in range(5)))
    assert scanned(store) == {}
    assert put(store, a_publication("N1")) == [1]


def test_several_processes_share_one_new_file(path: Path) -> None:
    """All open it at once, none fails, and the versions of one article are never shared."""
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = [writer.communicate(timeout=60)[0].split() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert all(own == sorted(own, key=int) for own in told)
    assert sorted(int(version) for own in told for version in own) == list(range(1, 61))


@contextmanager
def _files_capped(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
