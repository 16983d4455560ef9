"""Follow the store: load the catalogue, then tail the change log, through any outage."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import structlog

from service.catalogue import Catalogue
from service.errors import StoreError
from service.filler import Filler
from service.ports import Activation, Clock, Position, StoredArticle
from service.storage import AsyncStore
from service.telemetry import Telemetry

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0

log = structlog.get_logger()


class Follower:
    """Keeps a catalogue equal to the store.

    `is_ready` is True once the catalogue was loaded; `is_behind` while the store does not answer,
    and `outage` names the error.
    """

    def __init__(
        self,
        store: AsyncStore,
        catalogue: Catalogue,
        filler: Filler,
        *,
        activate: Callable[[], Activation],
        clock: Clock,
        telemetry: Telemetry,
        poll_interval_s: float,
        popularity_interval_s: float,
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._filler = filler
        self._activate = activate
        self._clock = clock
        self._telemetry = telemetry
        self._poll_interval_s = poll_interval_s
        self._popularity_interval_s = popularity_interval_s
        self._position: Position | None = None
        self._revision = 0
        self._popularity_due = 0.0
        self._nudged = asyncio.Event()
        self.is_ready = False
        self.is_behind = True
        self.outage = ""

    def nudge(self) -> None:
        """Look at the change log now instead of after the pause (this process just wrote)."""
        self._nudged.set()

    async def run(self) -> None:
        """Follow until cancelled; an outage of the store only makes the catalogue old."""
        try:
            await self._follow()
        finally:
            # Whatever ended it: nothing is followed any more, and answers say so.
            self.is_behind = True

    async def _follow(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            try:
                await self._step()
                pause = FIRST_PAUSE_S
            except StoreError as error:
                self._note_outage(error)
                # Full jitter: many processes must not return to the store at one moment.
                await asyncio.sleep(random.uniform(0, pause))  # noqa: S311
                pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _step(self) -> None:
        if self._position is None:
            self._position = await self._load()
        changes = await self._store.changes(self._position)
        self._note_answer()
        if not changes.is_complete:
            log.warning("change_log_gap")
            self._position = None
            return
        if changes.ids:
            await self._apply(changes.ids)
        self._position = changes.position
        await self._read_popularity()
        if not changes.ids:
            await self._pause()

    async def _load(self) -> Position:
        """Scan the whole store; the position is taken first, so nothing in between is lost."""
        self._catalogue.set_activation(await self._store.run(self._activate))
        position = await self._store.run(self._store.blocking.position)
        lacking = await self._store.run(self._scan)
        self._revision, self._popularity_due = 0, 0.0
        await self._read_popularity()
        self._note_answer()
        self.is_ready = True
        self._note_size()
        self._filler.add(lacking)
        log.info("catalogue_loaded", articles=self._catalogue.current.size)
        return position

    def _scan(self) -> list[str]:
        lacking: list[str] = []
        namespace = self._catalogue.current.activation.namespace
        batches = self._store.blocking.scan(namespace=namespace)
        self._catalogue.load(_noting(batches, lacking), self._clock())
        return lacking

    async def _apply(self, ids: Sequence[str]) -> None:
        namespace = self._catalogue.current.activation.namespace
        stored = await self._store.fetch(list(dict.fromkeys(ids)), namespace=namespace)
        # In a thread: now and then it merges a whole catalogue, which must not hold up requests.
        await self._store.run(lambda: self._catalogue.apply(stored.values(), self._clock()))
        self._filler.add(s.id for s in stored.values() if s.article and s.vector is None)
        self._note_size()

    async def _read_popularity(self) -> None:
        if time.monotonic() < self._popularity_due:
            return
        table = await self._store.popularity(self._revision)
        if table is not None:
            # In a thread: it looks every article up.
            await self._store.run(partial(self._catalogue.set_popularity, table.weights))
            self._revision = table.revision
        self._popularity_due = time.monotonic() + self._popularity_interval_s

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._poll_interval_s):
                await self._nudged.wait()
        self._nudged.clear()

    def _note_answer(self) -> None:
        self.is_behind, self.outage = False, ""
        self._telemetry.store_up.set(1)

    def _note_outage(self, error: StoreError) -> None:
        kind = type(error).__name__
        if self.outage != kind:
            log.warning("store_lost", error=kind)
        self.is_behind, self.outage = True, kind
        self._telemetry.store_up.set(0)

    def _note_size(self) -> None:
        snapshot = self._catalogue.current
        self._telemetry.articles.set(snapshot.size)
        self._telemetry.generation.set(snapshot.activation.generation)


def _noting(
    batches: Iterable[list[StoredArticle]], lacking: list[str]
) -> Iterator[list[StoredArticle]]:
    for batch in batches:
        lacking.extend(stored.id for stored in batch if stored.vector is None)
        yield batch
