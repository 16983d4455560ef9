"""Stand-ins with knobs for what the service's use cases need from outside."""

import asyncio
import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.article import Mask, Vectors
from contract.text import TextSpec, fingerprint
from service.adapters.memory_store import MemoryStore
from service.catalogue import Catalogue
from service.errors import StoreUnavailable
from service.ports import Activation, Publication, StoredArticle, VectorIndex
from tests.builders import an_article

DIM = 8
SPACE = "space-1"
MODEL = "model-1"
ACTIVATION = Activation(generation=1, model=MODEL, namespace=SPACE)
SPEC = TextSpec()
NOW = 1_800_000_000.0
HOUR = 3_600.0
PATIENCE_S = 10.0


@lru_cache(maxsize=10_000)
def a_vector(seed: str) -> NDArray[np.float32]:
    """Make a unit vector (D,), the same one for the same seed."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big")
    vector = np.random.default_rng(number).standard_normal(DIM)
    unit: NDArray[np.float32] = (vector / np.linalg.norm(vector)).astype(np.float32)
    unit.flags.writeable = False
    return unit


def a_stored(id: str = "N1", **fields: Any) -> StoredArticle:  # noqa: A002 (the field's own name)
    """Build a stored article; `vector=None` leaves it out, other fields are the article's."""
    version = fields.pop("version", 1)
    first_seen = fields.pop("first_seen", NOW - HOUR)
    vector = fields.pop("vector", a_vector(f"{id} {version}"))
    article = an_article(id, **fields)
    return StoredArticle(id, version, article, fingerprint(SPEC.text(article)), first_seen, vector)


def a_take_down(id: str = "N1", version: int = 2) -> StoredArticle:  # noqa: A002
    """Build what the store says of an article taken down."""
    return StoredArticle(id, version, None, "", NOW - HOUR, None)


def a_publication(id: str = "N1", **fields: Any) -> Publication:  # noqa: A002
    """Build what a publisher writes: an article with the vector that the fake encoder gives."""
    stored = a_stored(id, **{"vector": None, **fields})
    assert stored.article is not None
    return Publication(stored.article, stored.fingerprint, a_vector(SPEC.text(stored.article)))


def a_catalogue_with(*stored: StoredArticle, **options: Any) -> Catalogue:
    """Build a catalogue that a scan has given these articles."""
    options = {"history_ttl_s": 24 * HOUR, **options}
    catalogue = Catalogue(ACTIVATION, DIM, **options)
    catalogue.load([list(stored)], now=0.0)
    return catalogue


class FakeClock:
    """Wall time that moves only when told to."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time it was set to."""
        return self.now


class FakeEncoder:
    """Gives every text its own vector, and remembers what it was asked.

    Texts in `refused` raise, texts in `broken` come out as NaN; while `gate` is cleared the
    encoder does not return. The user vector is the mean of the history.
    """

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.refused: set[str] = set()
        self.broken: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()

    @property
    def texts(self) -> list[str]:
        """Return every text encoded so far, in order."""
        return [text for call in self.calls for text in call]

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Encode texts: (N,) -> (N, D)."""
        self.calls.append(list(texts))
        assert self.gate.wait(10), "a test forgot to open the gate"
        if self.refused.intersection(texts):
            raise ValueError("refused")
        rows = [a_vector(t) * (np.nan if t in self.broken else 1) for t in texts]
        return np.array(rows, dtype=np.float32).reshape(-1, DIM)

    def users(self, history: Vectors, mask: Mask) -> Vectors:
        """Average histories: (B, H, D) -> (B, D)."""
        weights = mask[..., None].astype(np.float32)
        return (history * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1)


class NumpySearch:
    """Exact search as NumPy would write it."""

    def top(
        self, query: NDArray[np.float32], rows: Vectors, eligible: Mask, k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return eligible row numbers and inner products, best first."""
        numbers = np.flatnonzero(eligible)
        products = rows[numbers] @ query
        best = np.argsort(-products, kind="stable")[:k]
        return numbers[best], products[best]


class NumpyIndex:
    """An index that is exact; it remembers how many survivors it was told of."""

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors.copy()
        self.told: list[int] = []

    @property
    def size(self) -> int:
        """Return the number of rows that it covers."""
        return len(self.vectors)

    def top(
        self, query: NDArray[np.float32], eligible: Mask, k: int, *, survivors: int
    ) -> NDArray[np.int64]:
        """Return eligible row numbers, best first."""
        self.told.append(survivors)
        return NumpySearch().top(query, self.vectors, eligible, k)[0]


class NumpyIndexes:
    """Builds such indexes from `fewest` rows on; remembers what was lent to each.

    `meanwhile` is called once, in the middle of the next build.
    """

    def __init__(self, fewest: int = 1) -> None:
        self.fewest = fewest
        self.lent: list[VectorIndex | None] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def build(self, vectors: Vectors, like: VectorIndex | None) -> NumpyIndex | None:
        """Index the rows (N, D)."""
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        if len(vectors) < self.fewest:
            return None
        self.lent.append(like)
        return NumpyIndex(vectors)


class FlakyStore:
    """A memory store that does not answer while `is_down`, and counts calls by name."""

    def __init__(self, **options: Any) -> None:
        self.inner = MemoryStore(**options)
        self.is_down = False
        self.calls: list[str] = []
        # Called once, just before the next use of the method of that name.
        self.before: dict[str, Callable[[], object]] = {}

    def refuse(self, name: str) -> None:
        """Fail in each use of one method, until `before` is cleared."""

        def fail() -> None:
            self.before[name] = fail
            raise StoreUnavailable("busy")

        self.before[name] = fail

    def __getattr__(self, name: str) -> Any:
        """Hand a method of the store out, with the outage around it."""
        getattr(self.inner, name)

        def call(*arguments: Any, **options: Any) -> Any:
            self.calls.append(name)
            self.before.pop(name, lambda: None)()
            if self.is_down:
                raise StoreUnavailable("the store does not answer")
            # Another store may have taken its place since.
            return getattr(self.inner, name)(*arguments, **options)

        return call

    def scan(self, *, namespace: str) -> Iterator[list[StoredArticle]]:
        """Scan, and fail in the middle when the outage begins there."""
        for batch in self.inner.scan(namespace=namespace):
            self.calls.append("scan")
            self.before.pop("scan", lambda: None)()
            if self.is_down:
                raise StoreUnavailable("the store does not answer")
            yield batch


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so, and fail when it does not come to be."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - what a test waits for has no event
            await asyncio.sleep(0.001)
