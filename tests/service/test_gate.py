"""The gate: every answer has an id and timings, is counted by template, and sheds early."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Response
from structlog.testing import capture_logs

from service import problems
from service.gate import MAX_HEADER_BYTES, Gate
from service.telemetry import Telemetry
from tests.service.fakes import until
from tests.service.web import client_of

pytestmark = pytest.mark.anyio
COUNT = "newsbert_request_seconds_count"


class Guarded:
    """A small app behind the gate, with a route that waits, one that fails and a health check."""

    def __init__(self, max_in_flight: int = 64) -> None:
        self.telemetry = Telemetry()
        self.opened = asyncio.Event()
        self.entered = 0
        self.app = FastAPI()
        problems.install(self.app)
        self.app.get("/v1/news/{id}")(self.read)
        self.app.get("/wait")(self.wait)
        self.app.get("/broken")(self.broken)
        self.app.get("/health/live")(self.live)
        self.app.add_middleware(Gate, telemetry=self.telemetry, max_in_flight=max_in_flight)

    async def read(self, id: str) -> Response:  # noqa: A002 (the route's own name)
        """Answer at once."""
        return Response("read")

    async def live(self) -> Response:
        """Answer operators."""
        return Response("ok")

    async def wait(self) -> Response:
        """Answer once the test lets it."""
        self.entered += 1
        await self.opened.wait()
        return Response("waited")

    async def broken(self) -> Response:
        """Fail as a defect does."""
        raise RuntimeError("a secret of the house")

    def count(self, route: str, status: int) -> float | None:
        """Return how many requests were counted under a route and status."""
        labels = {"route": route, "status": str(status)}
        return self.telemetry.registry.get_sample_value(COUNT, labels)


async def get(guarded: Guarded, path: str, **options: Any) -> httpx.Response:
    """Send one request."""
    async with client_of(guarded.app) as client:
        return await client.get(path, **options)


@pytest.mark.parametrize("given", ["a", "A-1", "0" * 64, "6fa459ea-ee8a-3ca4-894e-db77e160355e"])
async def test_a_safe_request_id_is_kept(given: str) -> None:
    """Letters, digits and hyphens, at most 64."""
    answer = await get(Guarded(), "/v1/news/N1", headers={"x-request-id": given})
    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "a\tb", "x" * 65, "<script>", "a_b", "ä", "a\x00"])
async def test_any_other_request_id_is_replaced(given: str) -> None:
    """What goes into logs and headers is never what a client made up."""
    headers = {"x-request-id": given.encode("latin-1")}
    answer = await get(Guarded(), "/v1/news/N1", headers=headers)
    assert len(answer.headers["x-request-id"]) == 32
    assert answer.headers["x-request-id"].isalnum()


async def test_two_requests_without_an_id_get_two() -> None:
    """Ids are not reused."""
    guarded = Guarded()
    ids = {(await get(guarded, "/v1/news/N1")).headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5


@pytest.mark.parametrize("path", ["/v1/news/N1", "/health/live", "/no-such-path", "/broken"])
async def test_every_answer_tells_its_id_and_total_time(path: str) -> None:
    """Errors and defects as well."""
    answer = await get(Guarded(), path, headers={"x-request-id": "mine"})
    name, _, duration = answer.headers["server-timing"].partition(";dur=")
    assert answer.headers["x-request-id"] == "mine"
    assert name == "total"
    assert 0 <= float(duration) < 60_000


async def test_a_defect_is_answered_in_the_one_shape_and_logged() -> None:
    """The message of the exception stays in the log."""
    guarded = Guarded()
    with capture_logs() as events:
        answer = await get(guarded, "/broken")
    assert answer.status_code == 500
    assert answer.json() == {
        "code": "unexpected", "message": "a defect of this service", "errors": [],
    }  # fmt: skip
    assert [(e["event"], e["error"]) for e in events] == [("unexpected", "RuntimeError")]
    assert guarded.count("/broken", 500) == 1


async def test_requests_are_counted_by_route_template() -> None:
    """An id must not become a label; what matches no route shares one label."""
    guarded = Guarded()
    for path in ("/v1/news/N1", "/v1/news/N2", "/nothing", "/nothing/else"):
        await get(guarded, path)
    assert guarded.count("/v1/news/{id}", 200) == 2
    assert guarded.count("unmatched", 404) == 2
    assert "N1" not in guarded.telemetry.page().decode()


async def test_beyond_its_bound_requests_are_shed_while_health_still_answers() -> None:
    """503 with `Retry-After` before any work; operators always get through."""
    guarded = Guarded(max_in_flight=2)
    async with client_of(guarded.app) as client:
        waiting = [asyncio.create_task(client.get("/wait")) for _ in range(2)]
        await until(lambda: guarded.entered == 2)
        shed = await client.get("/v1/news/N1", headers={"x-request-id": "mine"})
        health = await client.get("/health/live")
        guarded.opened.set()
        assert [(await one).status_code for one in waiting] == [200, 200]
        assert (await client.get("/v1/news/N1")).status_code == 200
    assert (shed.status_code, shed.headers["retry-after"], health.status_code) == (503, "1", 200)
    assert shed.json()["code"] == "overloaded"
    assert shed.headers["x-request-id"] == "mine"
    assert guarded.telemetry.registry.get_sample_value("newsbert_requests_shed_total") == 1
    assert guarded.telemetry.registry.get_sample_value("newsbert_requests_in_flight") == 0


async def test_a_defect_and_a_vanished_client_give_their_place_back() -> None:
    """The bound counts what is in flight, not what went wrong."""
    guarded = Guarded(max_in_flight=1)
    async with client_of(guarded.app) as client:
        assert [(await client.get("/broken")).status_code for _ in range(3)] == [500] * 3
        gone = asyncio.create_task(client.get("/wait"))
        await until(lambda: guarded.entered == 1)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert (await client.get("/v1/news/N1")).status_code == 200


async def test_headers_that_are_too_large_are_refused() -> None:
    """431, in the one shape."""
    headers = {"x-much": "a" * MAX_HEADER_BYTES}
    answer = await get(Guarded(), "/v1/news/N1", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (431, "headers_too_large")
