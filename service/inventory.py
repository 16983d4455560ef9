"""The use case of whoever keeps a copy: all articles in the order of their ids, page by page."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from heapq import nsmallest

from service.paging import Position
from service.ports import StoredArticle
from service.snapshot import Snapshot
from service.storage import AsyncStore


@dataclass(frozen=True, slots=True)
class Listing:
    """Articles as the store holds them, by id; `last` is where the next page starts, if any."""

    articles: list[StoredArticle]
    last: str | None


class Inventory:
    """Takes the ids from the snapshot and the articles from the store."""

    def __init__(self, snapshot: Callable[[], Snapshot], store: AsyncStore) -> None:
        self._snapshot = snapshot
        self._store = store

    async def page(self, limit: int, position: Position | None) -> Listing:
        """Return the articles behind a position, whatever their state; raise StoreError.

        What is published before the position meanwhile is not on a later page.
        """
        after = position.ids[0] if position is not None else ""
        snapshot = self._snapshot()
        # In a thread: it goes through the ids of the whole catalogue.
        ids = await self._store.run(partial(_ids_after, snapshot, after, limit + 1))
        found = await self._store.fetch(ids[:limit], namespace=snapshot.activation.namespace)
        there = [found[i] for i in ids[:limit] if i in found and found[i].article is not None]
        return Listing(there, ids[limit - 1] if len(ids) > limit else None)


def _ids_after(snapshot: Snapshot, after: str, limit: int) -> list[str]:
    ids = snapshot.columns.ids[: snapshot.count][snapshot.is_current].tolist()
    return nsmallest(limit, (i for i in ids if i > after))
