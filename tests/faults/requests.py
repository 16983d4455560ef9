"""Requests that each route accepts, and what can be wrong with a body or an id."""

import gzip
import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from service.settings import Settings
from tests.problem_shape import MARKER
from tests.serving import Service

# A request that each route accepts: a JSON body, or None where there is none.
ROUTES: Mapping[str, dict[str, Any] | None] = {
    "POST /v1/recommendations": {"history": ["N0"], "n": 3},
    "POST /v1/rank": {"history": ["N0"], "candidates": ["N1", "N2"]},
    "PUT /v1/news/{id}": {"title": "Coach on the new season"},
    "POST /v1/news:batch": None,
    "GET /v1/news/{id}": None,
    "DELETE /v1/news/{id}": None,
    "POST /v1/search": {"query": "coach", "n": 3},
    "POST /v1/classify": {"texts": ["Coach on the new season"]},
    "POST /v1/embeddings": {"model": "newsbert", "input": "Coach on the new season"},
    "GET /v1/news/{id}/similar": None,
    "GET /v1/news": None,
    "GET /v1/latest": None,
    "GET /v1/trending": None,
    "GET /v1/models": None,
    "POST /v1/feedback": None,
    "GET /v1/users/{id}": None,
    "DELETE /v1/users/{id}": None,
    "GET /health/live": None,
    "GET /health/ready": None,
    "GET /metrics": None,
}
JSON_ROUTES = [route for route, body in ROUTES.items() if body is not None]
BODY_ROUTES = [*JSON_ROUTES, "POST /v1/news:batch", "POST /v1/feedback"]
# Of articles; ids of readers may have more letters (tests/service/test_routes_users.py).
ID_ROUTES = [route for route in ROUTES if "/news/{id}" in route]

JSON, NDJSON = "application/json", "application/x-ndjson"
CAP = Settings.model_fields["max_body_bytes"].default
BATCH_CAP = Settings.model_fields["max_batch_bytes"].default
MAX_IDS, MAX_N = 1_000, 200


def _with(value: bytes) -> Callable[[bytes], bytes]:
    """Add a last field of that value, so that nothing else about a body is wrong."""
    return lambda body: body[:-1] + b', "' + MARKER.encode() + b'": ' + value + b"}"


# From a good body to one that is not JSON by RFC 8259.
UNREADABLE: Mapping[str, Callable[[bytes], bytes]] = {
    "truncated": lambda body: body[:-1],
    "empty": lambda _: b"",
    "white space": lambda _: b" \t ",
    "plain text": lambda _: MARKER.encode(),
    "two values": lambda body: body + body,
    "comma at the end": lambda body: body[:-1] + b",}",
    "single quotes": lambda body: body.replace(b'"', b"'"),
    "comment": lambda body: body + b"//" + MARKER.encode(),
    "NaN": _with(b"NaN"),
    "Infinity": _with(b"Infinity"),
    "minus Infinity": _with(b"-Infinity"),
    "1e999": _with(b"1e999"),
    "integer of 5,000 digits": _with(b"9" * 5_000),
    "bad UTF-8": _with(b'"\xff\xfe"'),
    "overlong UTF-8": _with(b'"\xc0\xaf"'),
    "surrogate in UTF-8": _with(b'"\xed\xa0\x80"'),
    "lone surrogate": _with(b'"\\ud800"'),
    "low surrogate first": _with(b'"\\udc00\\ud800"'),
    "control character": _with(b'"\x1b"'),
    "NUL in a string": _with(b'"\x00"'),
    "NUL at the end": lambda body: body + b"\x00",
    "BOM": lambda body: b"\xef\xbb\xbf" + body,
    "UTF-16": lambda body: body.decode().encode("utf-16"),
    "too deep": _with(b"[" * 5_000 + b"]" * 5_000),
    "compressed": gzip.compress,
}
# A batch passes over lines without text.
EMPTY_LINES = {"empty", "white space"}
WRONG_SHAPES = ["null", "[]", "[{}]", "3", "true", f'"{MARKER}"', f'{{"{MARKER}": 1}}']
BAD_IDS = {
    "colon": "a:b",
    "star": "a*",
    "brace": "{a}",
    "up": "..",
    "hidden": ".a",
    "space": "a b",
    "line end": "a\n",
    "NUL": "a\x00",
    "right to left": "a\u202eb",
    "emoji": "a😀",
    "composed": "caf\u00e9",
    "decomposed": "cafe\u0301",
    "65 characters": "a" * 65,
    "format": "%s%n",
    "wide digit": "\uff11",
}


def send(service: Service, route: str, content: bytes, media: str | None = None) -> httpx.Response:
    """Send raw bytes to a route; the media type is the right one unless told otherwise."""
    method, path = route.split()
    right = NDJSON if path.endswith(":batch") else JSON
    headers = {"content-type": media or right}
    return service.client.request(
        method, path.replace("{id}", "N1"), content=content, headers=headers
    )


def good_body(route: str, **fields: Any) -> bytes:
    """Return a body that a route accepts, with some fields replaced."""
    return json.dumps({**(ROUTES[route] or {}), **fields}).encode()


def send_to_id(service: Service, route: str, encoded: str) -> httpx.Response:
    """Send a good body to a route, with an id that is percent-encoded where it must be."""
    method, path = route.split()
    body = {"json": ROUTES[route]} if ROUTES[route] is not None else {}
    return service.client.request(method, path.replace("{id}", encoded), **body)
