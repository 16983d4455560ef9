"""What every store promises of readers' records, and of the clicks written with them."""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from service.ports import Amendment, Store
from tests.amending import (
    SPAN,
    a_pseudonym,
    always,
    amend,
    amending_until,
    count,
    counted,
    keep,
    one_more,
    records,
)
from tests.redis_server import RedisServer
from tests.stores import Shelf
from tests.waiting import wait_until

A, B, C = (a_pseudonym(name) for name in "ABC")
MANY = [a_pseudonym(number) for number in range(1_200)]
THREADS, ROUNDS = 4, 25
# One process that amends the record of one reader 25 times.
AMENDER = """
import sys
from tests.amending import a_pseudonym, amend, one_more
from tests.stores import durable_store
store = durable_store(sys.argv[1])
for _ in range(25):
    amend(store, [a_pseudonym("A")], one_more)
store.close()
"""


# --- records --------------------------------------------------------------------------------------


def test_of_a_new_reader_there_is_nothing(store: Store) -> None:
    """Neither a record, nor anything to forget."""
    assert store.reader(A) is None
    assert records(store) == {}
    assert store.forget(A) is False


@pytest.mark.parametrize("raw", [b"", b"\x00\xff", "é".encode(), bytes(range(256)) * 256])
def test_a_record_comes_back_as_it_was_written(store: Store, raw: bytes) -> None:
    """Any bytes, 64 KiB of them included."""
    keep(store, A, raw)
    assert store.reader(A) == raw
    assert records(store) == {A: raw}


def test_another_store_on_the_same_data_reads_it_at_once(shelf: Shelf) -> None:
    """What is acknowledged is there for everybody."""
    first, second = shelf.open(), shelf.open()
    keep(first, A, b"one")
    assert second.reader(A) == shelf.open().reader(A) == b"one"
    keep(second, A, b"two")
    assert first.reader(A) == b"two"


def test_an_amendment_is_made_from_what_is_there(store: Store) -> None:
    """Each reader asked for is in one group, with the record of now or None; no other is."""
    keep(store, A, b"1")
    keep(store, C, b"1")
    given: dict[str, bytes | None] = {}

    def change(found: Mapping[str, bytes | None]) -> Amendment:
        given.update(found)
        return one_more(found)

    made = amend(store, [A, B], change)
    assert given == {A: b"1", B: None}
    assert sorted(reader for one in made for reader in one.records) == sorted([A, B])
    assert records(store) == {A: b"2", B: b"1", C: b"1"}


def test_outcomes_are_for_the_caller_alone(store: Store) -> None:
    """They come back as they were, also of an amendment that writes nothing."""
    keep(store, A, b"1")
    nothing = Amendment({}, {}, {0: "duplicate", 7: "too_old"})
    assert amend(store, [A], lambda _: nothing) == [nothing]
    assert records(store) == {A: b"1"}
    assert counted(store) == {}


def test_without_readers_nothing_is_asked(store: Store) -> None:
    """No group, no amendment."""
    assert amend(store, [], always({A: b"never"}, {})) == []
    assert records(store) == {}


def test_many_readers_are_amended_in_one_call(store: Store) -> None:
    """More than any internal limit; each exactly once."""
    for _ in range(2):
        amend(store, MANY, one_more)
    assert records(store) == dict.fromkeys(MANY, b"2")
    assert counted(store) == {SPAN: {"N1": 2.0 * len(MANY)}}


# --- wholly or not at all -------------------------------------------------------------------------


def test_an_amendment_that_raises_writes_nothing(store: Store) -> None:
    """Neither the record nor clicks; the error is the caller's own, and the next one goes well."""
    keep(store, A, b"1")

    def refuse(_: Mapping[str, bytes | None]) -> Amendment:
        raise LookupError("of the caller")

    with pytest.raises(LookupError, match="of the caller"):
        amend(store, [A], refuse)
    assert (records(store), counted(store)) == ({A: b"1"}, {})
    amend(store, [A], one_more)
    assert (records(store), counted(store)) == ({A: b"2"}, {SPAN: {"N1": 1.0}})


def test_each_group_is_written_wholly_or_not_at_all(store: Store) -> None:
    """What one group's error leaves unwritten is all of that group, clicks included."""
    refused: list[str] = []

    def change(found: Mapping[str, bytes | None]) -> Amendment:
        if MANY[5] in found:
            refused.extend(found)
            raise LookupError("of the caller")
        return one_more(found)

    with pytest.raises(LookupError):
        amend(store, MANY[:100], change)
    written = records(store)
    assert not written.keys() & set(refused)
    assert sum(counted(store).get(SPAN, {}).values()) == len(written)


# --- forgetting -----------------------------------------------------------------------------------


def test_a_forgotten_reader_is_as_one_who_never_was(shelf: Shelf) -> None:
    """The record is gone for everybody, others stay, and a new one starts from nothing."""
    store, other = shelf.open(), shelf.open()
    amend(store, [A, B], one_more)
    assert other.forget(A) is True
    assert store.reader(A) is other.reader(A) is None
    assert records(store) == {B: b"1"}
    assert store.forget(A) is False
    amend(store, [A], one_more)
    assert records(other) == {A: b"1", B: b"1"}


def test_clicks_stay_when_a_reader_is_forgotten(store: Store) -> None:
    """Sums tell nothing of who clicked."""
    count(store, {"N1": 1.0}, by="A")
    store.forget(A)
    assert counted(store) == {SPAN: {"N1": 1.0}}


# --- time -----------------------------------------------------------------------------------------


def test_a_record_is_let_go_of_when_its_time_is_over(store: Store) -> None:
    """While the service goes on with other readers; nobody asks for it."""
    keep(store, A, b"old", ttl_s=0.2)
    for reader in MANY[:20]:
        keep(store, reader, b"old", ttl_s=0.2)
    keep(store, B, b"young")
    somebody = a_pseudonym("somebody")
    wait_until(amending_until(store, lambda: records(store).keys() == {B, somebody}))
    assert store.reader(A) is None


def test_writing_a_record_again_keeps_it_longer(store: Store) -> None:
    """Its time is that of the last writing."""
    keep(store, A, b"one", ttl_s=0.2)
    keep(store, B, b"one", ttl_s=0.2)
    keep(store, A, b"two")
    wait_until(amending_until(store, lambda: store.reader(B) is None))
    time.sleep(0.1)
    keep(store, B, b"new")
    assert store.reader(A) == b"two"


# --- several at once ------------------------------------------------------------------------------


def test_threads_that_amend_one_reader_lose_nothing(shelf: Shelf) -> None:
    """Each amendment is made from the one before; a click is counted once for each."""
    stores = [shelf.open() for _ in range(THREADS)]

    def work(store: Store) -> None:
        for _ in range(ROUNDS):
            amend(store, [A], one_more)

    _together(work, stores)
    assert stores[0].reader(A) == b"%d" % (THREADS * ROUNDS)
    assert counted(stores[0]) == {SPAN: {"N1": float(THREADS * ROUNDS)}}


def test_threads_that_amend_overlapping_readers_lose_nothing(shelf: Shelf) -> None:
    """Whatever of a group another thread writes meanwhile, all of the group is made anew."""
    store = shelf.open()

    def work(first: int) -> None:
        for _ in range(ROUNDS):
            amend(store, MANY[first : first + 20], one_more)

    _together(work, [0, 5, 10, 15])
    assert store.reader(MANY[16]) == b"%d" % (THREADS * ROUNDS)
    written = sum(int(raw) for raw in records(store).values())
    assert written == THREADS * ROUNDS * 20
    assert counted(store) == {SPAN: {"N1": float(written)}}


def test_a_reader_is_forgotten_beside_those_who_amend(shelf: Shelf) -> None:
    """A forgotten record never comes back: each new one starts from nothing."""
    store, other = shelf.open(), shelf.open()
    made: list[Amendment] = []

    def change(found: Mapping[str, bytes | None]) -> Amendment:
        return Amendment({A: b"there"}, {}, {0: "new" if found[A] is None else "known"})

    def work(_: int) -> int:
        for _ in range(ROUNDS):
            made.extend(amend(store, [A], change))
        return 0

    def forget(_: int) -> int:
        return sum(other.forget(A) for _ in range(ROUNDS))

    with ThreadPoolExecutor(THREADS) as pool:
        tasks = [pool.submit(task, 0) for task in (work, work, work, forget)]
        forgotten = sum(task.result(timeout=60) for task in tasks)
    created = sum(one.outcomes[0] == "new" for one in made)
    assert len(made) == 3 * ROUNDS
    assert created - forgotten == (store.reader(A) is not None)


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_processes_that_amend_one_reader_lose_nothing(
    kind: str, redis_server: RedisServer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Three replicas on one store, 25 amendments of each."""
    store = request.getfixturevalue(f"{kind}_shelf").open()
    urls = {"sqlite": f"sqlite:///{tmp_path}/store.sqlite", "redis": redis_server.url}
    amenders = [subprocess.Popen([sys.executable, "-c", AMENDER, urls[kind]]) for _ in range(3)]
    assert [amender.wait(timeout=60) for amender in amenders] == [0, 0, 0]
    assert records(store) == {A: b"75"}
    assert counted(store) == {SPAN: {"N1": 75.0}}


def _together(work: Callable[[Any], None], of: Sequence[object]) -> None:
    with ThreadPoolExecutor(len(of)) as pool:
        for task in [pool.submit(work, one) for one in of]:
            task.result(timeout=60)
