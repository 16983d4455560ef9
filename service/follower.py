"""Follow the store: load the catalogue, then tail the change log, through any outage.

A saved catalogue is gone on from: it is shown once the store was asked what has changed since, or
after the store has not answered for some seconds, and then as what it is, stale.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from service.catalogue import Catalogue
from service.errors import StoreError
from service.filler import Filler
from service.popularity import PopularityReader
from service.ports import Activation, Clock, Position
from service.saved import Saved
from service.storage import AsyncStore
from service.telemetry import Telemetry

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
# For so long a store must fail before what was saved is shown without asking it.
OUTAGE_S = 3.0
# Before a store is asked again for what it refused and what is not worth stopping for.
RETRY_PAUSE_S = 5.0
# A look at the log that finds no more changes than these has caught up with it.
FEW = 256

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Pace:
    """Pauses between two looks at the log and at popularity, and how long an outage is none yet."""

    poll_interval_s: float
    popularity_interval_s: float
    outage_s: float = OUTAGE_S


class Follower:
    """Keeps a catalogue equal to the store.

    `is_ready` is True once there is a catalogue to show; `is_behind` while the store does not
    answer or its changes are not taken over yet, and `outage` names the error.
    """

    def __init__(
        self,
        store: AsyncStore,
        catalogue: Catalogue,
        filler: Filler,
        activate: Callable[[], Activation],
        telemetry: Telemetry,
        *,
        clock: Clock,
        popularity: PopularityReader,
        pace: Pace,
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._filler = filler
        self._activate = activate
        self._clock = clock
        self._telemetry = telemetry
        self._popularity = popularity
        self._pace = pace
        self._position: Position | None = None
        self._is_activated, self._is_restored = False, False
        self._activation_due = 0.0
        # While the catalogue has changes of beyond the position.
        self._is_ahead = False
        self._failing_since: float | None = None
        self._popularity_due = 0.0
        self._nudged = asyncio.Event()
        self.is_ready = False
        self.is_behind = True
        self.outage = ""

    def nudge(self) -> None:
        """Look at the change log now instead of after the pause (this process just wrote)."""
        self._nudged.set()

    async def run(self, load_saved: Callable[[], Saved | None] | None = None) -> None:
        """Follow until cancelled; an outage of the store only makes the catalogue old.

        `load_saved` gives a catalogue to go on from, if there is one; it blocks. Only a store that
        fails for the `outage_s` of its pace is not asked before that is shown.
        """
        try:
            if load_saved is not None:
                await self._restore(load_saved)
            await self._follow()
        finally:
            # Whatever ended it: nothing is followed any more, and answers say so.
            self.is_behind = True

    def state(self) -> Saved | None:
        """Return what another process could go on from, None while this one is behind.

        Nothing in it is later than its position: a store restored to just there would never tell
        that it was undone.
        """
        position, revision = self._position, self._popularity.revision
        if position is None or self.is_behind:
            return None
        saved = self._catalogue.saved(position, revision)
        # The follower may have gone on meanwhile, in another thread.
        return None if self._is_ahead or position != self._position else saved

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
            if not self._is_activated:
                await self._note_activation()
            self._position = await self._load()
        changes = await self._store.changes(self._position)
        self._note_answer()
        if not changes.is_complete:
            log.warning("change_log_gap")
            self._position, self._is_activated, self.is_behind = None, False, True
            # What was saved is known to be wrong: it is not shown for want of something better.
            self._is_restored = False
            return
        if changes.ids:
            self._is_ahead = True
            await self._apply(changes.ids)
        self._position, self._failing_since = changes.position, None
        self._is_ahead = False
        await self._read_popularity()
        await self._activate_restored()
        if len(changes.ids) <= FEW:
            self._note_caught_up()
        if not changes.ids:
            await self._pause()

    async def _note_activation(self) -> None:
        self._catalogue.set_activation(await self._store.run(self._activate))
        self._is_activated = True

    async def _activate_restored(self) -> None:
        """Note the activation of a catalogue that has one; a store that refuses stops nothing."""
        if self._is_activated or time.monotonic() < self._activation_due:
            return
        try:
            await self._note_activation()
        except StoreError as error:
            log.warning("activation_not_noted", error=type(error).__name__)
            self._activation_due = time.monotonic() + RETRY_PAUSE_S

    async def _restore(self, load_saved: Callable[[], Saved | None]) -> None:
        try:
            saved = await self._store.run(load_saved)
            if saved is None:
                return
            await self._store.run(partial(self._catalogue.restore, saved))
        except Exception as error:  # noqa: BLE001 - whatever it is, the store can be scanned
            log.warning("restore_failed", error=type(error).__name__)
            return
        self._position, self._is_restored = saved.position, True
        self._filler.add(self._catalogue.lacking())
        self._note_size()
        log.info("catalogue_restored", articles=self._catalogue.current.size)

    async def _load(self) -> Position:
        """Scan the whole store; the position is taken first, so nothing in between is lost."""
        position = await self._store.run(self._store.blocking.position)
        await self._store.run(self._scan)
        self._popularity.forget()
        self._popularity_due = 0.0
        await self._read_popularity()
        self._note_answer()
        self._note_caught_up()
        self._note_size()
        self._filler.add(self._catalogue.lacking())
        log.info("catalogue_loaded", articles=self._catalogue.current.size)
        return position

    def _scan(self) -> None:
        namespace = self._catalogue.current.activation.namespace
        self._catalogue.load(self._store.blocking.scan(namespace=namespace), self._clock())

    async def _apply(self, ids: Sequence[str]) -> None:
        namespace = self._catalogue.current.activation.namespace
        stored = await self._store.fetch(list(dict.fromkeys(ids)), namespace=namespace)
        # In a thread: now and then it merges a whole catalogue, which must not hold up requests.
        await self._store.run(lambda: self._catalogue.apply(stored.values(), self._clock()))
        self._filler.add(s.id for s in stored.values() if s.article and s.vector is None)
        self._note_size()

    async def _read_popularity(self) -> None:
        """Take over what was clicked meanwhile; a store that does not tell stops nothing."""
        if time.monotonic() < self._popularity_due:
            return
        try:
            # In a thread: the first time it looks every article up.
            await self._store.run(self._take_popularity)
        except StoreError as error:
            log.warning("popularity_not_read", error=type(error).__name__)
            self._popularity_due = time.monotonic() + RETRY_PAUSE_S
            return
        self._popularity_due = time.monotonic() + self._pace.popularity_interval_s

    def _take_popularity(self) -> None:
        update = self._popularity.read(self._store.blocking, self._clock())
        if update is not None:
            self._catalogue.set_popularity(update)

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pace.poll_interval_s):
                await self._nudged.wait()
        self._nudged.clear()

    def _note_answer(self) -> None:
        self.outage = ""
        self._telemetry.store_up.set(1)

    def _note_caught_up(self) -> None:
        self.is_behind, self.is_ready = False, True
        self._telemetry.confirmed_at.set(self._clock())

    def _note_outage(self, error: StoreError) -> None:
        kind = type(error).__name__
        if self.outage != kind:
            log.warning("store_lost", error=kind)
        self.is_behind, self.outage = True, kind
        now = time.monotonic()
        self._failing_since = now if self._failing_since is None else self._failing_since
        is_lost = now - self._failing_since >= self._pace.outage_s
        self.is_ready = self.is_ready or (self._is_restored and is_lost)
        self._telemetry.store_up.set(0)

    def _note_size(self) -> None:
        snapshot = self._catalogue.current
        self._telemetry.articles.set(snapshot.size)
        self._telemetry.changed_at.set(self._clock())
        self._telemetry.generation.set(snapshot.activation.generation)
