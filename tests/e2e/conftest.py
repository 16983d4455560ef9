"""Fixtures of the end-to-end tests: bundles, stores and Redis servers that a test may break."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import a_bundle
from tests.redis_server import RedisServer
from tests.serving import BUNDLE


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the tiny bundle once."""
    path = tmp_path_factory.mktemp("bundles") / "tiny"
    a_bundle(path)
    return path


@pytest.fixture
def shipped_bundle() -> Path:
    """Return the bundle that ships; without it these tests fail, as the product would."""
    assert BUNDLE.is_dir(), "bundles/newsbert is missing: it is part of the repository"
    return BUNDLE


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a Redis for one test, which may pause and kill it."""
    server = RedisServer(tmp_path / "redis")
    yield server
    server.kill()


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Name a store of each kind, which several processes may share."""
    if request.param == "redis":
        redis: RedisServer = request.getfixturevalue("own_redis")
        return redis.url
    return f"sqlite:///{tmp_path}/store.sqlite"
