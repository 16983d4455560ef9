"""Open stores for tests and build what they are given."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.text import fingerprint
from service.adapters.frames import Reason
from service.adapters.redis_servers import connector
from service.adapters.redis_store import RedisStore
from service.adapters.stores import open_store
from service.errors import StoreUnavailable
from service.ports import Publication, Store, StoredArticle
from tests.builders import an_article

DIM = 8
SPACE = "space-1"
NOW = 1_700_000_000.0


class Shelf:
    """Opens any number of stores on the same data, and closes them at the end."""

    def __init__(self, opener: Callable[..., Store]) -> None:
        self._opener = opener
        self._opened: list[Store] = []
        self.rejected: list[Reason] = []

    def open(self, **options: Any) -> Store:
        """Open one more store on the data of this test."""
        store = self._opener(on_rejected=self.rejected.append, **options)
        self._opened.append(store)
        return store

    def close(self) -> None:
        """Close all that was opened."""
        for store in self._opened:
            store.close()


def redis_store(
    url: str, *, timeout_s: float = 5.0, connections: int = 32, **options: Any
) -> RedisStore:
    """Open a Redis store; the timeout suits a busy test machine."""
    connect = connector(url, timeout_s=timeout_s, connections=connections)
    return RedisStore(quick=connect, patient=connect, **options)


def durable_store(url: str) -> Store:
    """Open the store of a URL, in Redis with the patience of tests."""
    return redis_store(url) if url.startswith("redis") else open_store(url)


def a_vector(text: str, dim: int = DIM) -> NDArray[np.float32]:
    """Make the vector (D,) that stands for a text, of unit length."""
    seed = int(fingerprint(text)[:8], 16)
    vector = np.random.default_rng(seed).standard_normal(dim).astype(np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def a_publication(
    id: str = "N1",  # noqa: A002 (the field's own name)
    text: str = "Team wins the cup",
    *,
    has_vector: bool = True,
    **fields: Any,
) -> Publication:
    """Build a publication whose vector is that of its text."""
    vector = a_vector(text) if has_vector else None
    return Publication(an_article(id, title=text, **fields), fingerprint(text), vector)


def put(store: Store, *publications: Publication, namespace: str = SPACE) -> list[int]:
    """Publish now, in the usual namespace."""
    return store.publish(publications, namespace=namespace, now=NOW)


def get(store: Store, article_id: str = "N1", namespace: str = SPACE) -> StoredArticle:
    """Read one article that is there."""
    return store.fetch([article_id], namespace=namespace)[article_id]


def scanned(store: Store, namespace: str = SPACE) -> dict[str, StoredArticle]:
    """Read all articles by a scan; no id may come twice."""
    found = [stored for batch in store.scan(namespace=namespace) for stored in batch]
    assert len({stored.id for stored in found}) == len(found)
    return {stored.id: stored for stored in found}


def quickly_refused(act: Callable[[], object], within_s: float) -> StoreUnavailable:
    """Return the outage that a call ends in, which it does in time."""
    begin = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        act()
    assert time.monotonic() - begin < within_s
    return caught.value


def works(act: Callable[[], object]) -> bool:
    """Say whether a call ends without an outage."""
    try:
        act()
    except StoreUnavailable:
        return False
    return True
