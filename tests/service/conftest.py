"""Fixtures for all tests of the service."""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog

from contract.bundle import Bundle, open_bundle
from service.telemetry import configure_logging
from tests.builders import a_bundle
from tests.redis_server import RedisServer
from tests.service.fakes import FakeClock, FakeEncoder, FlakyStore


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    """Log plainly, and undo what is configured: its stderr ends with the test."""
    configure_logging()
    yield
    structlog.reset_defaults()


@pytest.fixture
def clock() -> FakeClock:
    """Give a clock that stands still."""
    return FakeClock()


@pytest.fixture
def encoder() -> FakeEncoder:
    """Give an encoder that remembers what it was asked."""
    return FakeEncoder()


@pytest.fixture
def store() -> FlakyStore:
    """Give an empty store in memory that can be made to fail."""
    return FlakyStore()


@pytest.fixture
def executor() -> Iterator[Executor]:
    """Give a thread pool that ends with the test."""
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of an empty store of each kind in turn."""
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        server.run("FLUSHALL")
        return server.url
    return {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/store.sqlite"}[request.param]


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the directory of a tiny bundle, for all tests that only read it."""
    path = tmp_path_factory.mktemp("service") / "bundle"
    a_bundle(path)
    return path


@pytest.fixture(scope="session")
def bundle(bundle_path: Path) -> Bundle:
    """Give that bundle opened."""
    return open_bundle(bundle_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Name a folder that does not exist yet."""
    return tmp_path / "snapshots"


@pytest.fixture
def blocked_folder(folder: Path) -> Path:
    """Put a file where the folder is to be."""
    folder.write_text("in the way")
    return folder
