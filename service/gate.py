"""What surrounds every request: an id, timings, metrics, and a bound on how many are in flight."""

import os
import re
import time
from collections.abc import Callable
from functools import lru_cache

import orjson
import structlog
from prometheus_client import Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.stages import Stages
from service.telemetry import Telemetry

REQUEST_ID = re.compile(rb"[A-Za-z0-9-]{1,64}")
# Operators must get through when readers do not.
NEVER_SHED = ("/health/", "/metrics")
RETRY_AFTER = (b"retry-after", b"1")
# What the parser makes of a request line of two words.
NO_VERSION = "0.9"
MAX_HEADER_BYTES = 32 * 1024
# As long as that of a random UUID, for half its time.
ID_BYTES = 16

log = structlog.get_logger()


class Gate:
    """Pure ASGI: adds `x-request-id` and `Server-Timing`, sheds with 503 before any work."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        telemetry: Telemetry,
        max_in_flight: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._app = app
        self._telemetry = telemetry
        self._max_in_flight = max_in_flight
        self._clock = clock
        # Looked up once: finding a child by its labels takes longer than counting in it.
        self._histogram = lru_cache(maxsize=None)(self._labelled)
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send, Stages(self._clock))
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
            # The parser that uvicorn uses has no limit of its own.
            await _refuse(exchange.send, 431, "headers_too_large", "the headers are too large")
        elif scope.get("http_version", "1.1") == NO_VERSION:
            await _refuse(exchange.send, 400, "bad_request", "the request names no version of HTTP")
        elif self._in_flight >= self._max_in_flight and not scope["path"].startswith(NEVER_SHED):
            self._telemetry.shed.inc()
            message = "too many requests are in flight"
            await _refuse(exchange.send, 503, "overloaded", message, RETRY_AFTER)
        else:
            await self._pass(scope, receive, exchange)
            return
        self._observe(scope, exchange)

    async def _pass(self, scope: Scope, receive: Receive, exchange: "_Exchange") -> None:
        self._in_flight += 1
        try:
            await self._app(scope, receive, exchange.send)
        except Exception as error:
            log.error("unexpected", error=type(error).__name__, exc_info=error)
            if exchange.status:
                raise  # too late for another answer: the server cuts the connection
            await _refuse(exchange.send, 500, "unexpected", "a defect of this service")
        finally:
            # Also after a defect: what was answered with 500 must be counted.
            self._in_flight -= 1
            self._observe(scope, exchange)

    def _observe(self, scope: Scope, exchange: "_Exchange") -> None:
        # The template, never the path: ids must not become label values.
        route = getattr(scope.get("route"), "path", "unmatched")
        self._telemetry.in_flight.set(self._in_flight)
        self._histogram(route, exchange.status).observe(exchange.stages.elapsed_s())

    def _labelled(self, route: str, status: int) -> Histogram:
        return self._telemetry.requests.labels(route, str(status))


class _Exchange:
    """One request's id, stages and status; the scope has the first two."""

    def __init__(self, scope: Scope, send: Send, stages: Stages) -> None:
        scope["request_id"] = self._request_id = _request_id(scope)
        self.status = 0
        self._send = send
        scope["stages"] = self.stages = stages

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            told = (
                (b"x-request-id", self._request_id),
                (b"server-timing", self.stages.header().encode()),
            )
            message["headers"] = [*message.get("headers", ()), *told]
        await self._send(message)


def _request_id(scope: Scope) -> bytes:
    """Return the client's own id of the request where it is safe to repeat, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return bytes(value)
    return os.urandom(ID_BYTES).hex().encode()


async def _refuse(
    send: Send, status: int, code: str, message: str, *more: tuple[bytes, bytes]
) -> None:
    body = orjson.dumps({"code": code, "message": message, "errors": []})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
