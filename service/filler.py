"""Encode, in the background, articles that the store holds without a vector of this namespace."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

import structlog

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
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._batcher = batcher
        self._spec = spec
        self._clock = clock
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
            ids = list(self._lacking)[:BATCH]
            try:
                await self._fill(ids)
            except (ServiceError, ValueError) as error:
                log.warning("fill_failed", error=type(error).__name__)
                await asyncio.sleep(RETRY_PAUSE_S)
                continue
            for article_id in ids:
                self._lacking.pop(article_id, None)
            if not self._lacking:
                self._arrived.clear()

    async def _fill(self, ids: Sequence[str]) -> None:
        namespace = self._catalogue.current.activation.namespace
        stored = await self._store.fetch(ids, namespace=namespace)
        lacking = [s for s in stored.values() if s.article is not None and s.vector is None]
        if lacking:
            filled = await self._encoded(lacking)
            vectors = {s.id: (s.fingerprint, s.vector) for s in filled if s.vector is not None}
            await self._store.fill(vectors, namespace=namespace)
            self._catalogue.apply(filled, self._clock())

    async def _encoded(self, lacking: Sequence[StoredArticle]) -> list[StoredArticle]:
        texts = [self._spec.text(s.article) for s in lacking if s.article is not None]
        vectors = await self._batcher.vectors(texts, lane=Lane.BULK, timeout_s=TIMEOUT_S)
        return [
            replace(s, fingerprint=fingerprint(text), vector=vector)
            for s, text, vector in zip(lacking, texts, vectors, strict=True)
        ]
