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
CODES = {status: [code for _, s, code in TABLE if s == status] for status in MEANINGS}
# No exception of the service stands for it: it is what the framework refuses.
CODES[422].insert(0, "invalid")
# What else is not known, by its code.
UNKNOWN = {
    "article_unknown": MEANINGS[404],
    "reader_unknown": "Nothing is kept of such a reader.",
    "model_unknown": "The request names a model that does not serve here.",
}


def documented(*statuses: int, unknown: str = "article_unknown") -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of a route's errors; `unknown` is the code of its 404."""
    told = {status: (MEANINGS[status], CODES[status]) for status in statuses}
    if 404 in told:
        told[404] = (UNKNOWN[unknown], [unknown])
    return {
        status: {
            "model": ErrorAnswer,
            "description": f"{meaning} Codes: {', '.join(codes)}.",
        }
        for status, (meaning, codes) in sorted(told.items())
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
