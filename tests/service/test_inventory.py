"""The whole catalogue, page by page, for whoever keeps a copy."""

from concurrent.futures import Executor
from typing import Any

import pytest

from service.catalogue import Catalogue
from service.errors import StoreUnavailable
from service.inventory import Inventory
from service.paging import Kind, Position
from service.storage import AsyncStore
from tests.service.fakes import (
    HOUR,
    NOW,
    SPACE,
    FlakyStore,
    a_catalogue_with,
    a_publication,
    a_stored,
)
from tests.service.recommending import at


@pytest.fixture
def catalogue(store: FlakyStore) -> Catalogue:
    """Give a catalogue of what the store holds: 25 articles, some of them not shown to readers."""
    fields: dict[int, dict[str, Any]] = {
        3: {"embargo_until": at(NOW + HOUR)},
        4: {"expires_at": at(NOW - HOUR)},
    }
    publications = [a_publication(f"N{i}", **fields.get(i, {})) for i in range(25)]
    store.publish(publications, namespace=SPACE, now=NOW)
    made = a_catalogue_with()
    made.load(store.scan(namespace=SPACE), NOW)
    return made


def an_inventory(catalogue: Catalogue, store: FlakyStore, executor: Executor) -> Inventory:
    """Build the use case on a store in memory."""
    return Inventory(lambda: catalogue.current, AsyncStore(store, executor))  # type: ignore[arg-type]


def behind(last: str | None) -> Position | None:
    """Return the position behind an article, None for the start."""
    return Position(Kind.CATALOGUE, b"", NOW, 0, (last,)) if last is not None else None


@pytest.mark.anyio
@pytest.mark.parametrize("limit", [1, 5, 24, 25, 500])
async def test_the_catalogue_is_read_once_through_in_the_order_of_ids(
    catalogue: Catalogue, store: FlakyStore, executor: Executor, limit: int
) -> None:
    """Every article in any state, changed ones once; the last page has no next."""
    catalogue.apply([a_stored("N5", version=2), a_stored("N11", version=2)], NOW)
    inventory, found, last = an_inventory(catalogue, store, executor), list[str](), None
    while found == [] or last is not None:
        page = await inventory.page(limit, behind(last))
        assert 0 < len(page.articles) <= limit
        found += [one.id for one in page.articles]
        last = page.last
    assert found == sorted(f"N{i}" for i in range(25))


@pytest.mark.anyio
async def test_a_changing_catalogue_repeats_nothing(
    catalogue: Catalogue, store: FlakyStore, executor: Executor
) -> None:
    """What is taken down is gone, also between ids and bodies; what came behind is seen."""
    inventory = an_inventory(catalogue, store, executor)
    first = await inventory.page(2, None)
    assert ([one.id for one in first.articles], first.last) == (["N0", "N1"], "N1")
    store.take_down("N11")
    store.take_down("N12")
    new = [a_publication("A"), a_publication("N101")]
    store.publish(new, namespace=SPACE, now=NOW)
    changed = store.fetch(["N11", "A", "N101"], namespace=SPACE).values()
    catalogue.apply(changed, NOW)
    second = await inventory.page(4, behind(first.last))
    # The snapshot has not heard yet of the second take-down; the store has.
    assert [one.id for one in second.articles] == ["N10", "N101", "N13"]
    assert second.last == "N13"


@pytest.mark.anyio
async def test_without_the_store_there_is_no_catalogue(
    catalogue: Catalogue, store: FlakyStore, executor: Executor
) -> None:
    """The bodies are there only, and half a page would look like take-downs."""
    store.is_down = True
    with pytest.raises(StoreUnavailable):
        await an_inventory(catalogue, store, executor).page(5, None)


@pytest.mark.anyio
async def test_an_empty_catalogue_is_one_empty_page(store: FlakyStore, executor: Executor) -> None:
    """Nothing, and no next."""
    page = await an_inventory(a_catalogue_with(), store, executor).page(5, None)
    assert (page.articles, page.last) == ([], None)
