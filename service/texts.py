"""Texts that are no articles: their vectors and their topics."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.article import Vectors
from contract.text import canonical
from contract.topics import full_name, normalised, taxonomies, taxonomy_of
from service.batching import Batcher, Lane
from service.errors import Unanswerable
from service.ports import Activation
from service.snapshot import Snapshot

# A handful of texts may be somebody waiting; more are a job.
INTERACTIVE_TEXTS = 8


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors (N, D) of N texts, and how many tokens were encoded for them."""

    vectors: Vectors
    tokens: int


@dataclass(frozen=True, slots=True)
class TopicShare:
    """A topic and its probability among those of its taxonomy."""

    topic: str
    probability: float


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """Topics that exclude each other, and their columns among the model's logits."""

    name: str
    topics: tuple[str, ...]
    columns: NDArray[np.intp]

    def shares(self, logits: Vectors, n: int) -> list[TopicShare]:
        """Return the n likeliest topics, likeliest first, for all logits of a text: (L,)."""
        own = logits[self.columns].astype(np.float64)
        weights = np.exp(own - own.max())
        shares = (weights / weights.sum()).tolist()
        best = sorted(zip(self.topics, shares, strict=True), key=lambda one: (-one[1], one[0]))
        return [TopicShare(*one) for one in best[:n]]


class Texts:
    """Encodes and classifies texts, all in the canonical form in which articles are encoded.

    `vectors` and `logits` are the batchers of one encoder, `token_counts` asks it how many tokens
    it encodes; `topics` names its logits.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        vectors: Batcher,
        logits: Batcher,
        token_counts: Callable[[Sequence[str]], list[int]],
        topics: Sequence[str],
        *,
        max_texts: int,
    ) -> None:
        self._snapshot = snapshot
        self._vectors = vectors
        self._logits = logits
        self._token_counts = token_counts
        self._taxonomies = taxonomies_of(topics)
        self._max_texts = max_texts

    @property
    def serving(self) -> Activation:
        """Return what is active."""
        return self._snapshot().activation

    @property
    def dim(self) -> int:
        """Return the length of a vector."""
        return int(self._snapshot().vectors.shape[1])

    @property
    def topic_names(self) -> list[str]:
        """Return the full names of all topics, "taxonomy/topic"."""
        return [full_name(one.name, topic) for one in self._taxonomies for topic in one.topics]

    async def embed(self, texts: Sequence[str], *, timeout_s: float) -> Embedded:
        """Encode texts as titles are.

        Raise Unanswerable for too many of them, DeadlineExceeded, Overloaded or NotReady.
        """
        if len(texts) > self._max_texts:
            raise Unanswerable(f"a request here has at most {self._max_texts} texts")
        clean = [canonical(text) for text in texts]
        vectors = await self._vectors.vectors(clean, lane=_lane(clean), timeout_s=timeout_s)
        # In another thread than the encoder's: that one has other people's texts to encode.
        counts = await asyncio.to_thread(self._token_counts, clean)
        return Embedded(np.stack(vectors), sum(counts))

    async def topics(
        self, texts: Sequence[str], *, taxonomy: str | None, n: int, timeout_s: float
    ) -> list[dict[str, list[TopicShare]]]:
        """Return each text's n likeliest topics by taxonomy, of one taxonomy where it is named.

        Raise Unanswerable for a taxonomy that the model does not know, and as `embed` does.
        """
        wanted = [one for one in self._taxonomies if taxonomy in (None, one.name)]
        if not wanted:
            known = ", ".join(one.name for one in self._taxonomies) or "none"
            raise Unanswerable(f"the model does not know this taxonomy; it knows {known}")
        clean = [canonical(text) for text in texts]
        logits = await self._logits.vectors(clean, lane=_lane(clean), timeout_s=timeout_s)
        return [{one.name: one.shares(row, n) for one in wanted} for row in logits]


def taxonomies_of(topics: Sequence[str]) -> list[Taxonomy]:
    """Group topic names, "taxonomy/topic", by what stands before the first slash."""
    names = normalised(topics)
    columns = {
        taxonomy: [column for column, name in enumerate(names) if taxonomy_of(name) == taxonomy]
        for taxonomy in taxonomies(names)
    }
    return [
        Taxonomy(taxonomy, tuple(names[c].partition("/")[2] for c in own), np.array(own))
        for taxonomy, own in columns.items()
    ]


def _lane(texts: Sequence[str]) -> Lane:
    return Lane.INTERACTIVE if len(texts) <= INTERACTIVE_TEXTS else Lane.BULK
