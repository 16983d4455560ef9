"""Fixtures for all tests."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.redis_server import RedisServer

# A busy machine makes examples slow, which is no failure of what is tested.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run one private redis-server for the session; tests that break it start their own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()
