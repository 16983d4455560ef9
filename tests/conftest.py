"""Fixtures for all tests."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.evaluation_data import DATA
from tests.redis_server import RedisServer

# A busy machine makes examples slow, which is no failure of what is tested.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what reads the evaluation data where there is none."""
    if item.get_closest_marker("data") and not DATA.is_dir():
        pytest.skip("needs the evaluation data beside the checkout, which is absent")


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio alone, as the service does."""
    return "asyncio"


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run one private redis-server for the session; tests that break it start their own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()
