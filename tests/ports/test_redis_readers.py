"""What is peculiar to readers in Redis: keys, memory, conflicts, lost replies, trouble."""

import random
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from service.adapters import redis_layout as layout
from service.adapters.redis_readers import TURN_S
from service.errors import StoreFull, StoreUnavailable
from service.ports import Amendment, Store
from service.readers import MOST_BYTES, Event, Kind, Record, taken
from tests.amending import (
    SPAN,
    a_pseudonym,
    amend,
    counted,
    keep,
    one_more,
    records,
)
from tests.redis_proxy import Proxy
from tests.redis_server import RedisServer
from tests.stores import Shelf, a_publication, put, quickly_refused, redis_store, works
from tests.waiting import wait_until

A, B = a_pseudonym("A"), a_pseudonym("B")
# Where a process counts clicks first, on one server.
HOME = 0
KEY, CLICKS = layout.reader_key(A), layout.clicks_key(HOME, SPAN.name)
HOT, NUMBER = layout.hot_key(HOME), layout.write_key(HOME)
HOUR_MS = 3_600_000
# Of one key: its name, its entry among the keys and among those that expire. Allocators round up.
KEY_BYTES, ROUNDED = 256, 1.25


@pytest.fixture
def store(server: RedisServer) -> Iterator[Store]:
    """Open a store on the server that the test may break, with one reader in it."""
    made = redis_store(server.url)
    amend(made, [A], one_more)
    yield made
    made.close()


@pytest.fixture
def proxy(redis_shelf: Shelf, redis_server: RedisServer) -> Iterator[Proxy]:
    """Stand between a store and the emptied server of the session."""
    made = Proxy(redis_server.port)
    yield made
    made.close()


# --- layout -------------------------------------------------------------------------------------


def test_the_layout_of_readers_is_as_written_down(
    redis_shelf: Shelf, redis_server: RedisServer
) -> None:
    """A reader has one key, in a shard; the clicks have three, in the home of who counts them."""
    store = redis_shelf.open()
    keep(store, A, b"record", {SPAN: {"N1": 0.5}})
    counting = {b"nb:{s00}" + name for name in (b":clicks:86400:619", b":hot", b":w")}
    reader = b"nb:{s%02d}:u:%b" % (layout.shard_of(A), A.encode())
    assert set(_keys(redis_server)) == {b"nb:{meta}", reader, *counting}
    assert redis_server.run("GET", KEY) == b"record"
    assert redis_server.run("HGETALL", CLICKS) == {b"N1": b"0.5"}
    assert redis_server.run("ZRANGE", HOT, 0, -1) == [b"", b"N1"]
    assert redis_server.run("ZSCORE", HOT, "N1") == float(redis_server.run("GET", NUMBER))  # type: ignore[arg-type]


def test_the_shard_of_a_reader_never_changes() -> None:
    """16 shards by crc32 of the pseudonym; all keys of a shard are one slot."""
    from redis.cluster import key_slot

    assert [layout.shard_of(i) for i in ("0" * 32, A, B)] == [0, 10, 4]
    shard = layout.shard_of(A)
    counting = (layout.clicks_key(shard, SPAN.name), layout.hot_key(shard), layout.write_key(shard))
    assert len({key_slot(key.encode()) for key in (KEY, *counting)}) == 1


def test_records_and_spans_expire_by_the_clock_of_redis(
    redis_shelf: Shelf, redis_server: RedisServer
) -> None:
    """Also where no newsbert process runs any more."""
    keep(redis_shelf.open(), A, b"record", {SPAN: {"N1": 0.5}})
    left = redis_server.run("PTTL", KEY)
    assert isinstance(left, int)
    assert HOUR_MS - 20_000 < left <= HOUR_MS
    redis_server.run("PEXPIREAT", CLICKS, 4_000_000_000_001)
    keep(redis_shelf.open(), A, b"record", {SPAN: {"N1": 0.5}})
    now = redis_server.run("TIME")[0]  # type: ignore[index]
    assert redis_server.run("TTL", CLICKS) == pytest.approx(SPAN.ends_at - now, abs=5)


def test_an_amendment_that_changes_nothing_writes_nothing(
    redis_shelf: Shelf, redis_server: RedisServer
) -> None:
    """No key; and one that counts no click leaves the sums and their number alone."""
    store = redis_shelf.open(connections=1)
    amend(store, [A, B], lambda _: Amendment({}, {}, {}))
    assert _keys(redis_server) == [b"nb:{meta}"]
    keep(store, A, b"record")
    assert set(_keys(redis_server)) == {b"nb:{meta}", KEY.encode()}


def test_a_reader_takes_little_more_than_the_record(
    redis_shelf: Shelf, redis_server: RedisServer
) -> None:
    """One key a reader: its memory is bounded as the record is, in MOST_BYTES."""
    store = redis_shelf.open()
    largest = b"x" * MOST_BYTES
    for raw in (b"", _a_record(5, 10, 3), _a_record(50, 100, 30), largest):
        keep(store, A, raw)
        used = redis_server.run("MEMORY", "USAGE", KEY)
        assert isinstance(used, int)
        assert used <= KEY_BYTES + ROUNDED * len(raw)


# --- conflicts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_of_group", [False, True])
def test_what_another_process_wrote_in_between_is_asked_again(
    redis_shelf: Shelf, *, is_of_group: bool
) -> None:
    """A reader of the group, or clicks of another one in the same home; nothing is lost."""
    store, other = redis_shelf.open(), redis_shelf.open()
    asked: list[bytes | None] = []

    def change(found: Mapping[str, bytes | None]) -> Amendment:
        asked.append(found[A])
        if len(asked) == 1:
            amend(other, [A if is_of_group else B], one_more)
        return one_more(found)

    amend(store, [A], change)
    assert asked == ([None, b"1"] if is_of_group else [None, None])
    assert sum(int(raw) for raw in records(store).values()) == 2
    assert counted(store) == {SPAN: {"N1": 2.0}}


def test_a_reader_forgotten_in_between_is_asked_again(redis_shelf: Shelf) -> None:
    """The record that was read is not written once more."""
    store, other = redis_shelf.open(), redis_shelf.open()
    keep(store, A, b"41")
    asked: list[bytes | None] = []

    def change(found: Mapping[str, bytes | None]) -> Amendment:
        asked.append(found[A])
        if len(asked) == 1:
            other.forget(A)
        return one_more(found)

    amend(store, [A], change)
    assert asked == [b"41", None]
    assert store.reader(A) == b"1"


def test_one_who_is_never_fast_enough_is_told(redis_shelf: Shelf) -> None:
    """The tries are bounded, and nothing of them is written."""
    store, other = redis_shelf.open(), redis_shelf.open()

    def change(found: Mapping[str, bytes | None]) -> Amendment:
        keep(other, A, b"7")
        return one_more(found)

    with pytest.raises(StoreUnavailable, match="faster"):
        amend(store, [A], change)
    assert (store.reader(A), counted(store)) == (b"7", {})


@pytest.mark.slow
def test_one_whose_turn_does_not_come_is_told(redis_shelf: Shelf) -> None:
    """Threads of a process amend in turn, and none waits for ever."""
    store = redis_shelf.open()

    def change(found: Mapping[str, bytes | None]) -> Amendment:
        with pytest.raises(StoreUnavailable, match="too many wait"):
            pool.submit(amend, store, [B], one_more).result(timeout=2 * TURN_S)
        return one_more(found)

    with ThreadPoolExecutor(1) as pool:
        amend(store, [A], change)
    amend(store, [A], one_more)
    assert records(store) == {A: b"2"}


def test_a_connection_is_given_back_without_its_watch(redis_shelf: Shelf) -> None:
    """What is written later is no conflict of whoever has the connection then."""
    store, other = redis_shelf.open(connections=1), redis_shelf.open()

    def refuse(_: Mapping[str, bytes | None]) -> Amendment:
        raise LookupError

    for change in (refuse, lambda _: Amendment({}, {}, {}), one_more):
        try:
            amend(store, [A], change)
        except LookupError:
            assert change is refuse
        keep(other, A, b"7")
        put(store, a_publication("N1"))


# --- lost replies -------------------------------------------------------------------------------


def test_a_write_whose_reply_is_lost_counts_once(redis_shelf: Shelf, proxy: Proxy) -> None:
    """The record knows the event, so that asking again tells that it was written."""
    store = redis_store(proxy.url)
    keep(store, B, b"there")
    proxy.lose(b"EXEC")
    (made,) = amend(store, [A], _once)
    assert proxy.has_lost_all
    assert made.outcomes == {0: "duplicate"}
    assert (store.reader(A), counted(store)) == (b"event", {SPAN: {"N1": 1.0}})
    store.close()


def test_a_write_whose_replies_are_all_lost_counts_once_when_sent_again(
    redis_shelf: Shelf, proxy: Proxy
) -> None:
    """The call tells of an outage; whoever sends the event again does no harm."""
    store = redis_store(proxy.url)
    keep(store, B, b"there")
    proxy.lose(b"EXEC", b"WATCH")
    with pytest.raises(StoreUnavailable):
        amend(store, [A], _once)
    for _ in range(2):
        (made,) = amend(store, [A], _once)
        assert made.outcomes == {0: "duplicate"}
    assert counted(store) == {SPAN: {"N1": 1.0}}
    store.close()


def test_a_reader_whose_removal_is_not_heard_of_was_there(redis_shelf: Shelf, proxy: Proxy) -> None:
    """The reply to the first DEL is lost, the second finds nothing."""
    store = redis_store(proxy.url)
    keep(store, A, b"there")
    proxy.lose(b"DEL")
    assert store.forget(A) is True
    assert proxy.has_lost_all
    assert store.reader(A) is None
    store.close()


# --- trouble ------------------------------------------------------------------------------------


def test_a_server_that_hangs_costs_an_amendment_one_timeout(server: RedisServer) -> None:
    """Before the reading or before the writing; and no connection is lost by it."""
    store = redis_store(server.url, timeout_s=0.5, connections=2)
    wait_until(lambda: works(lambda: amend(store, [A], one_more)))
    for act in (lambda: amend(store, [A], one_more), lambda: store.forget(B)):
        with server.paused():
            quickly_refused(act, within_s=0.9)
    for _ in range(3):
        wait_until(lambda: works(lambda: amend(store, [A], one_more)))
        _refused_between_reading_and_writing(server, store)
    wait_until(lambda: works(lambda: amend(store, [A], one_more)))
    store.close()


def test_readers_outlive_a_restart_unnoticed(server: RedisServer, store: Store) -> None:
    """The connections of the pool are stale, yet the next call of each kind works."""
    acts = (
        lambda: amend(store, [A], one_more),
        lambda: store.reader(A),
        lambda: records(store),
        lambda: counted(store),
        lambda: store.forget(B),
    )
    for act in acts:
        server.restart()
        act()
    assert (store.reader(A), counted(store)) == (b"2", {SPAN: {"N1": 2.0}})


def test_a_full_server_takes_no_events_and_still_forgets(server: RedisServer, store: Store) -> None:
    """Who asks to be forgotten is, and reads go on; nothing of an event is told or written."""
    keep(store, B, b"there")
    server.run("CONFIG", "SET", "maxmemory", "1kb")
    with pytest.raises(StoreFull, match="maxmemory") as caught:
        keep(store, A, b"Secret record")
    assert "Secret" not in str(caught.value)
    assert records(store) == {A: b"1", B: b"there"}
    assert counted(store) == {SPAN: {"N1": 1.0}}
    assert store.forget(B) is True
    server.run("CONFIG", "SET", "maxmemory", "0")
    amend(store, [A], one_more)
    assert records(store) == {A: b"2"}


def _once(found: Mapping[str, bytes | None]) -> Amendment:
    """Take one event into a record that may know it."""
    if found[A] is not None:
        return Amendment({}, {}, {0: "duplicate"})
    return Amendment({A: b"event"}, {SPAN: {"N1": 1.0}}, {0: "accepted"})


def _refused_between_reading_and_writing(server: RedisServer, store: Store) -> None:
    with ExitStack() as hanging:

        def change(found: Mapping[str, bytes | None]) -> Amendment:
            hanging.enter_context(server.paused())
            return one_more(found)

        quickly_refused(lambda: amend(store, [A], change), within_s=0.9)


def _a_record(reads: int, impressions: int, clicks: int) -> bytes:
    """Make the record of a reader, with ids as long as they come: UUIDs."""
    drawn = random.Random(1)
    kinds = [Kind.READ] * reads + [Kind.IMPRESSION] * impressions + [Kind.CLICK] * clicks
    events = [_an_event(kind, 1.7e9 + 900.125 * i, drawn) for i, kind in enumerate(kinds)]
    raw = taken(Record(), events, now=1.7e9 + 1e6, ttl_s=1e7).raw
    assert raw is not None
    return raw


def _an_event(kind: Kind, at: float, drawn: random.Random) -> Event:
    shown = 10 if kind is Kind.IMPRESSION else 1
    ids = tuple(f"N{drawn.randrange(100_000)}" for _ in range(shown))
    made, request = (str(uuid.UUID(int=drawn.getrandbits(128))) for _ in range(2))
    return Event(kind, made, at, ids, request)


def _keys(server: RedisServer) -> list[bytes]:
    keys = server.run("KEYS", "*")
    assert isinstance(keys, list)
    return keys
