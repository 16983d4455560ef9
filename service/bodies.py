"""Read request bodies safely: media type and size first, then bytes, then JSON."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ClassVar

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from service.errors import BodyTooLarge, MediaTypeUnsupported, UnreadableBody

JSON = frozenset({"application/json"})
NDJSON = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})


class BodyRequest(Request):
    """A request whose body is refused before it is read when it can be."""

    media_types: ClassVar[frozenset[str]] = JSON

    @property
    def cap(self) -> int:
        """Return the largest body taken, in bytes."""
        return int(self.app.state.settings.max_body_bytes)

    async def body(self) -> bytes:
        """Read the body; raise MediaTypeUnsupported, BodyTooLarge or UnreadableBody."""
        if not hasattr(self, "_body"):
            self._refuse_unread()
            try:
                async with asyncio.timeout(self.app.state.settings.receive_timeout_s):
                    self._body = await self._read()
            except TimeoutError as error:
                raise UnreadableBody("the body did not arrive in time") from error
            except ClientDisconnect as error:
                # Nobody reads the answer; but a client that goes away is no defect of ours.
                raise UnreadableBody("the body ended early") from error
        return self._body

    async def json(self) -> object:
        """Parse the body as JSON (RFC 8259: no NaN, no lone surrogates, UTF-8 without a BOM)."""
        if not hasattr(self, "_json"):
            self._json = parse(await self.body())
        return self._json

    def _refuse_unread(self) -> None:
        headers = _headers(self)
        if _media_type(headers) not in self.media_types:
            raise MediaTypeUnsupported(f"send {' or '.join(sorted(self.media_types))}")
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise MediaTypeUnsupported("send the body without a content encoding")
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared[:20]) > self.cap:
            raise BodyTooLarge(f"a body here has at most {self.cap} bytes")

    async def _read(self) -> bytes:
        chunks, size, is_more = list[bytes](), 0, True
        while is_more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk, is_more = message.get("body", b""), message.get("more_body", False)
            size += len(chunk)
            if size > self.cap:
                raise BodyTooLarge(f"a body here has at most {self.cap} bytes")
            chunks.append(chunk)
        return b"".join(chunks)


class BatchRequest(BodyRequest):
    """A request with a body of many lines."""

    media_types: ClassVar[frozenset[str]] = NDJSON

    @property
    def cap(self) -> int:
        """Return the largest batch taken, in bytes."""
        return int(self.app.state.settings.max_batch_bytes)


class EitherRequest(BodyRequest):
    """A request with one JSON value, or with a body of many lines and the limits of a batch."""

    media_types: ClassVar[frozenset[str]] = JSON | NDJSON

    @property
    def has_lines(self) -> bool:
        """Say whether the body is one of lines."""
        return _media_type(_headers(self)) in NDJSON

    @property
    def cap(self) -> int:
        """Return the largest body of its kind, in bytes."""
        settings = self.app.state.settings
        return int(settings.max_batch_bytes if self.has_lines else settings.max_body_bytes)


class JsonRoute(APIRoute):
    """A route whose body, where it has one, is one JSON value."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Read the body before FastAPI does, which would answer 400 to whatever goes wrong."""
        handle = super().get_route_handler()

        async def with_json(request: Request) -> Response:
            safe = BodyRequest(request.scope, request.receive)
            if self.body_field is not None:
                await safe.json()
            return await handle(safe)

        return with_json


class BatchRoute(APIRoute):
    """A route whose body is NDJSON, which it parses line by line itself."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Read the body with the limits of a batch."""
        handle = super().get_route_handler()

        async def with_lines(request: Request) -> Response:
            safe = BatchRequest(request.scope, request.receive)
            await safe.body()
            return await handle(safe)

        return with_lines


class EitherRoute(APIRoute):
    """A route whose body is JSON or NDJSON, which it parses itself."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Read the body with the limits of its kind."""
        handle = super().get_route_handler()

        async def with_either(request: Request) -> Response:
            safe = EitherRequest(request.scope, request.receive)
            await safe.body()
            return await handle(safe)

        return with_either


def _headers(request: Request) -> Mapping[bytes, bytes]:
    # As they came: the framework decodes all of them anew for each that is asked for. Of two
    # with one name the first counts.
    return dict(reversed(request.scope["headers"]))


def _media_type(headers: Mapping[bytes, bytes]) -> str:
    told = headers.get(b"content-type", b"").partition(b";")[0]
    return told.strip().lower().decode("latin-1")


def parse(raw: bytes) -> object:
    """Parse one JSON value; raise UnreadableBody for whatever is not."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        # The parser's message may quote the input; its own does not leave this function.
        raise UnreadableBody("the body is not JSON") from error
