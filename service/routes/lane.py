"""The lane: the busiest routes, answered before the framework's own routing.

FastAPI spends more on such a request than ranking does. What is refused, and in which words, is
decided by the same functions on both ways.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service import problems
from service.bodies import BodyRequest
from service.errors import ServiceError
from service.wire.base import Wire

Body = TypeVar("Body", bound=Wire)


@dataclass(frozen=True, slots=True)
class Quick(Generic[Body]):
    """A POST route by its body and by what answers it, as JSON bytes."""

    body: type[Body]
    answer: Callable[[Request, Body], Awaitable[bytes]]


class Lane:
    """Pure ASGI, inside the gate: takes the quick routes, and passes everything else on."""

    def __init__(self, app: ASGIApp, *, routes: Mapping[str, Quick[Any]]) -> None:
        self._app = app
        self._routes = routes
        # What the gate's metrics take the template from.
        self._templates = {path: SimpleNamespace(path=path) for path in routes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection scope."""
        quick = self._routes.get(scope["path"]) if scope["type"] == "http" else None
        if quick is None or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        scope["route"] = self._templates[scope["path"]]
        try:
            body = await _answer(quick, scope, receive)
        except (ServiceError, RequestValidationError) as error:
            await problems.response_to(error)(scope, receive, send)
            return
        headers = [
            (b"content-length", str(len(body)).encode()),
            (b"content-type", b"application/json"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _answer(quick: Quick[Any], scope: Scope, receive: Receive) -> bytes:
    request = BodyRequest(scope, receive)
    body = _validated(quick.body, await request.json())
    scope["stages"].mark("body")
    return await quick.answer(request, body)


def _validated(model: type[Body], value: object) -> Body:
    """Validate as FastAPI does, and say what is wrong in its words and places."""
    try:
        return model.model_validate(value, from_attributes=True)
    except ValidationError as error:
        found = [{**one, "loc": ("body", *one["loc"])} for one in error.errors()]
        raise RequestValidationError(found) from error
