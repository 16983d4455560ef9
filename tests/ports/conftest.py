"""Every kind of store behind one fixture, so that one suite speaks about all."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.adapters.memory_store import MemoryStore
from service.adapters.sqlite_store import SqliteStore
from service.ports import Store
from tests.redis_server import RedisCluster, RedisServer
from tests.stores import Shelf, redis_store

AOF = ("--appendonly", "yes", "--appendfsync", "always")
CLUSTER = pytest.param("cluster", marks=[pytest.mark.cluster, pytest.mark.slow])


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Run one private Redis Cluster of six nodes for the session."""
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.kill()


@pytest.fixture(params=["memory", "sqlite", "redis", CLUSTER])
def shelf(request: pytest.FixtureRequest) -> Shelf:
    """Give a test an empty place for each kind of store in turn."""
    made: Shelf = request.getfixturevalue(f"{request.param}_shelf")
    return made


@pytest.fixture
def store(shelf: Shelf) -> Store:
    """Give a test an empty store of each kind in turn."""
    return shelf.open()


@pytest.fixture
def memory_shelf() -> Shelf:
    """Open the one store that memory has, again and again."""
    made: list[Store] = []

    def opener(**options: Any) -> Store:
        made.append(made[0] if made else MemoryStore(**options))
        return made[0]

    return Shelf(opener)


@pytest.fixture
def sqlite_shelf(tmp_path: Path) -> Iterator[Shelf]:
    """Open stores on one new file."""
    made = Shelf(lambda **options: SqliteStore(tmp_path / "store.sqlite", **options))
    yield made
    made.close()


@pytest.fixture
def redis_shelf(redis_server: RedisServer) -> Iterator[Shelf]:
    """Open stores on the emptied Redis server of the session."""
    redis_server.run("FLUSHALL")
    made = Shelf(lambda **options: redis_store(redis_server.url, **options))
    yield made
    made.close()


@pytest.fixture
def cluster_shelf(redis_cluster: RedisCluster) -> Iterator[Shelf]:
    """Open stores on the emptied Redis Cluster of the session."""
    redis_cluster.flush()
    made = Shelf(lambda **options: redis_store(redis_cluster.url, **options))
    yield made
    made.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a server that the test may break."""
    made = RedisServer(tmp_path / "redis", *AOF)
    yield made
    made.kill()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    """Run a cluster that the test may break."""
    made = RedisCluster(tmp_path / "cluster")
    yield made
    made.kill()
