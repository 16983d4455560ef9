"""Batch refresh: bring articles into the store, each new text encoded once, and resume."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from contract.article import Article, Impression
from contract.text import TextSpec
from service.articles import in_chunks
from service.ports import Clock, Store, TextEncoder
from service.publish import plan

CHUNK = 512
# Vectors of texts met in this run, for articles that share a text across chunks.
REMEMBERED = 50_000


@dataclass(frozen=True, slots=True)
class Progress:
    """What one chunk came to: articles looked at, written, and texts encoded."""

    articles: int
    written: int
    encoded: int


class Refresher:
    """Idempotent: what is stored already costs one look, so a killed run just starts again."""

    def __init__(
        self, store: Store, encoder: TextEncoder, spec: TextSpec, namespace: str, clock: Clock
    ) -> None:
        self._store = store
        self._encoder = encoder
        self._spec = spec
        self._namespace = namespace
        self._clock = clock
        self._remembered: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    def refresh(self, articles: Sequence[Article]) -> Iterator[Progress]:
        """Publish the articles chunk by chunk; each chunk is durable when its progress comes."""
        for chunk in in_chunks(articles, CHUNK):
            yield self._refresh(chunk)

    def _refresh(self, chunk: Sequence[Article]) -> Progress:
        stored = self._store.fetch([a.id for a in chunk], namespace=self._namespace)
        planned = plan(chunk, stored, self._spec)
        unknown = {m: t for m, t in planned.unknown.items() if m not in self._remembered}
        self._encode(unknown)
        publications = planned.publications(self._remembered)
        if publications:
            self._store.publish(publications, namespace=self._namespace, now=self._clock())
        self._forget()
        return Progress(len(chunk), len(publications), len(unknown))

    def _encode(self, texts: Mapping[str, str]) -> None:
        if texts:
            vectors = self._encoder.vectors(list(texts.values()))
            self._remembered.update(zip(texts, vectors, strict=True))

    def _forget(self) -> None:
        while len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)


def popularity(impressions: Iterator[Impression]) -> dict[str, float]:
    """Count clicks per article and return their logarithms (a log-weight without decay)."""
    counts: dict[str, int] = {}
    for impression in impressions:
        for article_id, clicked in zip(impression.candidates, impression.clicks, strict=True):
            if clicked:
                counts[article_id] = counts.get(article_id, 0) + 1
    return {article_id: log(count) for article_id, count in counts.items()}
