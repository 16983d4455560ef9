"""Memory stays flat over thousands of mixed requests; a service that leaks is found out."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks import soak
from benchmarks.comparison import BenchmarkError
from contract.bundle import open_bundle
from service.adapters.stores import open_store
from tests.serving import Service

ARTICLES, REQUESTS, WARM_UP = 1_000, 5_000, 2_000


class LeakingService(Service):
    """The same service, with a leak."""

    MODULE = "tests.e2e.leaking_service"


def growth(kind: type[Service], bundle: Path, home: Path) -> dict[str, float]:
    """Serve made-up articles, ask for everything there is, and return what memory did."""
    url = f"sqlite:///{home}/store.sqlite"
    store = open_store(url)
    ids = soak.filled(store, open_bundle(bundle), ARTICLES, datetime.now(UTC))
    store.close()
    service = kind(bundle, url, home)
    try:
        service.start()
        asked = {"requests": REQUESTS, "every": 1_000, "renewed": 2_500}
        samples = asyncio.run(soak.drive(service.url, service.pid, ids, **asked))
    finally:
        service.kill()
        service.client.close()
    return soak.figures(samples, WARM_UP)


@pytest.mark.slow
def test_thousands_of_mixed_requests_leave_memory_as_it_was(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    """All reading routes, errors, publishing and taking down."""
    soak.check_flat(growth(Service, tiny_bundle, tmp_path))


@pytest.mark.slow
def test_a_leak_is_found(tiny_bundle: Path, tmp_path: Path) -> None:
    """Of 16 KiB a request."""
    found = growth(LeakingService, tiny_bundle, tmp_path)
    with pytest.raises(BenchmarkError, match="memory grew"):
        soak.check_flat(found)
