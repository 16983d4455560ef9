"""What is peculiar to the sums of clicks in Redis: marks, gaps, damage; and imports' times."""

from collections.abc import Callable, Sequence

import pytest

from service.adapters import redis_layout as layout
from service.adapters.frames import ignore
from service.adapters.redis_clicks import SUMS_AT_ONCE, RedisClicks
from service.adapters.redis_link import RedisLink, Reply, Servers
from service.adapters.redis_readers import HOT_KEPT
from service.adapters.redis_servers import connector
from service.errors import StoreUnavailable
from tests.amending import SPAN, SPANS, a_pseudonym, amend, count, counted, one_more, records, told
from tests.redis_server import RedisServer
from tests.stores import Shelf

A = a_pseudonym("A")
# Where a process counts clicks first, on one server.
HOME = 0
KEY, CLICKS = layout.reader_key(A), layout.clicks_key(HOME, SPAN.name)
HOT, NUMBER = layout.hot_key(HOME), layout.write_key(HOME)


# --- marks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("written_again", [0, 1, 2, 30])
def test_an_emptied_server_is_told_as_a_whole(
    redis_shelf: Shelf, redis_server: RedisServer, written_again: int
) -> None:
    """However many clicks follow, a mark of before tells nothing."""
    store = redis_shelf.open()
    for _ in range(3):
        count(store, {"N1": 1.0})
    mark = store.clicks(SPANS, ()).mark
    redis_server.run("FLUSHALL")
    for _ in range(written_again):
        count(store, {"N2": 1.0})
    clicks = store.clicks(SPANS, mark)
    assert clicks.is_whole
    assert told(clicks).get(SPAN, {}) == ({"N2": float(written_again)} if written_again else {})


def test_clicks_after_a_fail_over_that_lost_the_last_ones_are_told(
    redis_shelf: Shelf, redis_server: RedisServer
) -> None:
    """No number is given twice, so what is counted then is news for everybody."""
    store = redis_shelf.open()
    count(store, {"N1": 1.0})
    dumps = {key: redis_server.run("DUMP", key) for key in (CLICKS, HOT, NUMBER)}
    count(store, {"N1": 1.0})
    mark = store.clicks(SPANS, ()).mark
    for key, dump in dumps.items():
        redis_server.run("RESTORE", key, 0, dump, "REPLACE")  # type: ignore[arg-type]
    assert store.clicks(SPANS, mark).is_whole
    count(store, {"N2": 1.0})
    clicks = store.clicks(SPANS, mark)
    assert not clicks.is_whole
    assert told(clicks)[SPAN].keys() == {"N2"}


def test_a_mark_from_before_what_is_known_of_tells_too_little(
    redis_shelf: Shelf, redis_server: RedisServer
) -> None:
    """Of a few thousand articles it is known when they were clicked, however many there are."""
    store = redis_shelf.open()
    count(store, {"N1": 1.0})
    early = store.clicks(SPANS, ()).mark
    for part in range(HOT_KEPT // 1_000 + 1):
        count(store, {f"M{part}-{i}": 1.0 for i in range(1_000)})
    assert redis_server.run("ZCARD", HOT) == HOT_KEPT
    late = store.clicks(SPANS, early).mark
    count(store, {"N1": 1.0, "N2": 1.0})
    assert told(store.clicks(SPANS, early)) == counted(store)
    assert store.clicks(SPANS, early).is_whole
    since = store.clicks(SPANS, late)
    assert (told(since), since.is_whole) == ({SPAN: {"N1": 2.0, "N2": 1.0}}, False)


# --- looks --------------------------------------------------------------------------------------


def test_a_look_asks_for_what_there_is_a_few_hundred_sums_at_a_time(
    redis_shelf: Shelf, redis_server: RedisServer
) -> None:
    """Shards that counted nothing are not asked, and nobody waits long for a thread that reads."""
    store = redis_shelf.open()
    count(store, {"N1": 1.0})
    mark = store.clicks(SPANS, ()).mark
    redis_server.run("CONFIG", "RESETSTAT")
    count(store, {f"N{i}": 1.0 for i in range(2 * SUMS_AT_ONCE)})
    assert len(told(store.clicks(SPANS, mark))[SPAN]) == 2 * SUMS_AT_ONCE
    calls = redis_server.run("INFO", "commandstats")
    assert calls["cmdstat_hmget"]["calls"] == 2  # type: ignore[index]


@pytest.mark.parametrize("step", [0, 1, 2])
def test_clicks_counted_amid_a_look_are_told_by_this_or_the_next(
    redis_shelf: Shelf, redis_server: RedisServer, step: int
) -> None:
    """Also when they are the first of their shard."""
    store = redis_shelf.open()
    count(store, {"N1": 1.0})
    known = {SPAN: {"N1": 1.0}}
    mark = store.clicks(SPANS, ()).mark
    count(store, {"N1": 1.0})

    def count_elsewhere() -> None:
        redis_server.run("HINCRBYFLOAT", layout.clicks_key(7, SPAN.name), "N1", "1.0")
        redis_server.run("ZADD", layout.hot_key(7), 5, "", 5, "N1")
        redis_server.run("SET", layout.write_key(7), 5)

    link = _Interrupted(connector(redis_server.url, timeout_s=5.0), step, count_elsewhere)
    looked = RedisClicks(link, ignore).clicks(SPANS, mark)
    assert not link.is_to_come
    for clicks in (looked, store.clicks(SPANS, looked.mark)):
        assert not clicks.is_whole
        known[SPAN] |= told(clicks).get(SPAN, {})
    assert known == counted(store) == {SPAN: {"N1": 3.0}}
    link.close()


# --- damage -------------------------------------------------------------------------------------


def test_keys_of_a_foreign_type_are_passed_over_and_counted(
    redis_shelf: Shelf, redis_server: RedisServer
) -> None:
    """A reader of a foreign type is none, and is one again when it is written."""
    store = redis_shelf.open()
    redis_server.run("LPUSH", KEY, "foreign")
    assert store.reader(A) is None
    assert redis_shelf.rejected == ["type"]
    assert records(store) == {}
    amend(store, [A], one_more)
    assert store.reader(A) == b"1"
    mark = store.clicks(SPANS, ()).mark
    redis_server.run("DEL", CLICKS)
    redis_server.run("LPUSH", CLICKS, "foreign")
    assert counted(store) == {}
    assert set(redis_shelf.rejected) == {"type"}
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        count(store, {"N1": 1.0})
    assert told(store.clicks(SPANS, mark)) == {}


@pytest.mark.parametrize("key", [HOT, NUMBER])
def test_without_a_number_everything_is_told(
    redis_shelf: Shelf, redis_server: RedisServer, key: str
) -> None:
    """Numbers that are gone or of a foreign type cost a reading of all, never a click."""
    store = redis_shelf.open()
    count(store, {"N1": 1.0})
    mark = store.clicks(SPANS, ()).mark
    count(store, {"N1": 1.0})
    redis_server.run("DEL", key)
    assert (told(store.clicks(SPANS, mark)), store.clicks(SPANS, mark).is_whole) == (
        {SPAN: {"N1": 2.0}},
        True,
    )
    redis_server.run("LPUSH", key, "foreign")
    assert told(store.clicks(SPANS, mark)) == {SPAN: {"N1": 2.0}}
    assert redis_shelf.rejected


@pytest.mark.parametrize("number", ["many", "-5", "9" * 30, "²"])
def test_a_damaged_number_is_begun_anew(
    redis_shelf: Shelf, redis_server: RedisServer, number: str
) -> None:
    """Writes go on, and whoever has a mark of before reads everything once."""
    store = redis_shelf.open()
    count(store, {"N1": 1.0})
    mark = store.clicks(SPANS, ()).mark
    redis_server.run("SET", NUMBER, number)
    assert store.clicks(SPANS, mark).is_whole
    count(store, {"N1": 1.0})
    assert told(store.clicks(SPANS, mark)) == {SPAN: {"N1": 2.0}}


def test_a_damaged_sum_weighs_nothing(redis_shelf: Shelf, redis_server: RedisServer) -> None:
    """It is counted as damage; other articles are unharmed."""
    store = redis_shelf.open()
    count(store, {"N1": 1.0, "N2": 1.0})
    redis_server.run("HSET", CLICKS, "N1", "hot")
    assert counted(store) == {SPAN: {"N1": 0.0, "N2": 1.0}}
    assert redis_shelf.rejected == ["type"]


def test_an_import_of_an_earlier_build_has_no_time(
    redis_shelf: Shelf, redis_server: RedisServer
) -> None:
    """It is read as of the epoch; the next one has its time, and leaves nothing of it."""
    store = redis_shelf.open()
    redis_server.run("HSET", layout.META, "popularity:1", "token")
    redis_server.run("HSET", layout.popularity_key(layout.shard_of("N1"), "token"), "N1", "0.5")
    table = store.popularity(0)
    assert table is not None
    assert (table.revision, dict(table.weights), table.at) == (1, {"N1": 0.5}, 0.0)
    assert store.replace_popularity({"N1": 0.25}, at=1_700_000_000.125) == 2
    table = store.popularity(1)
    assert table is not None
    assert (dict(table.weights), table.at) == ({"N1": 0.25}, 1_700_000_000.125)
    assert len(redis_server.run("KEYS", "*:pop:*")) == 1  # type: ignore[arg-type]


class _Interrupted(RedisLink):
    """Lets something happen before one of its round trips."""

    def __init__(
        self, connect: Callable[[], Servers], step: int, happens: Callable[[], None]
    ) -> None:
        super().__init__(connect)
        self._step, self._happens = step, happens

    @property
    def is_to_come(self) -> bool:
        """Say whether there were too few round trips."""
        return self._step >= 0

    def pipeline(self, commands: Sequence[layout.Command]) -> list[Reply]:
        """Send commands, after what happens."""
        if self._step == 0:
            self._happens()
        self._step -= 1
        return super().pipeline(commands)
