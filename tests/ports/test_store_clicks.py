"""What every store promises of the sums of clicks, as replicas pull them."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.ports import Position, Span, Store
from tests.amending import (
    NEXT_SPAN,
    SPAN,
    SPANS,
    Told,
    amending_until,
    count,
    counted,
    merge,
    told,
)
from tests.stores import Shelf
from tests.waiting import wait_until

READERS = 40


def test_before_the_first_click_there_is_nothing(store: Store) -> None:
    """That is all there is, and its mark tells what came after."""
    clicks = store.clicks(SPANS, ())
    assert (told(clicks), clicks.is_whole) == ({}, True)
    count(store, {"N1": 1.0})
    assert told(store.clicks(SPANS, clicks.mark)) == {SPAN: {"N1": 1.0}}


def test_clicks_are_summed_by_span_and_article_over_all_readers(store: Store) -> None:
    """Whoever clicked, in whatever order."""
    for reader in range(READERS):
        count(store, {"N1": 0.5, "N2": 2.0**31}, by=reader)
        count(store, {"N1": 0.25}, NEXT_SPAN, by=reader)
    assert counted(store) == {
        SPAN: {"N1": READERS / 2, "N2": READERS * 2.0**31},
        NEXT_SPAN: {"N1": READERS / 4},
    }


def test_sums_are_as_exact_as_numbers_are(store: Store) -> None:
    """No weight is rounded on its way: 1 to 2^32, with all its digits."""
    weights = [1 + 1 / 3, 2**31 + 1 / 7, 1e-9]
    for weight in weights:
        count(store, {"N1": weight})
    assert counted(store)[SPAN]["N1"] == pytest.approx(sum(weights), rel=1e-15)


def test_only_the_spans_asked_for_are_told(store: Store) -> None:
    """Another half-life has other spans, whose clicks weigh otherwise."""
    count(store, {"N1": 1.0})
    count(store, {"N2": 1.0}, NEXT_SPAN)
    assert counted(store, [NEXT_SPAN]) == {NEXT_SPAN: {"N2": 1.0}}
    assert counted(store, [Span("3600:9", NEXT_SPAN.ends_at)]) == {}
    assert counted(store, []) == {}


def test_since_a_mark_the_sums_are_those_of_now(store: Store) -> None:
    """Sums, not what was added: told twice, they are the same; nothing else is told wrongly."""
    count(store, {"N1": 1.0, "N2": 1.0})
    mark = store.clicks(SPANS, ()).mark
    count(store, {"N1": 0.5})
    count(store, {"N3": 4.0}, NEXT_SPAN, by="B")
    for _ in range(2):
        since = store.clicks(SPANS, mark)
        assert not since.is_whole
        assert told(since)[SPAN].items() >= {"N1": 1.5}.items()
        assert told(since)[NEXT_SPAN] == {"N3": 4.0}
        assert told(since)[SPAN].items() <= counted(store)[SPAN].items()


def test_where_nothing_was_clicked_nothing_is_told(store: Store) -> None:
    """Replicas ask often."""
    count(store, {"N1": 1.0})
    mark = store.clicks(SPANS, ()).mark
    again = store.clicks(SPANS, mark)
    assert (told(again), again.is_whole) == ({}, False)
    assert told(store.clicks(SPANS, again.mark)) == {}


def test_a_mark_serves_any_store_on_the_same_data(shelf: Shelf) -> None:
    """A process goes on where its own saved snapshot, or another process, stopped."""
    first, second = shelf.open(), shelf.open()
    count(first, {"N1": 1.0})
    mark = first.clicks(SPANS, ()).mark
    count(first, {"N1": 1.0})
    assert told(second.clicks(SPANS, mark)) == {SPAN: {"N1": 2.0}}
    assert not second.clicks(SPANS, mark).is_whole


def test_a_mark_of_other_spans_tells_too_little(store: Store) -> None:
    """Of a span that it did not ask for, everything is told."""
    count(store, {"N1": 1.0})
    count(store, {"N2": 1.0}, NEXT_SPAN)
    mark = store.clicks([SPAN], ()).mark
    both = store.clicks(SPANS, mark)
    assert both.is_whole
    assert told(both) == {SPAN: {"N1": 1.0}, NEXT_SPAN: {"N2": 1.0}}


@pytest.mark.parametrize(
    "foreign", [("another",), ("another", "1"), ("x",) * 20, ("é", "-1", ""), ("", "9" * 40, "")]
)
def test_a_foreign_mark_tells_nothing(store: Store, foreign: Position) -> None:
    """One that another store gave is never taken for one of this."""
    count(store, {"N1": 1.0})
    clicks = store.clicks(SPANS, foreign)
    assert (told(clicks), clicks.is_whole) == ({SPAN: {"N1": 1.0}}, True)


def test_a_mark_with_a_damaged_part_is_foreign(store: Store) -> None:
    """Whatever part of it is lost or changed, everything is told, and nothing is raised."""
    count(store, {"N1": 1.0})
    mark = store.clicks(SPANS, ()).mark
    for place in range(len(mark)):
        for part in ("", "x", "\x00"):
            clicks = store.clicks(SPANS, (*mark[:place], part, *mark[place + 1 :]))
            assert (told(clicks), clicks.is_whole) == ({SPAN: {"N1": 1.0}}, True)
        assert store.clicks(SPANS, mark[:place]).is_whole
    of_nothing = store.clicks([], ()).mark
    for place in range(len(of_nothing)):
        assert store.clicks([], of_nothing[:place]).is_whole


def test_a_replica_that_pulls_beside_the_clicks_has_them_all(shelf: Shelf) -> None:
    """What is not told with one mark is told with the next."""
    store, other = shelf.open(), shelf.open()
    is_over = threading.Event()
    known: Told = {}

    def click(first: int) -> None:
        for i in range(50):
            count(store, {f"N{i % 7}": 1.0, f"N{first}-{i}": 1.0}, by=first + i)

    def pull() -> Position:
        mark: Position = ()
        while not is_over.is_set():
            mark = merge(known, other, mark)
        return mark

    with ThreadPoolExecutor(3) as pool:
        pulling = pool.submit(pull)
        list(pool.map(click, (100, 200)))
        is_over.set()
        merge(known, other, pulling.result(timeout=60))
    assert known == counted(store)
    assert sum(known[SPAN].values()) == 200.0


def test_a_span_that_is_over_is_let_go_of(store: Store) -> None:
    """While the service goes on counting others, which keep their sums."""
    over = Span("1:1", time.time() + 0.3)
    for reader in range(READERS):
        count(store, {f"N{reader}": 1.0}, over, by=reader)
    count(store, {"N1": 1.0})
    wait_until(amending_until(store, lambda: not counted(store, [over])))
    assert counted(store) == {SPAN: {"N1": 1.0}}


def test_an_import_leaves_the_clicks_alone(store: Store) -> None:
    """And clicks leave the import alone."""
    count(store, {"N1": 1.0})
    store.replace_popularity({"N2": 0.5}, at=1_700_000_000.0)
    count(store, {"N1": 1.0})
    table = store.popularity(0)
    assert table is not None
    assert (dict(table.weights), table.revision) == ({"N2": 0.5}, 1)
    assert counted(store) == {SPAN: {"N1": 2.0}}
