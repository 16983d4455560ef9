"""The service with a leak: the stand-in that a test of memory must find."""

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

import service.app
from newsbert import main

KEPT_BYTES = 16_384
whole_app = service.app.create_app


class Leak:
    """Keeps something of every request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._kept: list[bytearray] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        self._kept.append(bytearray(b"x" * KEPT_BYTES))
        await self._app(scope, receive, send)


def leaking_app() -> FastAPI:
    """Create the application with the leak around it."""
    app = whole_app()
    app.add_middleware(Leak)
    return app


if __name__ == "__main__":
    service.app.create_app = leaking_app
    main()
