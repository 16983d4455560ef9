"""The application: routes, middleware, and the service behind them for as long as it lives."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI

from service import problems
from service.composition import composed
from service.gate import Gate
from service.routes import (
    feedback,
    finding,
    lists,
    operating,
    page,
    publishing,
    reading,
    texts,
    users,
)
from service.routes.lane import Lane
from service.settings import Settings
from service.telemetry import Telemetry


def create_app(settings: Settings | None = None, *, lane: bool = True) -> FastAPI:
    """Build the application; its parts are built when it starts.

    Without settings those of the environment hold, and the process is the service's own. Without
    the `lane` the framework answers every route, as tests compare.
    """
    is_alone = settings is None
    settings = settings or Settings()
    telemetry = Telemetry()
    app = FastAPI(
        title="NewsBERT",
        summary="Personalised news from a small distilled encoder",
        version="1",
        docs_url=None,
        redoc_url=None,
        # A path that is not quite one of ours is none of ours.
        redirect_slashes=False,
        lifespan=_lifespan(settings, telemetry, is_alone=is_alone),
    )
    app.state.settings = settings
    problems.install(app)
    for router in (
        reading.router,
        lists.router,
        finding.router,
        texts.router,
        publishing.router,
        publishing.batch_router,
        feedback.router,
        users.router,
        operating.router,
    ):
        app.include_router(router)
    if settings.pages:
        app.include_router(page.router())
    app.add_middleware(Lane, routes=reading.QUICK if lane else {})
    app.add_middleware(Gate, telemetry=telemetry, max_in_flight=settings.max_in_flight)
    return app


def _lifespan(
    settings: Settings, telemetry: Telemetry, *, is_alone: bool
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with composed(settings, telemetry, is_alone=is_alone) as app.state.running:
            yield

    return lifespan
