"""The composition root: builds every part of the service and owns its life."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial

import faiss
import structlog
from fastapi import FastAPI

from contract.bundle import Bundle
from contract.encoder import BundleEncoder
from contract.golden import verified_encoder
from service import problems
from service.adapters.faiss_search import FaissSearch
from service.adapters.stores import open_store
from service.batching import Batcher
from service.catalogue import Catalogue
from service.filler import Filler
from service.follower import Follower
from service.gate import Gate
from service.ports import Activation
from service.publish import Publisher
from service.recommend import Recommender
from service.routes import operating, publishing, reading
from service.running import Running
from service.settings import Settings
from service.storage import AsyncStore
from service.telemetry import Telemetry, configure_logging

STORE_THREADS = 4

log = structlog.get_logger()


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application; its parts are built when it starts."""
    settings = settings or Settings()
    telemetry = Telemetry()
    app = FastAPI(
        title="NewsBERT",
        summary="Personalised news from a small distilled encoder",
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(settings, telemetry),
    )
    app.state.settings = settings
    problems.install(app)
    for router in (reading.router, publishing.router, publishing.batch_router, operating.router):
        app.include_router(router)
    app.add_middleware(Gate, telemetry=telemetry, max_in_flight=settings.max_in_flight)
    return app


def _lifespan(
    settings: Settings, telemetry: Telemetry
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        configure_logging()
        # One search per request on one thread: more would fight the other requests for the cores.
        faiss.omp_set_num_threads(1)
        # A call stays on its thread: the batcher makes as many at once as there are threads.
        bundle, encoder = verified_encoder(settings.bundle)
        async with AsyncExitStack() as stack:
            store = open_store(settings.store, on_rejected=telemetry.rejected)
            stack.callback(store.close)
            store_threads = stack.enter_context(ThreadPoolExecutor(STORE_THREADS, "store"))
            # Its own thread: writers that wait for the store must not hold up what others wrote.
            follower_thread = stack.enter_context(ThreadPoolExecutor(1, "follower"))
            encoder_threads = stack.enter_context(ThreadPoolExecutor(settings.threads, "encoder"))
            batcher = Batcher(encoder, encoder_threads, workers=settings.threads)
            app.state.running = service = _compose(
                settings,
                telemetry,
                bundle,
                encoder,
                batcher,
                AsyncStore(store, store_threads),
                AsyncStore(store, follower_thread),
            )
            stack.push_async_callback(_cancel, service.jobs)
            yield

    return lifespan


def _compose(
    settings: Settings,
    telemetry: Telemetry,
    bundle: Bundle,
    encoder: BundleEncoder,
    batcher: Batcher,
    store: AsyncStore,
    followed: AsyncStore,
) -> Running:
    """Join the parts and start the jobs that run as long as the service does."""
    identity = {"model": bundle.model, "namespace": bundle.namespace}
    catalogue = Catalogue(
        Activation(generation=0, **identity),
        bundle.manifest.dim,
        history_ttl_s=settings.history_ttl_h * 3_600,
    )
    filler = Filler(store, catalogue, batcher, bundle.text, time.time)
    follower = Follower(
        followed,
        catalogue,
        filler,
        activate=partial(store.blocking.activate, **identity),
        clock=time.time,
        telemetry=telemetry,
        poll_interval_s=settings.poll_interval_s,
        popularity_interval_s=settings.popularity_interval_s,
    )
    recommender = Recommender(
        lambda: catalogue.current,
        encoder,
        encoder.click_model,
        FaissSearch(),
        clock=time.time,
        history=bundle.text.history,
        retrieved=settings.retrieved,
    )
    publisher = Publisher(store, batcher, bundle.text, bundle.namespace, time.time)
    jobs = _started(encoder=batcher.run(), filler=filler.run(), follower=follower.run())
    return Running(settings, recommender, publisher, follower, telemetry, time.time, jobs)


def _started(**jobs: Coroutine[None, None, None]) -> "tuple[asyncio.Task[None], ...]":
    tasks = tuple(asyncio.create_task(job, name=name) for name, job in jobs.items())
    for task in tasks:
        task.add_done_callback(_tell)
    return tasks


def _tell(task: "asyncio.Task[None]") -> None:
    # A job never ends by itself; readiness tells it too (Running.hindrances).
    if not task.cancelled():
        log.error("background_job_ended", job=task.get_name(), exc_info=task.exception())


async def _cancel(tasks: Sequence["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
