"""The composition root: builds every part of the service and owns its life."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial

import faiss
import structlog
from fastapi import FastAPI

from contract.bundle import Bundle
from contract.encoder import BundleEncoder
from contract.golden import verified_encoder
from service import problems
from service.adapters.bm25_words import Bm25Builder
from service.adapters.faiss_search import FaissSearch
from service.adapters.stores import open_store
from service.batching import Batcher
from service.catalogue import Catalogue
from service.diversify import Variety
from service.filler import Filler
from service.finding import Finder
from service.follower import Follower
from service.gate import Gate
from service.inventory import Inventory
from service.lexicon import Lexicon
from service.lists import Lists
from service.paging import Pager, SharedKey
from service.ports import Activation
from service.publish import Publisher
from service.recommend import Limits, Recommender
from service.retrieval import Retrieval
from service.routes import finding, lists, operating, publishing, reading, texts
from service.routes.lane import Lane
from service.running import Running
from service.scores import Scorer
from service.settings import Settings
from service.storage import AsyncStore
from service.telemetry import Telemetry, configure_logging
from service.texts import Texts
from service.words import Words

STORE_THREADS = 4

log = structlog.get_logger()


def create_app(settings: Settings | None = None, *, lane: bool = True) -> FastAPI:
    """Build the application; its parts are built when it starts.

    Without the `lane` the framework answers every route, as tests compare.
    """
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
    for router in (
        reading.router,
        lists.router,
        finding.router,
        texts.router,
        publishing.router,
        publishing.batch_router,
        operating.router,
    ):
        app.include_router(router)
    app.add_middleware(Lane, routes=reading.QUICK if lane else {})
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
        bundle, encoder = verified_encoder(settings.bundle, threads=settings.threads)
        async with AsyncExitStack() as stack:
            store = open_store(settings.store, on_rejected=telemetry.rejected)
            stack.callback(store.close)
            store_threads = stack.enter_context(ThreadPoolExecutor(STORE_THREADS, "store"))
            # Its own thread: writers that wait for the store must not hold up what others wrote.
            follower_thread = stack.enter_context(ThreadPoolExecutor(1, "follower"))
            encoder_thread = stack.enter_context(ThreadPoolExecutor(1, "encoder"))
            words_thread = stack.enter_context(ThreadPoolExecutor(1, "words"))
            app.state.running = service = _compose(
                settings,
                telemetry,
                bundle,
                encoder,
                encoder_thread,
                words_thread,
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
    encoder_thread: Executor,
    words_thread: Executor,
    store: AsyncStore,
    followed: AsyncStore,
) -> Running:
    """Join the parts and start the jobs that run as long as the service does."""
    identity = {"model": bundle.model, "namespace": bundle.namespace}
    batcher = Batcher(encoder.vectors, encoder_thread)
    classifier = Batcher(encoder.topic_logits, encoder_thread)
    lexicon = Lexicon()
    catalogue = Catalogue(
        Activation(generation=0, **identity),
        bundle.manifest.dim,
        history_ttl_s=settings.history_ttl_h * 3_600,
        logits=encoder.click_logits,
        terms=lexicon.terms,
    )
    words = Words(lambda: catalogue.current, lexicon, Bm25Builder(), words_thread)
    key = SharedKey(partial(store.blocking.secret, "cursor"))

    def at_load() -> Activation:
        # In the follower's thread, whenever it loads: no request waits for the key of cursors.
        key.load()
        return store.blocking.activate(**identity)

    filler = Filler(store, catalogue, batcher, bundle.text, time.time)
    follower = Follower(
        followed,
        catalogue,
        filler,
        activate=at_load,
        clock=time.time,
        telemetry=telemetry,
        poll_interval_s=settings.poll_interval_s,
        popularity_interval_s=settings.popularity_interval_s,
    )
    retrieval = Retrieval(FaissSearch(), settings.retrieval)
    recommender = Recommender(
        lambda: catalogue.current,
        Scorer(encoder.click_model),
        retrieval,
        Limits(
            history=bundle.text.history,
            history_ttl_s=settings.history_ttl_h * 3_600,
            retrieved=settings.retrieved,
            same_story=settings.same_story,
            same_story_s=settings.same_story_h * 3_600,
        ),
        time.time,
    )
    publisher = Publisher(store, batcher, bundle.text, bundle.namespace, time.time)
    embedder = Texts(
        lambda: catalogue.current,
        batcher,
        classifier,
        encoder.token_counts,
        bundle.topics,
        max_texts=settings.max_texts,
    )
    jobs = _started(
        encoder=batcher.run(),
        classifier=classifier.run(),
        filler=filler.run(),
        follower=follower.run(),
        words=words.run(),
    )
    return Running(
        settings=settings,
        recommender=recommender,
        lists=_lists(settings, catalogue, retrieval),
        finder=_finder(settings, catalogue, retrieval, batcher, words),
        texts=embedder,
        inventory=Inventory(lambda: catalogue.current, store),
        pager=Pager(key, time.time, ttl_s=settings.page_ttl_s),
        publisher=publisher,
        follower=follower,
        telemetry=telemetry,
        clock=time.time,
        jobs=jobs,
    )


def _lists(settings: Settings, catalogue: Catalogue, retrieval: Retrieval) -> Lists:
    return Lists(
        lambda: catalogue.current,
        retrieval,
        clock=time.time,
        retrieved=settings.retrieved,
        stories=_stories(settings),
    )


def _finder(
    settings: Settings,
    catalogue: Catalogue,
    retrieval: Retrieval,
    batcher: Batcher,
    words: Words,
) -> Finder:
    return Finder(
        lambda: catalogue.current,
        batcher,
        retrieval,
        words,
        clock=time.time,
        retrieved=settings.retrieved,
        stories=_stories(settings),
    )


def _stories(settings: Settings) -> Variety:
    return Variety(same_story=settings.same_story, window_s=settings.same_story_h * 3_600)


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
