"""Where processes that share one Redis server count clicks: each in a home, seldom in another's."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from service.adapters import redis_layout as layout
from service.adapters.redis_readers import GROUP
from service.ports import Amendment, Store
from tests.amending import SPAN, SPANS, a_pseudonym, amend, count, counted, keep, one_more, records
from tests.redis_server import RedisServer
from tests.stores import Shelf

A, B = a_pseudonym("A"), a_pseudonym("B")
MANY = [a_pseudonym(number) for number in range(GROUP + 1)]
ROUNDS = 50


@pytest.fixture
def parted(redis_shelf: Shelf) -> tuple[Store, Store]:
    """Open two stores that have met, and count in different homes since."""
    store, other = redis_shelf.open(), redis_shelf.open()
    assert _tries(store, lambda: count(other, {"N0": 1.0}, by="other")) == 2
    count(store, {"N0": 1.0}, by="one")
    return store, other


def test_a_group_is_one_write_whatever_the_shards_of_its_readers(redis_shelf: Shelf) -> None:
    """What a write costs on one server is the wait for its disk; yet it stays bounded."""
    store = redis_shelf.open()
    assert len({layout.shard_of(reader) for reader in MANY}) == layout.SHARDS
    assert [len(one.records) for one in amend(store, MANY, one_more)] == [GROUP, 1]


def test_who_counts_where_another_does_leaves(
    redis_server: RedisServer, parted: tuple[Store, Store]
) -> None:
    """One of the two, once; from then on they are in nobody's way."""
    store, other = parted
    assert _homes(redis_server) == [0, 1]
    assert _tries(store, lambda: count(other, {"N1": 1.0}, by="other")) == 1
    assert _tries(other, lambda: count(store, {"N1": 1.0}, by="one")) == 1
    assert _homes(redis_server) == [0, 1]


def test_after_the_last_home_comes_the_first(redis_shelf: Shelf, redis_server: RedisServer) -> None:
    """However many processes there are, each has somewhere to count."""
    store = redis_shelf.open()
    for home in range(layout.SHARDS):
        assert _tries(store, partial(redis_server.run, "SET", layout.write_key(home), 1)) == 2
    count(store, {"N2": 1.0}, by="one")
    assert redis_server.run("HGETALL", layout.clicks_key(0, SPAN.name))[b"N2"] == b"1"  # type: ignore[index]


def test_a_conflict_over_a_reader_moves_nobody(
    redis_shelf: Shelf, redis_server: RedisServer
) -> None:
    """Else all homes would be in use in time, and all be read by whoever looks at popularity."""
    store, other = redis_shelf.open(), redis_shelf.open()
    count(store, {"N1": 1.0}, by="one")
    assert _tries(store, lambda: keep(other, A, b"1")) == 2
    count(store, {"N1": 1.0}, by="one")
    assert _homes(redis_server) == [0]


def test_sums_are_those_of_all_homes(parted: tuple[Store, Store]) -> None:
    """Whoever counted, a mark of one is told of the others."""
    store, other = parted
    mark = other.clicks(SPANS, ()).mark
    count(store, {"N0": 1.0})
    since = other.clicks(SPANS, mark)
    assert (since.sums, since.is_whole) == ({SPAN: {"N0": 3.0}}, False)


@pytest.mark.parametrize("was", [0, 4])
def test_a_record_is_watched_whatever_the_homes(parted: tuple[Store, Store], was: int) -> None:
    """Two homes have two numbers: it is the record alone that tells of another's write."""
    store, other = parted
    store.forget(A)
    if was:
        keep(store, A, b"%d" % was)
    before = counted(store)[SPAN]["N1"]
    assert _tries(store, lambda: amend(other, [B, A], one_more)) == 2
    assert (store.reader(A), store.reader(B)) == (b"%d" % (was + 2), b"1")
    assert counted(store)[SPAN]["N1"] == before + 3
    assert _tries(store, lambda: other.forget(A)) == 2
    assert store.reader(A) == b"1"


def test_those_who_count_in_different_homes_lose_and_double_nothing(
    redis_server: RedisServer, parted: tuple[Store, Store]
) -> None:
    """Of the readers that both amend, and of those of each alone."""
    before, clicks = records(parted[0]), counted(parted[0])[SPAN]["N1"]

    def work(place: int) -> None:
        own = MANY[10 + 10 * place : 20 + 10 * place]
        for _ in range(ROUNDS):
            amend(parted[place], [*MANY[:10], *own], one_more)

    with ThreadPoolExecutor(2) as pool:
        for task in [pool.submit(work, place) for place in (0, 1)]:
            task.result(timeout=60)
    shared = dict.fromkeys(MANY[:10], b"%d" % (2 * ROUNDS))
    owned = dict.fromkeys(MANY[10:30], b"%d" % ROUNDS)
    assert records(parted[0]) == before | shared | owned
    assert counted(parted[0])[SPAN]["N1"] == clicks + 2 * ROUNDS * 20
    assert _homes(redis_server) == [0, 1]


def _tries(store: Store, meanwhile: Callable[[], object]) -> int:
    """Amend A, while something happens in the first try; return how many tries it took."""
    asked: list[bytes | None] = []

    def change(found: Mapping[str, bytes | None]) -> Amendment:
        asked.append(found[A])
        if len(asked) == 1:
            meanwhile()
        return one_more(found)

    amend(store, [A], change)
    return len(asked)


def _homes(server: RedisServer) -> list[int]:
    """List the shards in which clicks were counted."""
    keys = [layout.write_key(shard) for shard in range(layout.SHARDS)]
    return [shard for shard, key in enumerate(keys) if server.run("EXISTS", key)]
