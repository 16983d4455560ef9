"""The service in this process: a client for its routes, with the lifespan around them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import BaseModel

from service.app import create_app
from service.settings import Settings
from tests.service.fakes import PATIENCE_S, until


@asynccontextmanager
async def client_of(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Send requests to an ASGI app, without a network."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@asynccontextmanager
async def served(
    bundle: Path,
    store: str = "memory://",
    *,
    change: Callable[[FastAPI], None] | None = None,
    lane: bool = True,
    **settings: Any,
) -> AsyncIterator[httpx.AsyncClient]:
    """Serve a bundle and a store for the length of a block; `change` may add to the app."""
    async with (
        serving_app(bundle, store, change=change, lane=lane, **settings) as app,
        client_of(app) as client,
    ):
        yield client


@asynccontextmanager
async def serving_app(
    bundle: Path,
    store: str = "memory://",
    *,
    change: Callable[[FastAPI], None] | None = None,
    lane: bool = True,
    **settings: Any,
) -> AsyncIterator[FastAPI]:
    """Run an app for the length of a block, from when it is ready."""
    settings = {"poll_interval_s": 0.005, "popularity_interval_s": 0.01, **settings}
    app = create_app(Settings(bundle=bundle, store=store, **settings), lane=lane)
    if change is not None:
        change(app)
    async with app.router.lifespan_context(app):
        await until(lambda: app.state.running.follower.is_ready)
        await until(lambda: not app.state.running.follower.is_behind)
        yield app


async def until_shown(client: httpx.AsyncClient, expected: set[str]) -> None:
    """Wait until the newest articles are these, no more and no fewer."""
    url = "/v1/latest?n=200&collapse=false"
    async with asyncio.timeout(PATIENCE_S):
        while {i["id"] for i in (await client.get(url)).json()["items"]} != expected:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def posted(
    client: httpx.AsyncClient, url: str, model: type[BaseModel], body: dict[str, Any]
) -> dict[str, Any]:
    """Post a body that is answered with 200, and check the shape of the answer."""
    answer = await client.post(url, json=body)
    assert answer.status_code == 200, answer.text
    model.model_validate_json(answer.content)
    result: dict[str, Any] = answer.json()
    return result


def ids_of(page: dict[str, Any]) -> list[str]:
    """List the ids of a page."""
    return [item["id"] for item in page["items"]]
