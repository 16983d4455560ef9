"""Use-case results as JSON, straight to bytes: validating our own answers would cost too much."""

from typing import Any

import orjson
from fastapi import Request, Response

from service.problems import TABLE
from service.stages import Stages
from service.wire.base import ErrorAnswer

MEANINGS = {
    400: "The body is not JSON.",
    404: "No such article, or it was taken down.",
    413: "The body is over the cap.",
    415: "The media type or content encoding is not accepted.",
    422: "The request breaks the schema; the input is never echoed.",
    503: "Overloaded, not ready, out of time, or the store does not answer; see `Retry-After`.",
    507: "The store has no space for writes.",
}
CODES = {
    status: [code for _, s, code in TABLE if s == status] or ["invalid"] for status in MEANINGS
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of a route's errors."""
    return {
        status: {
            "model": ErrorAnswer,
            "description": f"{MEANINGS[status]} Codes: {', '.join(CODES[status])}.",
        }
        for status in sorted(statuses)
    }


def json_response(value: object, status: int = 200) -> Response:
    """Serialise an answer."""
    return json_bytes(orjson.dumps(value), status)


def json_bytes(body: bytes, status: int = 200) -> Response:
    """Answer with what is JSON already."""
    return Response(body, status, media_type="application/json")


def stages_of(request: Request) -> Stages:
    """Return the stages that the `Server-Timing` header of a request will tell."""
    stages: Stages = request.scope["stages"]
    return stages
