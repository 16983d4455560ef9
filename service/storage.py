"""The blocking store as the event loop sees it: each call in a bounded executor of its own."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from service.ports import Changes, Position, Publication, Store, StoredArticle

T = TypeVar("T")


class AsyncStore:
    """Awaitable versions of the store's methods; semantics are those of service.ports."""

    def __init__(self, store: Store, executor: Executor) -> None:
        self.blocking = store
        self._executor = executor

    async def run(self, call: Callable[[], T]) -> T:
        """Run a blocking call in the store's executor."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    async def publish(
        self, publications: Sequence[Publication], *, namespace: str, now: float
    ) -> list[int]:
        """Write articles with their vectors; return their versions."""
        if not publications:
            return []
        call = partial(self.blocking.publish, publications, namespace=namespace, now=now)
        return await self.run(call)

    async def take_down(self, article_id: str) -> int | None:
        """Remove an article; return the version, None if it is unknown."""
        return await self.run(partial(self.blocking.take_down, article_id))

    async def fetch(self, ids: Sequence[str], *, namespace: str) -> dict[str, StoredArticle]:
        """Read articles by id."""
        return await self.run(partial(self.blocking.fetch, ids, namespace=namespace))

    async def fill(
        self, vectors: Mapping[str, tuple[str, NDArray[np.float32]]], *, namespace: str
    ) -> None:
        """Add vectors to articles already stored."""
        await self.run(partial(self.blocking.fill, vectors, namespace=namespace))

    async def changes(self, since: Position) -> Changes:
        """Return what was written since a position."""
        return await self.run(partial(self.blocking.changes, since))
