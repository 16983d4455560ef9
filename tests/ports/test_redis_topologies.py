"""How the store in Redis lives through fail-overs, behind Sentinel and on a Cluster."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from service.adapters import redis_layout as layout
from service.errors import StoreUnavailable
from service.ports import Store
from tests.amending import SPAN, a_pseudonym, amend, counted, keep, one_more, records
from tests.redis_server import RedisCluster, RedisSentinel, RedisServer
from tests.stores import (
    SPACE,
    a_publication,
    get,
    put,
    quickly_refused,
    redis_store,
    scanned,
    works,
)
from tests.waiting import wait_until

PUBLICATION = a_publication("N1")
SHARD = layout.shard_of("N1")
READERS = [a_pseudonym(number) for number in range(64)]


@pytest.fixture
def store(server: RedisServer) -> Iterator[Store]:
    """Open a store on the server that the test may break, with one article in it."""
    made = redis_store(server.url)
    put(made, PUBLICATION)
    yield made
    made.close()


def test_a_replica_serves_reads_and_refuses_writes(
    server: RedisServer, store: Store, tmp_path: Path
) -> None:
    """READONLY is an outage of writes."""
    with _replica(server, tmp_path) as replica, closing(redis_store(replica.url)) as reader:
        assert get(reader).version == 1
        assert reader.reader(READERS[0]) is None
        for write in (lambda: put(reader, PUBLICATION), lambda: keep(reader, READERS[0], b"")):
            with pytest.raises(StoreUnavailable, match="ReadOnly"):
                write()


def test_sentinel_names_the_master(server: RedisServer, store: Store, tmp_path: Path) -> None:
    """The URL names sentinels and a service; the data are on the master they know."""
    with _sentinel(server, tmp_path) as sentinel, closing(redis_store(sentinel.url)) as found:
        assert get(found).version == 1
        assert put(found, PUBLICATION) == [2]
        assert len(amend(found, READERS, one_more)) == 1
        assert records(store) == dict.fromkeys(READERS, b"1")


@pytest.mark.slow
def test_sentinel_names_another_master_after_a_fail_over(
    server: RedisServer, store: Store, tmp_path: Path
) -> None:
    """When the master is gone, calls fail quickly until the replica was promoted."""
    with _replica(server, tmp_path), _sentinel(server, tmp_path) as sentinel:
        wait_until(lambda: sentinel.knows_replicas() == 1)
        with closing(redis_store(sentinel.url)) as found:
            put(found, PUBLICATION)
            server.kill()
            quickly_refused(lambda: put(found, PUBLICATION), within_s=1)
            wait_until(lambda: works(lambda: put(found, PUBLICATION)), timeout_s=30)
            assert get(found).version >= 2


@pytest.mark.cluster
@pytest.mark.slow
def test_a_cluster_survives_the_death_of_a_master(cluster: RedisCluster) -> None:
    """Calls fail in bounded time until a replica was promoted, then go on, nothing lost."""
    store = redis_store(cluster.url, timeout_s=1)
    ids = [f"N{i}" for i in range(64)]
    put(store, *(a_publication(i) for i in ids))
    for node in cluster.masters:
        node.run("WAIT", 1, 1_000)
    cluster.nodes[0].kill()
    begin = time.monotonic()
    assert not works(lambda: put(store, *(a_publication(i) for i in ids)))
    assert time.monotonic() - begin < 10
    wait_until(lambda: works(lambda: put(store, *(a_publication(i) for i in ids))), timeout_s=30)
    assert scanned(store).keys() == set(ids)
    assert all(stored.version >= 2 for stored in scanned(store).values())
    store.close()


@pytest.mark.cluster
@pytest.mark.slow
def test_readers_of_a_cluster_survive_the_death_of_a_master(cluster: RedisCluster) -> None:
    """However many tries that took: records and clicks agree, for they are written in one step."""
    store = redis_store(cluster.url, timeout_s=1)
    made = amend(store, READERS, one_more)
    assert len(made) == len(set(map(layout.shard_of, READERS)))
    for node in cluster.masters:
        node.run("WAIT", 1, 1_000)
    cluster.nodes[0].kill()
    assert not works(lambda: amend(store, READERS, one_more))
    wait_until(lambda: works(lambda: amend(store, READERS, one_more)), timeout_s=30)
    found = records(store)
    assert found.keys() == set(READERS)
    assert all(int(raw) >= 2 for raw in found.values())
    assert counted(store) == {SPAN: {"N1": float(sum(map(int, found.values())))}}
    store.close()


@pytest.mark.cluster
@pytest.mark.slow
def test_a_cluster_node_that_hangs_costs_bounded_time(cluster: RedisCluster) -> None:
    """However many keys of a call are on the node, the call waits for it once or twice."""
    store = redis_store(cluster.url, timeout_s=0.2)
    ids = [f"N{i}" for i in range(500)]
    put(store, *(a_publication(i) for i in ids))
    with cluster.nodes[0].paused():
        for _ in range(3):
            begin = time.monotonic()
            works(lambda: store.fetch(ids, namespace=SPACE))
            assert time.monotonic() - begin < 5
    wait_until(lambda: works(lambda: store.fetch(ids, namespace=SPACE)), timeout_s=30)
    store.close()


@contextmanager
def _replica(server: RedisServer, folder: Path) -> Iterator[RedisServer]:
    """Run a replica that has caught up with a server's one article."""
    options = ("--replicaof", "127.0.0.1", str(server.port))
    server.run("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    replica = RedisServer(folder / "replica", *options)
    try:
        wait_until(lambda: "N1" in str(replica.run("SMEMBERS", layout.ids_key(SHARD))))
        yield replica
    finally:
        replica.kill()


@contextmanager
def _sentinel(server: RedisServer, folder: Path) -> Iterator[RedisSentinel]:
    """Run a sentinel that watches a server."""
    sentinel = RedisSentinel(folder / "sentinel", server)
    try:
        yield sentinel
    finally:
        sentinel.kill()
