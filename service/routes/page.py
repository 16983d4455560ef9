"""Pages for people: the reader's at `/`, the operator's at `/status`, and what they are made of."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePath
from typing import Final

from fastapi import APIRouter, HTTPException, Request, Response

MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Nothing inline and nothing from elsewhere: what an article says cannot become a script.
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    # Kept, and asked for again each time: an answer of no bytes where nothing has changed.
    "cache-control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the pages in memory."""

    body: bytes
    media_type: str
    etag: str


def assets() -> dict[str, Asset]:
    """Read the files of the pages, by name."""
    return {
        file.name: _asset(file.name, file.read_bytes())
        for file in (files("service") / "page").iterdir()
        if PurePath(file.name).suffix in MEDIA_TYPES
    }


def router() -> APIRouter:
    """Build the routes of the pages; their files are read here, once."""
    pages = assets()
    parts = {name: one for name, one in pages.items() if not name.endswith(".html")}
    # No part of the interface that programs use, so not of its description either.
    routes = APIRouter(include_in_schema=False)

    async def reader(request: Request) -> Response:
        return _answer(request, pages["index.html"])

    async def status(request: Request) -> Response:
        return _answer(request, pages["status.html"])

    async def part(request: Request, name: str) -> Response:
        if name not in parts:
            raise HTTPException(404)
        return _answer(request, parts[name])

    for path, answer in (("/", reader), ("/status", status), ("/page/{name}", part)):
        routes.add_api_route(path, answer, methods=["GET", "HEAD"])
    return routes


def _asset(name: str, body: bytes) -> Asset:
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    return Asset(body, MEDIA_TYPES[PurePath(name).suffix], etag)


def _answer(request: Request, asset: Asset) -> Response:
    headers = {**HEADERS, "etag": asset.etag}
    known = request.headers.get("if-none-match", "").split(",")
    if not {asset.etag, "*"}.isdisjoint(one.strip().removeprefix("W/") for one in known):
        return Response(status_code=304, headers=headers)
    return Response(asset.body, headers=headers, media_type=asset.media_type)
