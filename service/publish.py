"""Publish and take down: acknowledged once stored, encoded only when the text is new."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from contract.article import Article
from contract.text import TextSpec, fingerprint
from service.batching import Batcher, Lane
from service.errors import ArticleUnknown
from service.ports import Clock, Publication, StoredArticle
from service.storage import AsyncStore

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a publish of some articles comes to.

    `unchanged` are stored as they are already; `known` only want a write, as their text's vector
    is stored; `unknown` texts must be encoded first: fingerprint -> text.
    """

    unchanged: list[StoredArticle]
    writes: list[Publication]
    unknown: dict[str, str]

    @property
    def known(self) -> int:
        """Return how many of the articles have their vectors stored already."""
        return len(self.unchanged) + sum(p.vector is not None for p in self.writes)

    def publications(self, encoded: Mapping[str, Vector]) -> list[Publication]:
        """Return the writes, complete with the vectors of the texts that were encoded."""
        return [
            p if p.vector is not None else replace(p, vector=encoded[p.fingerprint])
            for p in self.writes
        ]


def plan(articles: Sequence[Article], stored: dict[str, StoredArticle], spec: TextSpec) -> Plan:
    """Compare articles with what is stored; of articles with one id, the last one counts."""
    result = Plan([], [], {})
    for article in {article.id: article for article in articles}.values():
        text = spec.text(article)
        mark, old = fingerprint(text), stored.get(article.id)
        vector = old.vector if old is not None and old.fingerprint == mark else None
        if old is not None and old.article == article and vector is not None:
            result.unchanged.append(old)
            continue
        result.writes.append(Publication(article, mark, vector))
        if vector is None:
            result.unknown[mark] = text
    return result


@dataclass(frozen=True, slots=True)
class Published:
    """An article's version after a write, and whether the write changed anything."""

    id: str
    version: int
    is_changed: bool


class Publisher:
    """Writes articles with their vectors to the store.

    `tell` is told of each publish how many vectors were known, and how many texts were encoded.
    """

    def __init__(
        self,
        store: AsyncStore,
        batcher: Batcher,
        spec: TextSpec,
        namespace: str,
        clock: Clock,
        *,
        tell: Callable[[int, int], object] = lambda *_: None,
    ) -> None:
        self._store = store
        self._batcher = batcher
        self._spec = spec
        self._namespace = namespace
        self._clock = clock
        self._tell = tell

    async def publish(
        self, articles: Sequence[Article], *, lane: Lane, timeout_s: float
    ) -> list[Published]:
        """Write the articles that differ from what is stored; return every one's version."""
        ids = [article.id for article in articles]
        stored = await self._store.fetch(ids, namespace=self._namespace)
        planned = plan(articles, stored, self._spec)
        encoded = await self._encode(planned.unknown, lane, timeout_s)
        self._tell(planned.known, len(encoded))
        publications = planned.publications(encoded)
        versions = await self._store.publish(
            publications, namespace=self._namespace, now=self._clock()
        )
        written = [
            Published(p.article.id, version, is_changed=True)
            for p, version in zip(publications, versions, strict=True)
        ]
        return written + [Published(s.id, s.version, is_changed=False) for s in planned.unchanged]

    async def take_down(self, article_id: str) -> int:
        """Remove an article and its vectors; return the version of the take-down."""
        version = await self._store.take_down(article_id)
        if version is None:
            raise ArticleUnknown("no such article")
        return version

    async def article(self, article_id: str) -> StoredArticle:
        """Read one article from the store."""
        stored = await self._store.fetch([article_id], namespace=self._namespace)
        found = stored.get(article_id)
        if found is None or found.article is None:
            raise ArticleUnknown("no such article")
        return found

    async def _encode(
        self, texts: dict[str, str], lane: Lane, timeout_s: float
    ) -> dict[str, Vector]:
        if not texts:
            return {}
        vectors = await self._batcher.vectors(list(texts.values()), lane=lane, timeout_s=timeout_s)
        return dict(zip(texts, vectors, strict=True))
