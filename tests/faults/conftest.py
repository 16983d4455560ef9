"""Fixtures of the fault tests: a tiny bundle, and services that nobody else uses."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import a_bundle, a_catalogue
from tests.problem_shape import check_log
from tests.redis_server import RedisServer
from tests.serving import Service, serving


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the tiny bundle once."""
    path = tmp_path_factory.mktemp("bundles") / "tiny"
    a_bundle(path)
    return path


@pytest.fixture(scope="module")
def service(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Serve eight articles; whatever a test sends, at the end nothing must have gone wrong."""
    home = tmp_path_factory.mktemp("service")
    store = f"sqlite:///{home}/store.sqlite"
    with serving(tiny_bundle, store, home, receive_timeout_s=1.0) as running:
        for article in a_catalogue(8):
            body = article.model_dump(exclude={"id"}, exclude_defaults=True)
            assert running.client.put(f"/v1/news/{article.id}", json=body).status_code == 200
        yield running
        check_nothing_went_wrong(running)


@pytest.fixture
def durable_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a Redis that has every write on disk before it answers."""
    server = RedisServer(tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.kill()


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Name a durable store of each kind."""
    if request.param == "redis":
        redis: RedisServer = request.getfixturevalue("durable_redis")
        return redis.url
    return f"sqlite:///{tmp_path}/store.sqlite"


def check_nothing_went_wrong(running: Service) -> None:
    """Fail when a service ended, logged a defect, or ever answered 500."""
    assert running.is_running()
    assert 'status="500"' not in running.client.get("/metrics").text
    check_log(running.log())
