"""Encode, in the background, articles that the store holds without a vector of this namespace."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

import structlog

from contract.article import Article
from contract.text import TextSpec, fingerprint
from service.batching import Batcher, Lane
from service.catalogue import Catalogue
from service.errors import ServiceError
from service.ports import Clock, StoredArticle
from service.storage import AsyncStore

BATCH = 256
TIMEOUT_S = 60.0
RETRY_PAUSE_S = 1.0

log = structlog.get_logger()


class Filler:
    """Vectors go beside those of other namespaces, into the store and into this catalogue."""

    def __init__(
        self,
        store: AsyncStore,
        catalogue: Catalogue,
        batcher: Batcher,
        spec: TextSpec,
        clock: Clock,
        *,
        retry_pause_s: float = RETRY_PAUSE_S,
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._batcher = batcher
        self._spec = spec
        self._clock = clock
        self._retry_pause_s = retry_pause_s
        self._lacking: dict[str, None] = {}
        self._arrived = asyncio.Event()

    def add(self, ids: Iterable[str]) -> None:
        """Note articles that lack a vector."""
        self._lacking.update(dict.fromkeys(ids))
        if self._lacking:
            self._arrived.set()

    async def run(self) -> None:
        """Fill until cancelled; what fails is tried again."""
        while True:
            await self._arrived.wait()
            ids = self._next_ids()
            try:
                await self._fill(ids)
            except (ServiceError, ValueError) as error:
                log.warning("fill_failed", error=type(error).__name__)
                # To the back: what fails for good must not keep the others waiting.
                self.add(ids)
                await asyncio.sleep(self._retry_pause_s)

    def _next_ids(self) -> list[str]:
        # Taken out before the work: an article that changes meanwhile is noted anew.
        ids = list(self._lacking)[:BATCH]
        for article_id in ids:
            del self._lacking[article_id]
        if not self._lacking:
            self._arrived.clear()
        return ids

    async def _fill(self, ids: Sequence[str]) -> None:
        namespace = self._catalogue.current.activation.namespace
        stored = await self._store.fetch(ids, namespace=namespace)
        lacking = [s for s in stored.values() if s.article is not None and s.vector is None]
        if not lacking:
            return
        results = await self._encoded(lacking)
        filled = [r for r in results if isinstance(r, StoredArticle)]
        vectors = {s.id: (s.fingerprint, s.vector) for s in filled if s.vector is not None}
        await self._store.fill(vectors, namespace=namespace)
        # In a thread: it may merge a whole catalogue, which must not hold up requests.
        await self._store.run(lambda: self._catalogue.fill(filled, self._clock()))
        if len(filled) < len(lacking):
            raise ValueError("not every text could be encoded")

    async def _encoded(
        self, lacking: Sequence[StoredArticle]
    ) -> list[StoredArticle | BaseException]:
        # One call a text, so that one that fails fails alone; the batcher puts them together.
        calls = (self._with_vector(s, s.article) for s in lacking if s.article is not None)
        return await asyncio.gather(*calls, return_exceptions=True)

    async def _with_vector(self, stored: StoredArticle, article: Article) -> StoredArticle:
        text = self._spec.text(article)
        (vector,) = await self._batcher.vectors([text], lane=Lane.BULK, timeout_s=TIMEOUT_S)
        return replace(stored, fingerprint=fingerprint(text), vector=vector)
