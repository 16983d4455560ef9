"""What every store promises of the random keys that its processes share."""

import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from service.adapters import redis_layout as layout
from service.adapters.shared_keys import read_key
from service.adapters.sqlite_store import SqliteStore
from service.errors import StoreError, StoreUnavailable
from service.ports import Store
from tests.redis_server import RedisServer
from tests.stores import Shelf, a_publication, put, redis_store

CLAIMS = 8
# One process that opens the store of a URL and tells its key.
TELLER = """
import sys
from tests.stores import durable_store
store = durable_store(sys.argv[1])
print(store.secret("cursor").hex())
store.close()
"""


def rows_of(path: Path, statement: str) -> list[tuple[str, ...]]:
    """Run a statement on the file behind the store's back."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement).fetchall()


def test_a_secret_is_made_once_and_the_same_for_everybody(shelf: Shelf) -> None:
    """32 random bytes, whoever asks, before or after."""
    first, second = shelf.open(), shelf.open()
    key = first.secret("cursor")
    assert len(key) == 32
    assert first.secret("cursor") == second.secret("cursor") == shelf.open().secret("cursor") == key


def test_secrets_of_two_names_have_nothing_in_common(store: Store) -> None:
    """Whoever knows one key knows no other."""
    assert store.secret("cursor") != store.secret("readers")


def test_claims_at_one_moment_get_one_key(shelf: Shelf) -> None:
    """Whoever of eight comes first makes the key, and all eight get that."""
    stores = [shelf.open() for _ in range(CLAIMS)]
    for round_ in range(5):
        line = threading.Barrier(CLAIMS)

        def claim(store: Store, name: str = f"s{round_}", line: threading.Barrier = line) -> bytes:
            line.wait(timeout=30)
            return store.secret(name)

        with ThreadPoolExecutor(CLAIMS) as pool:
            assert len(set(pool.map(claim, stores))) == 1


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_two_processes_have_the_same_key(
    kind: str, redis_server: RedisServer, tmp_path: Path
) -> None:
    """A page asked from one process is continued by another."""
    redis_server.run("FLUSHALL")
    urls = {"sqlite": f"sqlite:///{tmp_path}/store.sqlite", "redis": redis_server.url}
    command = [sys.executable, "-c", TELLER, urls[kind]]
    tellers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [teller.communicate(timeout=60)[0].strip() for teller in tellers]
    assert told[0] == told[1]
    assert len(told[0]) == 64


def test_a_restart_of_redis_keeps_the_key(server: RedisServer) -> None:
    """It is as durable as the articles are."""
    store = redis_store(server.url)
    key = store.secret("cursor")
    server.kill()
    with pytest.raises(StoreUnavailable):
        store.secret("cursor")
    server.start()
    assert store.secret("cursor") == key
    store.close()


def test_a_store_of_an_earlier_release_gets_its_key_without_a_migration(tmp_path: Path) -> None:
    """The file says format 1 before and after, and its articles stay."""
    path = tmp_path / "store.sqlite"
    with closing(SqliteStore(path)) as store:
        put(store, a_publication("N1"))
    # Nothing of a key is there until somebody asks: this is the file of an earlier release.
    assert rows_of(path, "SELECT name FROM meta WHERE name LIKE 'secret:%'") == []
    with closing(SqliteStore(path)) as store:
        key = store.secret("cursor")
    with closing(SqliteStore(path)) as store:
        assert store.secret("cursor") == key
        assert put(store, a_publication("N1", "two")) == [2]
    assert rows_of(path, "SELECT value FROM meta WHERE name = 'schema'") == [("1",)]


def test_a_key_that_is_there_needs_no_write(sqlite_shelf: Shelf, tmp_path: Path) -> None:
    """A store that refuses writes still tells its key."""
    store = sqlite_shelf.open()
    key = store.secret("cursor")
    refuse = "CREATE TRIGGER t BEFORE INSERT ON meta BEGIN SELECT RAISE(ABORT, 'no more'); END"
    rows_of(tmp_path / "store.sqlite", refuse)
    assert store.secret("cursor") == key
    with pytest.raises(StoreUnavailable, match="no more"):
        store.secret("readers")


@pytest.mark.parametrize("text", ["", "00", "zz" * 32, "00" * 31, "00" * 33, "é"])
def test_a_damaged_key_is_told_and_never_replaced(text: str) -> None:
    """A key made anew by one process would part it from the others."""
    with pytest.raises(StoreError, match="damaged"):
        read_key(text)


def test_a_damaged_key_in_redis_is_an_error_of_the_store(
    redis_shelf: Shelf, redis_server: RedisServer
) -> None:
    """Bytes that are no text included."""
    store = redis_shelf.open()
    store.secret("cursor")
    redis_server.run("HSET", layout.META, "secret:cursor", b"\xff")
    with pytest.raises(StoreError, match="damaged"):
        store.secret("cursor")
