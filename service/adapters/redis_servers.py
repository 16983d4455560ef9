"""From a URL to Redis: one server, the master that Sentinel names, or the nodes of a Cluster."""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from redis import BlockingConnectionPool, Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.retry import Retry
from redis.sentinel import Sentinel

from service.adapters.redis_link import Client, Servers

CONNECT_TIMEOUT_S: Final = 0.25
# To each server and for each of reads and writes; further threads wait for one.
CONNECTIONS: Final = 32
SENTINEL_PORT: Final = 26_379
REDIS_PORT: Final = 6_379


class Single:
    """One server, or whichever one Sentinel names the master at each new connection."""

    is_parted = False

    def __init__(self, client: Client) -> None:
        self._client = client

    def of(self, _: str) -> Client:
        """Return the client: every key is there."""
        return self._client

    def refresh(self) -> None:
        """Do nothing: a new connection asks anew."""

    def close(self) -> None:
        """Disconnect."""
        self._client.close()
        self._client.connection_pool.disconnect()


class Nodes:
    """The master nodes of a Redis Cluster."""

    is_parted = True

    def __init__(self, cluster: Client) -> None:
        self._cluster = cluster

    def of(self, key: str) -> Client:
        """Return the client of the node that holds the key's slot."""
        return self._cluster.get_redis_connection(self._cluster.get_node_from_key(key))

    def refresh(self) -> None:
        """Ask the nodes which of them holds which slot."""
        self._cluster.nodes_manager.initialize()

    def close(self) -> None:
        """Disconnect from every node."""
        self._cluster.close()
        self._cluster.disconnect_connection_pools()


def connector(
    url: str, *, timeout_s: float, connections: int = CONNECTIONS
) -> Callable[[], Servers]:
    """Return what connects to the Redis of a URL; raise ValueError when it is none."""
    scheme = url.partition(":")[0]
    if scheme == "redis+sentinel":
        return _by_sentinel(url, timeout_s)
    if scheme == "redis+cluster":
        return _by_cluster(url, timeout_s, connections)
    pool = BlockingConnectionPool.from_url(
        url, timeout=timeout_s, max_connections=connections, **_options(timeout_s)
    )
    return lambda: Single(Redis(connection_pool=pool))


def _by_sentinel(url: str, timeout_s: float) -> Callable[[], Servers]:
    hosts, login = _network(url, SENTINEL_PORT)
    service, _, database = urlsplit(url).path.strip("/").partition("/")
    if not service:
        raise ValueError("the URL names no service")
    options = {**_options(timeout_s), **login, "db": int(database or 0)}

    def connect() -> Servers:
        sentinel: Client = Sentinel(hosts, sentinel_kwargs=_options(timeout_s))  # type: ignore[no-untyped-call]
        return Single(sentinel.master_for(service, **options))

    return connect


def _by_cluster(url: str, timeout_s: float, connections: int) -> Callable[[], Servers]:
    hosts, login = _network(url, REDIS_PORT)
    options = {**_options(timeout_s), **login}
    del options["retry"]

    def connect() -> Servers:
        # Only with a URL does redis-py give the nodes a pool that waits instead of raising.
        first, *others = hosts
        cluster = RedisCluster(
            url=f"redis://{first[0]}:{first[1]}",
            startup_nodes=[ClusterNode(*other) for other in others],  # type: ignore[no-untyped-call]
            connection_pool_class=BlockingConnectionPool,
            max_connections=connections,
            timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            **options,
        )
        return Nodes(cluster)

    return connect


def _options(timeout_s: float) -> dict[str, Any]:
    return {
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        # RESP 2 is all that is needed, and saves every connection a handshake.
        "protocol": 2,
        "driver_info": None,
    }


def _network(url: str, port: int) -> tuple[list[tuple[str, int]], dict[str, str]]:
    login, _, network = urlsplit(url).netloc.rpartition("@")
    pairs = [host.rpartition(":") if ":" in host else (host, "", "") for host in network.split(",")]
    hosts = [(host, int(digits or port)) for host, _, digits in pairs]
    if not all(host for host, _ in hosts):
        raise ValueError("the URL names no host")
    user, _, password = login.partition(":")
    given = {"username": unquote(user), "password": unquote(password)}
    return hosts, {name: value for name, value in given.items() if value}
