"""What is peculiar to the store in Redis: its layout, damage, gaps, outages, fail-overs."""

from collections.abc import Iterator

import numpy as np
import pytest
import redis
from redis import exceptions as e

from service.adapters import redis_layout as layout
from service.adapters.frames import Reason, encode
from service.adapters.redis_link import as_store_error
from service.errors import SchemaUnknown, StoreFull, StoreUnavailable
from service.ports import Store
from tests.redis_server import RedisServer
from tests.stores import (
    SPACE,
    Shelf,
    a_publication,
    a_vector,
    get,
    put,
    quickly_refused,
    redis_store,
    scanned,
    works,
)
from tests.waiting import wait_until

PUBLICATION = a_publication("N1")
ARTICLE, FRAMES = layout.article_key("N1"), layout.frames_key("N1")
SHARD = layout.shard_of("N1")
FRAME = encode(a_vector("x"), namespace=SPACE, fingerprint=PUBLICATION.fingerprint)
WIDE = encode(a_vector("x", dim=16), namespace=SPACE, fingerprint=PUBLICATION.fingerprint)


@pytest.fixture
def store(server: RedisServer) -> Iterator[Store]:
    """Open a store on the server that the test may break, with one article in it."""
    made = redis_store(server.url)
    put(made, PUBLICATION)
    yield made
    made.close()


# --- layout -------------------------------------------------------------------------------------


def test_the_layout_is_as_written_down(redis_shelf: Shelf, redis_server: RedisServer) -> None:
    """Keys and fields are a data format: changing one needs a new schema number."""
    store = redis_shelf.open()
    put(store, PUBLICATION)
    store.replace_popularity({"N1": 0.5}, at=1.0)
    store.activate(model="m1", namespace=SPACE)
    store.secret("cursor")
    keys = redis_server.run("KEYS", "*")
    assert isinstance(keys, list)
    (token,) = {key.rpartition(b":")[2] for key in keys if b":pop:" in key}
    tag = b"nb:{s14}"
    names = (b":a:N1", b":v:N1", b":ids", b":log", b":n", b":pop:" + token)
    assert set(keys) == {b"nb:{meta}", *(tag + name for name in names)}
    fields = redis_server.run("HKEYS", ARTICLE)
    assert set(fields) == {b"state", b"version", b"body", b"fingerprint", b"first_seen"}
    meta = redis_server.run("HKEYS", layout.META)
    assert set(meta) == {
        b"schema", b"dim:space-1", b"activation:1", b"popularity:1", b"secret:cursor",
    }  # fmt: skip


def test_the_shard_of_an_id_never_changes() -> None:
    """16 shards by crc32: data written today is found tomorrow."""
    assert [layout.shard_of(i) for i in ("N1", "N2", "N55528", "a.b-c_d")] == [14, 4, 14, 4]


def test_all_keys_of_a_shard_are_one_slot() -> None:
    """A MULTI on an article, its vectors, the ids and the log works on a Redis Cluster."""
    from redis.cluster import key_slot

    keys = (ARTICLE, FRAMES, layout.ids_key(SHARD), layout.log_key(SHARD), layout.count_key(SHARD))
    assert len({key_slot(key.encode()) for key in keys}) == 1


def test_a_take_down_leaves_only_a_version(redis_shelf: Shelf, redis_server: RedisServer) -> None:
    """No field or key that came from the article's text is left."""
    store = redis_shelf.open()
    put(store, PUBLICATION)
    store.take_down("N1")
    assert set(redis_server.run("HKEYS", ARTICLE)) == {b"state", b"version", b"first_seen"}
    assert redis_server.run("EXISTS", FRAMES) == 0


def test_old_vectors_do_not_pile_up(redis_shelf: Shelf, redis_server: RedisServer) -> None:
    """A few vectors of old texts and other namespaces are kept, and one of each text."""
    store = redis_shelf.open()
    for _ in range(3):
        put(store, PUBLICATION)
    assert redis_server.run("LLEN", FRAMES) == 1
    for i in range(20):
        put(store, a_publication("N1", f"text {i}"))
    assert redis_server.run("LLEN", FRAMES) == layout.FRAMES_KEPT


# --- damage -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (FRAME[:3], "length"),
        (FRAME[:-1] + bytes([FRAME[-1] ^ 1]), "crc"),
        (b"\x00" * len(FRAME), "magic"),
        (WIDE, "dim"),
    ],
)
def test_a_damaged_vector_is_absent_and_counted(
    redis_shelf: Shelf, redis_server: RedisServer, frame: bytes, told: Reason
) -> None:
    """The article stays readable, the damage is told, and a fill repairs it."""
    store = redis_shelf.open()
    put(store, PUBLICATION)
    redis_server.run("LSET", FRAMES, 0, frame)
    assert get(store).article == PUBLICATION.article
    assert get(store).vector is None
    assert scanned(store)["N1"].vector is None
    assert redis_shelf.rejected == [told] * 3
    store.fill({"N1": (PUBLICATION.fingerprint, a_vector("y"))}, namespace=SPACE)
    np.testing.assert_array_equal(get(store).vector, a_vector("y"))


@pytest.mark.parametrize(
    "damage",
    [
        ("HSET", ARTICLE, "body", "{"),
        ("HSET", ARTICLE, "body", '{"id": "N2", "title": "Another"}'),
        ("HSET", ARTICLE, "body", b"\xff\xfe"),
        ("HDEL", ARTICLE, "body"),
        ("HSET", ARTICLE, "version", "many"),
        ("HDEL", ARTICLE, "version", "first_seen"),
    ],
)
def test_a_damaged_article_is_absent_and_counted(
    redis_shelf: Shelf, redis_server: RedisServer, damage: tuple[str | bytes, ...]
) -> None:
    """Neither fetch nor scan raises, and others are unharmed."""
    store = redis_shelf.open()
    put(store, PUBLICATION, a_publication("N2"))
    redis_server.run(*damage)
    assert store.fetch(["N1", "N2"], namespace=SPACE).keys() == scanned(store).keys() == {"N2"}
    assert redis_shelf.rejected == ["article"] * 2


def test_a_key_of_a_foreign_type_is_absent_and_counted(
    redis_shelf: Shelf, redis_server: RedisServer
) -> None:
    """An article without readable vectors stays; one without readable fields is not there."""
    store = redis_shelf.open()
    put(store, PUBLICATION, a_publication("N2"))
    redis_server.run("SET", FRAMES, "text")
    assert get(store).vector is None
    redis_server.run("SET", ARTICLE, "text")
    assert store.fetch(["N1"], namespace=SPACE) == {}
    assert store.take_down("N1") is None
    redis_server.run("SET", layout.ids_key(SHARD), "text")
    assert scanned(store).keys() == {"N2"}
    assert set(redis_shelf.rejected) == {"type"}
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        put(store, PUBLICATION)


def test_another_format_is_refused_with_what_to_do(
    redis_shelf: Shelf, redis_server: RedisServer
) -> None:
    """A store written by a later release is neither read nor written."""
    redis_server.run("HSET", layout.META, "schema", "99")
    for act in (redis_shelf.open().ping, lambda: put(redis_shelf.open(), PUBLICATION)):
        with pytest.raises(SchemaUnknown, match=r"format 99.*run the release"):
            act()
    assert redis_server.run("KEYS", "*") == [b"nb:{meta}"]


# --- gaps in the log ----------------------------------------------------------------------------


@pytest.mark.parametrize("written_again", [0, 1, 2, 3])
def test_an_emptied_server_is_a_gap(
    redis_shelf: Shelf, redis_server: RedisServer, written_again: int
) -> None:
    """However many writes follow, also exactly as many as before, the reader must scan."""
    store = redis_shelf.open()
    put(store, PUBLICATION)
    put(store, PUBLICATION)
    position = store.position()
    redis_server.run("FLUSHALL")
    for _ in range(written_again):
        put(store, PUBLICATION)
    assert not store.changes(position).is_complete
    store.ping()
    assert redis_server.run("HGET", layout.META, "schema") == b"1"


@pytest.mark.parametrize("written_again", [0, 1, 2])
def test_a_fail_over_that_lost_the_last_write_is_a_gap(
    redis_shelf: Shelf, redis_server: RedisServer, written_again: int
) -> None:
    """A replica that became master without the latest entry goes on from the one before."""
    store = redis_shelf.open()
    put(store, PUBLICATION)
    dump = redis_server.run("DUMP", layout.log_key(SHARD))
    assert isinstance(dump, bytes)
    put(store, PUBLICATION)
    position = store.position()
    redis_server.run("RESTORE", layout.log_key(SHARD), 0, dump, "REPLACE")
    redis_server.run("DECR", layout.count_key(SHARD))
    for _ in range(written_again):
        put(store, PUBLICATION)
    assert not store.changes(position).is_complete


# --- trouble ------------------------------------------------------------------------------------


def test_a_full_server_refuses_writes_and_nothing_else(server: RedisServer, store: Store) -> None:
    """Reads go on, nothing of the refused call is there, no text is told, and space heals it."""
    server.run("CONFIG", "SET", "maxmemory", "1kb")
    with pytest.raises(StoreFull, match="maxmemory") as caught:
        put(store, a_publication("N2", "Secret headline"))
    assert "Secret" not in str(caught.value)
    fresh = redis_store(server.url)
    assert scanned(fresh).keys() == {"N1"}
    assert fresh.changes(fresh.position()).is_complete
    assert (fresh.active(), fresh.popularity(0)) == (None, None)
    fresh.close()
    server.run("CONFIG", "SET", "maxmemory", "0")
    assert put(store, a_publication("N2")) == [1]


def test_a_server_that_cannot_save_refuses_writes_as_full(
    server: RedisServer, store: Store
) -> None:
    """MISCONF: the disk under Redis is full or gone; reads go on."""
    (server.directory / "dump.rdb").mkdir()
    server.run("CONFIG", "SET", "save", "3600 1")
    server.run("BGSAVE")
    wait_until(lambda: _persistence(server)["rdb_last_bgsave_status"] == "err")
    with pytest.raises(StoreFull, match="MISCONF"):
        put(store, PUBLICATION)
    assert get(store).version == 1


def test_a_hanging_server_costs_one_timeout_and_no_connection(server: RedisServer) -> None:
    """Calls end in time; after more than the pool has connections, it still has them all."""
    store = redis_store(server.url, timeout_s=0.2, connections=2)
    wait_until(lambda: works(lambda: put(store, PUBLICATION)))
    with server.paused():
        for _ in range(3):
            quickly_refused(lambda: get(store), within_s=1)
            quickly_refused(lambda: put(store, PUBLICATION), within_s=1)
    wait_until(lambda: works(lambda: get(store)))
    wait_until(lambda: works(lambda: put(store, PUBLICATION)))
    store.close()


def test_a_restart_goes_unnoticed(server: RedisServer, store: Store) -> None:
    """The connections of the pool are stale, yet the next call of each kind works."""
    position = store.position()
    put(store, PUBLICATION)
    for act in (lambda: get(store), lambda: put(store, PUBLICATION), store.position):
        server.restart()
        act()
    assert get(store).version == 3
    assert store.changes(position).ids == ("N1", "N1")


def test_a_server_that_is_down_is_found_when_it_comes(server: RedisServer) -> None:
    """A store may be opened first; until there is a server, calls fail at once."""
    server.kill()
    store = redis_store(server.url)
    quickly_refused(store.ping, within_s=1)
    quickly_refused(lambda: next(store.scan(namespace=SPACE)), within_s=1)
    server.start()
    store.ping()
    store.close()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (e.BusyLoadingError("Redis is loading the dataset in memory"), StoreUnavailable),
        (e.ClusterDownError("CLUSTERDOWN Hash slot not served"), StoreUnavailable),
        (e.ReadOnlyError("You can't write against a read only replica."), StoreUnavailable),
        (e.MaxConnectionsError("No connection available."), StoreUnavailable),
        (e.RedisClusterException("Redis Cluster cannot be connected"), StoreUnavailable),
        (e.SlotNotCoveredError("Slot not covered"), StoreUnavailable),
        (e.AuthenticationError("WRONGPASS"), StoreUnavailable),
        (OSError("reset"), StoreUnavailable),
        (e.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), StoreFull),
        (e.ResponseError("MISCONF Errors writing to the AOF file"), StoreFull),
        (e.ResponseError("Command # 1 (HSET x) of pipeline caused error: MISCONF a"), StoreFull),
        (
            e.ResponseError("Command # 1 (HSET MISCONF) of pipeline caused error: a"),
            StoreUnavailable,
        ),
    ],
)
def test_every_failure_of_redis_is_an_error_of_the_store(
    error: Exception, expected: type[Exception]
) -> None:
    """Full or unavailable; and the command that failed is never repeated."""
    translated = as_store_error(error)
    assert type(translated) is expected
    assert "HSET" not in str(translated)


def _persistence(server: RedisServer) -> dict[str, object]:
    with redis.Redis(port=server.port) as client:
        return dict(client.info("persistence"))
