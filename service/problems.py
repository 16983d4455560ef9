"""Errors to HTTP: one table, one shape, and never a word of the input."""

from collections.abc import Mapping
from http import HTTPStatus

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from service.errors import (
    ArticleUnknown,
    BodyTooLarge,
    CursorRefused,
    DeadlineExceeded,
    MediaTypeUnsupported,
    ModelUnknown,
    NotReady,
    Overloaded,
    ReaderUnknown,
    ServiceError,
    StoreFull,
    StoreUnavailable,
    Unanswerable,
    UnreadableBody,
)

# The error table of docs/api.md: exception, status, code.
TABLE: tuple[tuple[type[ServiceError], int, str], ...] = (
    (UnreadableBody, 400, "unreadable_body"),
    (ArticleUnknown, 404, "article_unknown"),
    (ReaderUnknown, 404, "reader_unknown"),
    (ModelUnknown, 404, "model_unknown"),
    (BodyTooLarge, 413, "body_too_large"),
    (MediaTypeUnsupported, 415, "media_type_unsupported"),
    (CursorRefused, 422, "cursor_refused"),
    (Unanswerable, 422, "unanswerable"),
    (Overloaded, 503, "overloaded"),
    (DeadlineExceeded, 503, "deadline_exceeded"),
    (NotReady, 503, "not_ready"),
    (StoreUnavailable, 503, "store_unavailable"),
    (StoreFull, 507, "store_full"),
)
RETRY_AFTER_S = "1"
MAX_FIELD_ERRORS = 10
# What a store says may name hosts and files: that is for the log alone.
UNTOLD: Mapping[type[ServiceError], str] = {
    StoreUnavailable: "the store does not answer",
    StoreFull: "the store has no space for writes",
}

log = structlog.get_logger()


def install(app: FastAPI) -> None:
    """Answer every error of the app in the one shape."""
    app.add_exception_handler(ServiceError, _told)
    app.add_exception_handler(RequestValidationError, _told)
    app.add_exception_handler(HTTPException, _http_error)


def field_errors(error: ValidationError | RequestValidationError) -> list[dict[str, object]]:
    """Say where a body breaks the schema and by which rule; ids of unknown fields are input too."""
    return [
        {"loc": _location(one["loc"], one["type"]), "type": one["type"]}
        for one in error.errors()[:MAX_FIELD_ERRORS]
    ]


def respond(
    status: int,
    code: str,
    message: str,
    *,
    errors: list[dict[str, object]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Build an error response."""
    body = orjson.dumps({"code": code, "message": message, "errors": errors or []})
    return Response(body, status, dict(headers or {}), media_type="application/json")


def _location(loc: tuple[int | str, ...], kind: str) -> list[int | str]:
    # The name of an unknown field came from the client: it is not repeated.
    parts = loc[:-1] if kind == "extra_forbidden" else loc
    return list(parts)


def response_to(error: Exception) -> Response:
    """Answer an error of the table, or a body that breaks the schema; raise any other again."""
    if isinstance(error, RequestValidationError):
        return respond(422, "invalid", "the request breaks the schema", errors=field_errors(error))
    for kind, status, code in TABLE:
        if isinstance(error, kind):
            headers = (
                {"retry-after": RETRY_AFTER_S} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
            )
            if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                # What is left of the body will not be read.
                headers = {"connection": "close"}
            if kind in UNTOLD:
                log.warning(code, error=str(error))
            return respond(status, code, UNTOLD.get(kind, str(error)), headers=headers)
    raise error  # without a row it is a defect, which the gate answers


async def _told(_: Request, error: Exception) -> Response:
    return response_to(error)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - for the type checker
    phrase = HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "_")
    return respond(error.status_code, code, phrase, headers=error.headers)
