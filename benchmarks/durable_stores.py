"""Stores of one benchmark alone, durable to the disk, and what readers take in them."""

import http.client
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.comparison import BenchmarkError
from benchmarks.events import made_up_events
from benchmarks.servers import Server
from tests.redis_server import RedisServer

STORES = ("sqlite", "redis")
# As docker-compose.yml has it: what is acknowledged is on the disk, as it is with SQLite.
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
# More events than the record of one reader holds, by far.
FULL = 5_000


def redis_memory(redis: RedisServer, fill_one: Callable[[], object]) -> dict[str, float]:
    """Return the bytes of a reader in Redis, key included: mean, highest, and when full.

    Full is the record of the reader to whom `fill_one` gives more events than one holds.
    """
    sizes = _redis_bytes(redis)
    fill_one()
    return {
        "redis_bytes_per_reader_mean": round(sum(sizes) / len(sizes), 1),
        "redis_bytes_per_reader_max": max(sizes),
        "redis_bytes_of_a_full_reader": max(_redis_bytes(redis)),
    }


def fill(server: Server, articles: Sequence[str], seed: int) -> None:
    """Send one reader's events until the oldest of them must have been let go of."""
    plan = made_up_events(FULL, readers=1, articles=articles, now=datetime.now(UTC), seed=seed)
    for body in plan.bodies(FULL // 10):
        status, answer = server.post("/v1/feedback", b"[%b]" % body.replace(b"\n", b","))
        if status != http.client.OK:
            raise BenchmarkError(f"feedback was answered with {status}: {answer[:200]!r}")


def _redis_bytes(redis: RedisServer) -> list[int]:
    keys = redis.run("KEYS", "nb:*:u:*")
    assert isinstance(keys, list)
    used = [redis.run("MEMORY", "USAGE", key) for key in keys]
    return [size for size in used if isinstance(size, int)]


@contextmanager
def own_store(name: str, place: Path) -> Iterator[tuple[str, RedisServer | None]]:
    """Give the URL of an empty store, and the Redis that it is in."""
    if name == "sqlite":
        yield f"sqlite:///{place}/store.sqlite", None
        return
    redis = RedisServer(place / "redis", *DURABLE)
    try:
        yield redis.url, redis
    finally:
        redis.kill()
