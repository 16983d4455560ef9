"""Histories: what a stored reader has read and hidden, as requests need it, and all of it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from service.errors import NotReady, ReaderUnknown, StoreError
from service.ports import Clock
from service.pseudonyms import Pseudonyms
from service.readers import Record
from service.storage import AsyncStore
from service.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Reading:
    """Ids of articles: the history, oldest first; all that were read lately; those hidden."""

    history: Sequence[str] = ()
    seen: Sequence[str] = ()
    hidden: Sequence[str] = ()


class Records:
    """Shows and forgets what is kept of readers."""

    def __init__(
        self,
        store: AsyncStore,
        pseudonyms: Pseudonyms,
        clock: Clock,
        telemetry: Telemetry,
        *,
        ttl_s: float,
    ) -> None:
        self._store = store
        self._pseudonyms = pseudonyms
        self._clock = clock
        self._telemetry = telemetry
        self._ttl_s = ttl_s

    async def of(self, user_id: str) -> Record:
        """Return all that is kept of a reader; raise ReaderUnknown where that is nothing."""
        record = await self._read(user_id, self._kept)
        if record.is_empty:
            raise ReaderUnknown("nothing is kept of this reader")
        return record

    async def without_log(self, user_id: str) -> Record:
        """Return what was read and hidden, quickly: old events are not sorted out."""
        return await self._read(user_id, lambda raw: self._kept(raw).without_log())

    async def forget(self, user_id: str) -> bool:
        """Remove all that is kept of a reader; say whether there was anything."""
        pseudonym = self._pseudonyms.of(user_id)
        return await self._store.run(partial(self._store.blocking.forget, pseudonym))

    async def _read(self, user_id: str, parsed: Callable[[bytes | None], Record]) -> Record:
        pseudonym = self._pseudonyms.of(user_id)
        earliest = self._clock() - self._ttl_s
        read = self._store.blocking.reader
        return await self._store.run(lambda: parsed(read(pseudonym)).since(earliest))

    def _kept(self, raw: bytes | None) -> Record:
        return Record.kept(raw, self._telemetry.rejected)


class Histories:
    """Tells what requests need of readers, in a slice of their time.

    `is_lost` says whether the store is known not to answer: then nobody waits for it. `most` is
    how many articles a history has.
    """

    def __init__(
        self, records: Records, is_lost: Callable[[], bool], *, most: int, timeout_s: float
    ) -> None:
        self._records = records
        self._is_lost = is_lost
        self.most = most
        self._timeout_s = timeout_s

    async def of(self, user_id: str) -> Reading | None:
        """Return what a request needs of a reader, None where the store does not tell in time.

        Of somebody unknown there is nothing to know.
        """
        if self._is_lost():
            return None
        try:
            async with asyncio.timeout(self._timeout_s):
                record = await self._records.without_log(user_id)
        except (TimeoutError, StoreError, NotReady):
            return None
        return Reading(record.history(self.most), list(record.read), list(record.hidden))
