"""What surrounds every request: an id, timings, metrics, and a bound on how many are in flight."""

import re
import time
import uuid
from typing import Any

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.telemetry import Telemetry

REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
# Operators must get through when readers do not.
NEVER_SHED = ("/health/", "/metrics")
RETRY_AFTER_S = 1


class Gate:
    """Pure ASGI: adds `x-request-id` and `Server-Timing`, sheds with 503 before any work."""

    def __init__(self, app: ASGIApp, *, telemetry: Telemetry, max_in_flight: int) -> None:
        self._app = app
        self._telemetry = telemetry
        self._max_in_flight = max_in_flight
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        if self._in_flight >= self._max_in_flight and not scope["path"].startswith(NEVER_SHED):
            self._telemetry.shed.inc()
            await _shed(exchange.send)
        else:
            await self._pass(scope, receive, exchange)
        self._observe(scope, exchange)

    async def _pass(self, scope: Scope, receive: Receive, exchange: "_Exchange") -> None:
        self._in_flight += 1
        try:
            await self._app(scope, receive, exchange.send)
        finally:
            self._in_flight -= 1

    def _observe(self, scope: Scope, exchange: "_Exchange") -> None:
        # The template, never the path: ids must not become label values.
        route = getattr(scope.get("route"), "path", "unmatched")
        self._telemetry.in_flight.set(self._in_flight)
        self._telemetry.requests.labels(route, str(exchange.status)).observe(exchange.elapsed_s())


class _Exchange:
    """One request's id, start and status."""

    def __init__(self, scope: Scope, send: Send) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        self.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        self.status = 0
        self._started = time.perf_counter()
        self._send = send
        scope["timings"] = self._timings = dict[str, float]()

    def elapsed_s(self) -> float:
        return time.perf_counter() - self._started

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self.request_id
            headers["server-timing"] = self._server_timing()
        await self._send(message)

    def _server_timing(self) -> str:
        stages = {**self._timings, "total": self.elapsed_s()}
        return ", ".join(f"{name};dur={1e3 * seconds:.3f}" for name, seconds in stages.items())


async def _shed(send: Send) -> None:
    body = orjson.dumps(
        {"code": "overloaded", "message": "too many requests are in flight", "errors": []}
    )
    headers: list[tuple[bytes, Any]] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", str(RETRY_AFTER_S).encode()),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
