"""The composition root: builds every part of the service and owns its life."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import structlog

from contract.bundle import Bundle
from contract.encoder import BundleEncoder
from contract.golden import verified_encoder
from service.adapters.bm25_words import Bm25Builder
from service.adapters.faiss_index import FaissIndexBuilder
from service.adapters.faiss_search import FaissSearch
from service.adapters.stores import open_store, place_of
from service.batching import Batcher
from service.catalogue import Catalogue
from service.decay import Decay
from service.diversify import Variety
from service.exploration import Explorer
from service.feedback import Feedback
from service.filler import Filler
from service.finding import Finder
from service.follower import Follower, Pace
from service.histories import Histories, Records
from service.id_table import ABSENT
from service.inventory import Inventory
from service.lexicon import Lexicon
from service.lists import Lists
from service.memory import TidyExecutor, spare
from service.paging import Pager, SharedKey
from service.popularity import PopularityReader
from service.ports import Activation, Store
from service.pseudonyms import Pseudonyms
from service.publish import Publisher
from service.recommend import Limits, Recommender
from service.retrieval import Retrieval
from service.running import Running
from service.saving import Keeper, Saver
from service.scores import Scorer
from service.settings import Settings
from service.snapshot import Snapshot
from service.storage import AsyncStore
from service.sweeping import sweep
from service.telemetry import Telemetry, configure_logging
from service.texts import Texts
from service.words import Words

STORE_THREADS, READER_THREADS = 4, 2
SWEEP_S = 10.0

log = structlog.get_logger()


@asynccontextmanager
async def composed(
    settings: Settings, telemetry: Telemetry, *, is_alone: bool
) -> AsyncIterator[Running]:
    """Run the service for the length of a block; alone in its process it spares the collector."""
    configure_logging()
    # One search per request on one thread: more would fight the other requests for the cores.
    faiss.omp_set_num_threads(1)
    # A call stays on its thread: the batcher makes as many at once as there are threads.
    bundle, encoder = verified_encoder(settings.bundle)
    async with AsyncExitStack() as stack:
        store = open_store(settings.store, on_rejected=telemetry.rejected)
        stack.callback(store.close)
        lexicon = Lexicon()
        keeper = _keeper(settings, bundle, lexicon)
        if keeper is not None:
            stack.callback(keeper.close)
        pools = (
            # Indexes, words and snapshots take turns: at once they would need far more memory.
            # Ended last: the others may still start the building of an index.
            TidyExecutor(1, "background"),
            ThreadPoolExecutor(STORE_THREADS, "store"),
            # Its own: writers that wait for the store hold up nobody else's writes.
            ThreadPoolExecutor(1, "follower"),
            # Their own too: those who are answered wait for a history, and only for a moment.
            ThreadPoolExecutor(READER_THREADS, "histories"),
            ThreadPoolExecutor(1, "feedback"),
            ThreadPoolExecutor(settings.threads, "encoder"),
        )
        threads = _Threads(*map(stack.enter_context, pools))
        service = _compose(settings, telemetry, bundle, encoder, store, threads, lexicon, keeper)
        stack.push_async_callback(_cancel, service.jobs)
        if is_alone:
            sparing = _started(collector=spare(lambda: service.snapshot().base))
            stack.push_async_callback(_cancel, sparing)
        yield service


@dataclass(frozen=True)
class _Threads:
    """Where what blocks runs, so that the event loop never does."""

    background: Executor
    store: Executor
    follower: Executor
    histories: Executor
    feedback: Executor
    encoder: Executor


def _compose(
    settings: Settings,
    telemetry: Telemetry,
    bundle: Bundle,
    encoder: BundleEncoder,
    store: Store,
    threads: _Threads,
    lexicon: Lexicon,
    keeper: Keeper | None,
) -> Running:
    """Join the parts and start the jobs that run as long as the service does."""
    catalogue = _catalogue(settings, bundle, encoder, lexicon, threads.background)
    words = Words(lambda: catalogue.current, lexicon, Bm25Builder(), threads.background)
    batcher, classifier = _batchers(settings, telemetry, encoder, threads.encoder)
    articles = AsyncStore(store, threads.store)
    filler = Filler(articles, catalogue, batcher, bundle.text, time.time)
    key, readers_key = _key(store, keeper), _readers_key(settings, store)
    activate = partial(_at_load, store, (key, readers_key), bundle)
    followed = AsyncStore(store, threads.follower)
    follower = Follower(followed, catalogue, filler, activate, telemetry, **_pace(settings))
    _tell_gauges(telemetry, bundle, catalogue)
    current, retrieval = (lambda: catalogue.current), Retrieval(FaissSearch(), settings.retrieval)
    return Running(
        settings=settings,
        recommender=Recommender(
            current, Scorer(encoder.click_model), retrieval, _limits(settings, bundle), time.time
        ),
        lists=Lists(current, retrieval, **_common(settings)),
        finder=Finder(current, batcher, retrieval, words, **_common(settings)),
        texts=_texts(settings, bundle, encoder, current, batcher, classifier),
        inventory=Inventory(current, articles),
        snapshot=current,
        pager=Pager(key, time.time, ttl_s=settings.page_ttl_s),
        publisher=_publisher(articles, batcher, bundle, telemetry),
        follower=follower,
        **_readers(settings, telemetry, store, threads, readers_key, bundle, follower, current),
        explorer=Explorer(key, np.random.default_rng()),
        telemetry=telemetry,
        clock=time.time,
        jobs=_started(
            encoder=batcher.run(),
            classifier=classifier.run(),
            filler=filler.run(),
            follower=follower.run(partial(keeper.load, catalogue.spare_rows) if keeper else None),
            words=words.run(),
            sweeper=sweep(articles, time.time, pause_s=SWEEP_S),
            **_saving(settings, keeper, follower, threads.background),
        ),
    )


def _texts(
    settings: Settings,
    bundle: Bundle,
    encoder: BundleEncoder,
    current: Callable[[], Snapshot],
    batcher: Batcher,
    classifier: Batcher,
) -> Texts:
    counts, most = encoder.token_counts, settings.max_texts
    return Texts(current, batcher, classifier, counts, bundle.topics, max_texts=most)


def _catalogue(
    settings: Settings,
    bundle: Bundle,
    encoder: BundleEncoder,
    lexicon: Lexicon,
    background: Executor,
) -> Catalogue:
    is_indexed = settings.retrieval == "auto"
    return Catalogue(
        _unactivated(bundle),
        bundle.manifest.dim,
        history_ttl_s=settings.history_ttl_h * 3_600,
        logits=encoder.click_logits,
        terms=lexicon.terms,
        indexes=FaissIndexBuilder(settings.index_rows) if is_indexed else None,
        start=lambda build: background.submit(build).add_done_callback(_tell_index),
    )


def _publisher(
    articles: AsyncStore, batcher: Batcher, bundle: Bundle, telemetry: Telemetry
) -> Publisher:
    space, tell = bundle.namespace, telemetry.published
    return Publisher(articles, batcher, bundle.text, space, time.time, tell=tell)


def _batchers(
    settings: Settings, telemetry: Telemetry, encoder: BundleEncoder, thread: Executor
) -> tuple[Batcher, Batcher]:
    """Return the way to vectors and the one to topics; the metrics tell what waits for them."""
    vectors = Batcher(encoder.vectors, thread, workers=settings.threads)
    topics = Batcher(encoder.topic_logits, thread, workers=settings.threads)
    telemetry.encoder_waiting.set_function(lambda: vectors.waiting + topics.waiting)
    return vectors, topics


def _tell_gauges(telemetry: Telemetry, bundle: Bundle, catalogue: Catalogue) -> None:
    telemetry.model.labels(bundle.model, bundle.namespace).set(1)
    # Asked each time that the metrics are read: the index comes by itself.
    telemetry.index_rows.set_function(lambda: _indexed(catalogue.current))


def _indexed(snapshot: Snapshot) -> int:
    return snapshot.index.size if snapshot.index is not None else 0


def _unactivated(bundle: Bundle) -> Activation:
    return Activation(generation=0, model=bundle.model, namespace=bundle.namespace)


def _tell_index(built: "Future[None]") -> None:
    # Without an index every row is searched: slower, and no less right.
    if (error := built.exception()) is not None:
        log.error("index_failed", exc_info=error)


def _keeper(settings: Settings, bundle: Bundle, lexicon: Lexicon) -> Keeper | None:
    """Keep snapshots in a folder for this model and store; what is in memory is never kept."""
    place = place_of(settings.store)
    if not settings.snapshots or place is None:
        return None
    name = f"{bundle.model}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"
    activation, dim = _unactivated(bundle), bundle.manifest.dim
    return Keeper(Path(settings.snapshots) / name, activation, dim, lexicon)


def _key(store: Store, keeper: Keeper | None) -> SharedKey:
    read = partial(store.secret, "cursor")
    return SharedKey(read, keeper.key(), keeper.keep_key) if keeper else SharedKey(read)


def _saving(
    settings: Settings, keeper: Keeper | None, follower: Follower, thread: Executor
) -> dict[str, Coroutine[None, None, None]]:
    if keeper is None:
        return {}
    saver = Saver(keeper, follower.state, thread, interval_s=settings.snapshot_interval_s)
    return {"saver": saver.run()}


def _readers_key(settings: Settings, store: Store) -> SharedKey:
    text = settings.reader_key.get_secret_value()
    if not text:
        return SharedKey(partial(store.secret, "reader"))
    given = hashlib.sha256(text.encode()).digest()
    return SharedKey(lambda: given, known=given)


def _readers(
    settings: Settings,
    telemetry: Telemetry,
    store: Store,
    threads: _Threads,
    key: SharedKey,
    bundle: Bundle,
    follower: Follower,
    current: Callable[[], Snapshot],
) -> dict[str, Any]:
    """Return what takes readers' events, and what reads their histories."""
    pseudonyms, ttl_s = Pseudonyms(key), settings.reader_ttl_h * 3_600

    def records(threads: Executor) -> Records:
        return Records(AsyncStore(store, threads), pseudonyms, time.time, telemetry, ttl_s=ttl_s)

    return {
        "feedback": Feedback(
            AsyncStore(store, threads.feedback),
            pseudonyms,
            _decay(settings),
            time.time,
            telemetry,
            lambda ids: current().look_up(ids) != ABSENT,
            ttl_s=ttl_s,
        ),
        "histories": Histories(
            records(threads.histories),
            lambda: bool(follower.outage),
            most=bundle.text.history,
            timeout_s=settings.history_timeout_s,
        ),
        # Erasing takes much longer than anybody who is recommended to would wait.
        "records": records(threads.store),
    }


def _decay(settings: Settings) -> Decay:
    return Decay(settings.popularity_half_life_h * 3_600)


def _at_load(store: Store, keys: Sequence[SharedKey], bundle: Bundle) -> Activation:
    # In the follower's thread, whenever it loads: no request waits for a key.
    for key in keys:
        key.load()
    return store.activate(model=bundle.model, namespace=bundle.namespace)


def _common(settings: Settings) -> dict[str, Any]:
    """Return what all lists are made with."""
    stories = Variety(same_story=settings.same_story, window_s=settings.same_story_h * 3_600)
    return {"clock": time.time, "retrieved": settings.retrieved, "stories": stories}


def _pace(settings: Settings) -> dict[str, Any]:
    """Return how the store is followed."""
    pace = Pace(settings.poll_interval_s, settings.popularity_interval_s)
    return {"clock": time.time, "popularity": PopularityReader(_decay(settings)), "pace": pace}


def _limits(settings: Settings, bundle: Bundle) -> Limits:
    return Limits(
        history=bundle.text.history,
        history_ttl_s=settings.history_ttl_h * 3_600,
        retrieved=settings.retrieved,
        same_story=settings.same_story,
        same_story_s=settings.same_story_h * 3_600,
    )


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
