"""A reader's record: the same for the same events in any order, bounded, sound or refused."""

import random
from collections.abc import Iterable, Sequence
from zlib import crc32

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.readers import (
    AHEAD_S,
    MOST_BYTES,
    READ_KEPT,
    Event,
    Kind,
    Record,
    RecordDamaged,
    Verdict,
    taken,
)
from tests.service.fakes import NOW
from tests.service.reading import TTL_S, a_record, an_event

ACCEPTED, DUPLICATE, TOO_OLD = Verdict.ACCEPTED, Verdict.DUPLICATE, Verdict.TOO_OLD
NOBODY = Record()
ARTICLES = st.sampled_from(["N1", "N2", "N3", "N4"])


@st.composite
def some_events(draw: st.DrawFn) -> list[Event]:
    """Draw events of one reader, many at the same time or on the same article."""
    actions = st.tuples(
        st.sampled_from(Kind), st.integers(0, 5), st.lists(ARTICLES, min_size=1, max_size=3)
    )
    return [
        an_event(f"e{n}", kind=kind, at=NOW - ago, ids=ids, request=f"r{n}")
        for n, (kind, ago, ids) in enumerate(draw(st.lists(actions, max_size=12)))
    ]


@st.composite
def told_somehow(draw: st.DrawFn, events: Sequence[Event]) -> list[list[Event]]:
    """Draw a way to send events: any order, some of them again, in batches of any size."""
    again = draw(st.lists(st.sampled_from(events), max_size=5)) if events else []
    order = draw(st.permutations([*events, *again]))
    cuts = sorted(draw(st.sets(st.integers(0, len(order)))))
    return [order[a:b] for a, b in zip([0, *cuts], [*cuts, len(order)], strict=True)]


def big(event_id: str, ago: float) -> Event:
    """Build the largest event that is taken over HTTP: of these a record holds only a few."""
    ids = [f"N{n:063}" for n in range(200)]
    return an_event(event_id, kind=Kind.IMPRESSION, at=NOW - ago, ids=ids, request="r" * 2_048)


def fed(batches: Iterable[Sequence[Event]], record: Record = NOBODY) -> Record:
    """Take batches of events into a record that is written and read between any two."""
    for events in batches:
        raw = taken(record, events, now=NOW, ttl_s=TTL_S).raw
        record = record if raw is None else Record.of(raw)
    return record


def verdicts(record: Record, *events: Event, now: float = NOW) -> list[Verdict]:
    """Say what would become of events."""
    return taken(record, events, now=now, ttl_s=TTL_S).verdicts


# --- what events make of a record -----------------------------------------------------------------


@given(st.data())
def test_a_record_is_a_function_of_the_set_of_events(data: st.DataObject) -> None:
    """Whatever their order, their repetition, and how many come together."""
    events = data.draw(some_events())
    one, other = fed([events]), fed(data.draw(told_somehow(events)))
    assert (one.read, one.hidden, one.events) == (other.read, other.hidden, other.events)
    assert one.history(3) == other.history(3)
    assert one.events == sorted(events, key=lambda event: (event.at, event.id))


def test_clicks_and_reads_are_read_hides_are_hidden_impressions_neither() -> None:
    """Each article with the latest time; the events hold them all."""
    events = [
        an_event("e1", kind=Kind.IMPRESSION, at=NOW - 9, ids=["N1", "N2", "N3"], request="r1"),
        an_event("e2", kind=Kind.CLICK, at=NOW - 8, ids=["N1"], request="r1"),
        an_event("e3", kind=Kind.READ, at=NOW - 7, ids=["N1"]),
        an_event("e4", kind=Kind.HIDE, at=NOW - 6, ids=["N2"]),
    ]
    record = a_record(*events)
    assert (record.read, record.hidden) == ({"N1": NOW - 7}, {"N2": NOW - 6})
    assert record.events == events
    assert not record.is_empty


def test_an_event_is_known_by_its_whole_id() -> None:
    """Neither by a part of one, nor by what stands elsewhere in an event."""
    record = a_record(an_event("e10", ids=["e1"], request="e2"))
    others = [an_event(i) for i in ("e1", "e", "10", "e2", "e100", "click")]
    assert verdicts(record, an_event("e10"), *others) == [DUPLICATE] + [ACCEPTED] * 6


def test_of_events_that_change_nothing_nothing_is_to_be_written() -> None:
    """Known, too old, or in the future."""
    record = a_record(an_event("e1"))
    told = [an_event("e1"), an_event("e2", at=NOW - TTL_S - 1), an_event("e3", at=NOW + 301)]
    after = taken(record, told, now=NOW, ttl_s=TTL_S)
    assert after.raw is None
    assert after.verdicts == [DUPLICATE, TOO_OLD, Verdict.IN_THE_FUTURE]


def test_clocks_may_disagree_a_little() -> None:
    """Up to five minutes ahead an event is taken as it is."""
    told = [an_event("e1", at=NOW + AHEAD_S), an_event("e2", at=NOW + AHEAD_S + 0.001)]
    assert verdicts(Record(), *told) == [ACCEPTED, Verdict.IN_THE_FUTURE]


def test_the_history_is_what_was_read_last() -> None:
    """By the latest time of each, ties by id, oldest first."""
    clicks = [an_event(f"e{n}", at=NOW - n // 2, ids=[f"N{n % 60:02}"]) for n in range(90)]
    latest = sorted((NOW - n // 2, f"N{n:02}") for n in range(60))
    assert a_record(*clicks).history(50) == [article_id for _, article_id in latest][-50:]
    assert a_record(*clicks[:3]).history(50) == ["N02", "N00", "N01"]


# --- bounds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.CLICK, Kind.READ, Kind.HIDE])
def test_of_many_articles_the_latest_are_kept(kind: Kind) -> None:
    """In whatever order they come; those of before are neither read nor hidden any more."""
    told = [
        an_event(f"e{n}", kind=kind, at=NOW - n, ids=[f"N{n:03}"]) for n in range(READ_KEPT + 50)
    ]
    random.Random(0).shuffle(told)
    record = a_record(*told)
    kept = record.hidden if kind is Kind.HIDE else record.read
    assert kept == {f"N{n:03}": NOW - n for n in range(READ_KEPT)}
    assert len(record.events) == len(told)


@given(st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=6), max_size=12))
def test_a_record_is_bounded_and_takes_nothing_twice(batches: list[list[int]]) -> None:
    """The oldest events go, whatever comes when; what may be known of them is refused then."""
    record, accepted = Record(), list[str]()
    for numbers in batches:
        events = [big(f"e{n}", ago=n // 2) for n in numbers]
        after = taken(record, events, now=NOW, ttl_s=TTL_S)
        told = zip(events, after.verdicts, strict=True)
        accepted += [event.id for event, verdict in told if verdict is ACCEPTED]
        if after.raw is not None:
            floor, record = record.floor, Record.of(after.raw)
            assert len(after.raw) <= MOST_BYTES
            assert record.floor >= floor
    assert len(set(accepted)) == len(accepted)
    gone = set(accepted) - {event.id for event in record.events}
    assert set(verdicts(record, *(big(i, int(i[1:]) // 2) for i in gone))) <= {TOO_OLD}


def test_what_is_let_go_of_is_a_share_of_the_events() -> None:
    """The oldest eighth, so that not every event makes room for itself; articles read stay."""
    told = [an_event(f"e{n}", at=NOW - 2_000 + n, ids=[f"N{n % 9}"]) for n in range(2_000)]
    record = fed([told[:100]])
    for event in told[100:]:
        record = fed([[event]], record)
        if record.floor:
            break
    kept, size = record.events, len(record.to_bytes())
    assert size < MOST_BYTES * 0.9
    assert kept[-1].at - record.floor == len(kept)
    assert len(record.read) == 9


# --- time to live ---------------------------------------------------------------------------------


def test_entries_are_forgotten_one_by_one() -> None:
    """Read, hidden and events alike, each by its own time."""
    clicks = [an_event(f"c{n}", at=NOW + n, ids=[f"N{n}"]) for n in range(4)]
    hides = [an_event(f"h{n}", kind=Kind.HIDE, at=NOW + n, ids=[f"N{n}"]) for n in range(4)]
    record = a_record(*clicks, *hides, now=NOW + 4)
    for n in range(5):
        left = record.since(NOW + n)
        assert list(left.read) == list(left.hidden) == [f"N{i}" for i in range(n, 4)]
        assert [event.id for event in left.events] == [f"{k}{i}" for i in range(n, 4) for k in "ch"]
    assert left.is_empty
    assert record.since(NOW) is record


def test_without_its_events_a_record_forgets_just_as_well() -> None:
    """What answers need of it goes by the time of each article alone."""
    record = a_record(an_event("e1", at=NOW - 9), an_event("e2", at=NOW, ids=["N2"])).without_log()
    assert (record.read, record.events) == ({"N1": NOW - 9, "N2": NOW}, [])
    assert record.since(NOW - 1).read == {"N2": NOW}


@pytest.mark.parametrize("ttl_s", [TTL_S, 10 * TTL_S])
def test_what_was_forgotten_is_not_taken_again(ttl_s: float) -> None:
    """Not by a process whose clock is behind, nor where more is kept from now on."""
    record = a_record(an_event("e1", at=NOW), an_event("e2", at=NOW + 5), now=NOW + 5)
    later = NOW + TTL_S + 2
    after = taken(record, [an_event("e3", at=later)], now=later, ttl_s=TTL_S)
    assert after.raw is not None
    left = Record.of(after.raw)
    assert [event.id for event in left.events] == ["e2", "e3"]
    assert [event.id for event in left.since(NOW + 6).events] == ["e3"]
    told = taken(left, [an_event("e1", at=NOW), an_event("e2")], now=later - 3, ttl_s=ttl_s)
    assert told.verdicts == [TOO_OLD, DUPLICATE]


# --- as bytes -------------------------------------------------------------------------------------


@given(some_events())
def test_a_record_comes_back_from_its_bytes(events: list[Event]) -> None:
    """All of it: also times that are no whole seconds."""
    record = a_record(*(event._replace(at=event.at - 1 / 3) for event in events))
    assert Record.of(record.to_bytes()) == record


@given(st.data())
def test_damaged_bytes_are_refused(data: st.DataObject) -> None:
    """Wherever one differs, any are missing, or more have come."""
    raw = a_record(an_event("e1"), an_event("e2", kind=Kind.HIDE)).to_bytes()
    place = data.draw(st.integers(0, len(raw) - 1))
    other = data.draw(st.binary(max_size=3).filter(lambda new: new != raw[place : place + 1]))
    damaged = raw[:place] + other + raw[place + 1 :]
    if damaged != raw:
        with pytest.raises(RecordDamaged):
            Record.of(damaged)


@given(st.binary())
def test_what_is_no_record_is_refused(raw: bytes) -> None:
    """Random bytes, also behind a sound checksum."""
    for whole in (raw, b"%08x" % crc32(raw) + raw):
        with pytest.raises(RecordDamaged):
            Record.of(whole)


@pytest.mark.parametrize(
    "head", [[2, 0.0, 0.0, {}, {}], [1, 0.0, {}, {}], 7, None, {}, "what?", ["1"] * 5]
)
def test_of_another_format_nothing_is_read(head: object) -> None:
    """However sound the bytes are."""
    body = orjson.dumps(head)
    with pytest.raises(RecordDamaged):
        Record.of(b"%08x" % crc32(body) + body)


def test_of_nobody_nothing_is_kept() -> None:
    """An empty record says so, also as bytes."""
    assert Record().is_empty
    assert Record.of(Record().to_bytes()) == Record()
    assert Record().history(50) == []
