"""The MIND export: impressions and clicks as they were sent, histories as they were then."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contract.article import Impression
from contract.mind import MindFolder, read_folder
from service.adapters.memory_store import MemoryStore
from service.errors import StoreUnavailable
from service.mind_export import HISTORY, told
from service.mind_folder import Exported, NothingShown, Period, export
from service.readers import Event, Kind, Record, taken
from tests.service.fakes import NOW, SPACE, a_publication

TTL_S = 30 * 86_400.0
SEEDS = range(6)


def shown(event_id: str, at: float, *ids: str, request: str = "") -> Event:
    """Build an impression."""
    return Event(Kind.IMPRESSION, event_id, NOW + at, ids, request)


def clicked(article_id: str, at: float, request: str = "", kind: Kind = Kind.CLICK) -> Event:
    """Build a click, or another thing that is done with one article."""
    return Event(kind, f"{kind} {article_id} {at}", NOW + at, (article_id,), request)


def a_record(*events: Event, now: float = NOW + 3_600) -> Record:
    """Build the record of a reader who sent these events."""
    raw = taken(Record(), events, now=now, ttl_s=TTL_S).raw
    return Record.of(raw) if raw else Record()


def clicks_of(*events: Event) -> dict[str, list[str]]:
    """Return what was clicked in each impression by its id, as exported."""
    return {
        one.impression.id: [
            i for i, c in zip(one.impression.candidates, one.impression.clicks, strict=True) if c
        ]
        for one in told("u", a_record(*events)).shown
    }


def history_of(*events: Event) -> tuple[str, ...]:
    """Return the history of the only impression."""
    (one,) = told("u", a_record(*events)).shown
    return one.impression.history


def test_a_click_falls_on_the_latest_impression_before_it_that_shows_the_article() -> None:
    """Neither on a later one, nor on one that shows other articles."""
    seen = [shown("1", 10, "A", "B"), shown("2", 20, "A"), shown("3", 30, "B"), shown("4", 50, "A")]
    assert clicks_of(*seen, clicked("A", 40)) == {"1": [], "2": ["A"], "3": [], "4": []}
    assert clicks_of(*seen, clicked("A", 20)) == {"1": [], "2": ["A"], "3": [], "4": []}


def test_a_click_that_names_an_answer_falls_on_its_impression() -> None:
    """Whatever was shown since, and whatever the clocks say."""
    seen = [shown("1", 10, "A", request="r1"), shown("2", 20, "A", request="r2")]
    for at in (5, 15, 40):
        assert clicks_of(*seen, clicked("A", at, "r1")) == {"1": ["A"], "2": []}


def test_of_two_impressions_of_one_answer_the_latest_before_the_click_counts() -> None:
    """A page drawn twice is shown twice."""
    seen = [shown("1", 10, "A", request="r"), shown("2", 20, "A", request="r")]
    assert clicks_of(*seen, clicked("A", 15, "r")) == {"1": ["A"], "2": []}
    assert clicks_of(*seen, clicked("A", 25, "r")) == {"1": [], "2": ["A"]}
    assert clicks_of(*seen, clicked("A", 5, "r")) == {"1": ["A"], "2": []}


def test_what_exploration_appends_to_an_answers_name_may_be_missing() -> None:
    """Either side; but the whole name counts first."""
    explored, plain = shown("1", 10, "A", request="r.token"), shown("2", 20, "A", request="q")
    assert clicks_of(explored, plain, clicked("A", 30, "r")) == {"1": ["A"], "2": []}
    bare = shown("1", 10, "A", request="r")
    assert clicks_of(bare, plain, clicked("A", 30, "r.token")) == {"1": ["A"], "2": []}
    other = shown("2", 20, "A", request="r.other")
    assert clicks_of(explored, other, clicked("A", 30, "r.token")) == {"1": ["A"], "2": []}


def test_an_answer_that_did_not_show_the_article_leaves_it_to_time() -> None:
    """Nor does an unknown one."""
    seen = [shown("1", 10, "A"), shown("2", 20, "B", request="r")]
    for request in ("r", "unknown"):
        assert clicks_of(*seen, clicked("A", 30, request)) == {"1": ["A"], "2": []}


def test_a_click_on_what_was_not_shown_before_is_a_stray() -> None:
    """It is in histories alone."""
    events = [clicked("A", 5), shown("1", 10, "A", "B"), clicked("C", 20), shown("2", 30, "B")]
    found = told("u", a_record(*events))
    assert [click.ids for click in found.strays] == [("A",), ("C",)]
    assert [one.impression.history for one in found.shown] == [("A",), ("A", "C")]
    assert not any(any(one.impression.clicks) for one in found.shown)


def test_a_history_is_what_was_read_strictly_before() -> None:
    """Clicks and reads, each once, what was read last at the end; what was hidden is not read."""
    events = [
        clicked("A", 1),
        clicked("B", 2, kind=Kind.READ),
        clicked("C", 3, kind=Kind.HIDE),
        clicked("A", 4),
        clicked("D", 10),
        clicked("E", 11),
        shown("1", 10, "X"),
    ]
    assert history_of(*events) == ("B", "A")


def test_what_is_read_at_one_time_goes_by_id() -> None:
    """As the history of a recommendation does."""
    assert history_of(clicked("B", 1), clicked("A", 1), shown("1", 2, "X")) == ("A", "B")


def test_a_history_ends_with_the_last_fifty() -> None:
    """More no model is given."""
    read = [clicked(f"N{n}", n) for n in range(60)]
    assert history_of(*read, shown("1", 100, "X")) == tuple(f"N{n}" for n in range(10, 60))
    assert HISTORY == 50


def test_what_a_full_record_let_go_of_still_counts_in_histories() -> None:
    """With the latest time of each article, which is all that is known."""
    many = [shown(f"{n:03}", 10 + n, *(f"N{n}-{i}" for i in range(99))) for n in range(120)]
    record = a_record(clicked("A", 1), *many)
    assert record.events[0].kind is Kind.IMPRESSION
    found = told("u", record).shown
    assert 0 < len(found) < 120
    assert {one.impression.history for one in found} == {("A",)}


@dataclass
class FakeSource:
    """Records as bytes in batches, and the articles of a memory store."""

    records: Mapping[str, bytes] = field(default_factory=dict)
    articles: MemoryStore = field(default_factory=MemoryStore)
    is_down: bool = False
    again: Mapping[str, bytes] = field(default_factory=dict)

    def readers(self) -> Iterator[Mapping[str, bytes]]:
        """Read all records, one a batch; where the store is down, only the first."""
        for pseudonym, raw in self.records.items():
            yield {pseudonym: raw}
            if self.is_down:
                raise StoreUnavailable("the store does not answer")
        yield self.again

    def __getattr__(self, name: str) -> Any:
        return getattr(self.articles, name)


def exported(source: FakeSource, target: Path, **options: Any) -> Exported:
    """Export all there is, unless told otherwise."""
    defaults = {"period": Period(), "propensities": lambda *_: {}, "earliest": 0.0}
    return export(source, target, **{**defaults, **options})  # type: ignore[arg-type]


def a_source(**readers: Sequence[Event]) -> FakeSource:
    """Build a source of readers by pseudonym, with the articles A and B."""
    source = FakeSource({name: a_record(*events).to_bytes() for name, events in readers.items()})
    source.articles.publish([a_publication(i) for i in ("B", "A")], namespace=SPACE, now=NOW)
    return source


@pytest.mark.parametrize("seed", SEEDS)
def test_a_folder_holds_exactly_what_was_sent(seed: int, tmp_path: Path) -> None:
    """Events in any order, many of them twice: the same impressions, clicks and histories."""
    rng = random.Random(seed)
    sent = {f"{n:032x}": life(rng, n) for n in range(20)}
    source = FakeSource({user: kept(events, rng) for user, (events, _) in sent.items()})
    counts = exported(source, tmp_path / "mind")
    folder = read_folder(tmp_path / "mind")
    truth = [one for _, impressions in sent.values() for one in impressions]
    assert len(folder.impressions) == len(truth) == counts.impressions
    assert by_key(folder.impressions) == by_key(truth)
    assert counts.clicks == sum(sum(one.clicks) for one in truth) > 0


def life(rng: random.Random, number: int) -> tuple[list[Event], list[Impression]]:
    """Make what a reader sends, and what is true of it, histories by an oracle of their own."""
    at, events, choices = NOW - 10**6 * rng.random(), list[Event](), []
    for visit in range(rng.randint(1, 12)):
        at += rng.choice((0.25, 1.0, 900.0))
        ids = tuple(f"N{i}" for i in rng.sample(range(80), rng.randint(1, 10)))
        request = f"{number}-{visit}" if rng.random() < 0.5 else ""
        events.append(Event(Kind.IMPRESSION, f"{number}-{visit}", at, ids, request))
        liked = {i for i in ids if rng.random() < 0.3}
        choices.append((events[-1], liked))
        for i in liked:
            # Without a name it comes before the next impression, with one at any time.
            late = rng.choice((0.125, -3.0, 5_000.0)) if request else 0.125
            events.append(Event(Kind.CLICK, f"c{visit} {i}", at + late, (i,), request))
        if rng.random() < 0.5:
            read = f"N{rng.randrange(80)}"
            events.append(Event(Kind.READ, f"r{visit}", at + rng.random(), (read,)))
    user = f"{number:032x}"
    return events, [true_impression(user, event, liked, events) for event, liked in choices]


def true_impression(user: str, event: Event, liked: set[str], events: list[Event]) -> Impression:
    """Say what an impression was, its history by going through everything."""
    read: dict[str, float] = {}
    for one in events:
        if one.kind in (Kind.CLICK, Kind.READ) and one.at < event.at:
            read[one.ids[0]] = max(one.at, read.get(one.ids[0], 0.0))
    last = sorted(read, key=lambda i: (read[i], i))[-50:]
    time = datetime.fromtimestamp(int(event.at), UTC).replace(tzinfo=None)
    return Impression(
        event.id, user, time, tuple(last), event.ids, tuple(i in liked for i in event.ids)
    )


def kept(events: list[Event], rng: random.Random) -> bytes:
    """Send events in any order, in parts, a third of them again; return the record."""
    order = rng.sample([*events, *rng.sample(events, len(events) // 3)], k=4 * len(events) // 3)
    raw = Record().to_bytes()
    while order:
        part, order = order[:7], order[7:]
        raw = taken(Record.of(raw), part, now=NOW + 10**5, ttl_s=TTL_S).raw or raw
    return raw


def by_key(impressions: Sequence[Impression]) -> dict[tuple[str, str], Impression]:
    """Return impressions by user and id; none may come twice."""
    found = {(one.user_id, one.id): one for one in impressions}
    assert len(found) == len(impressions)
    return found


def test_impressions_go_by_time_then_id(tmp_path: Path) -> None:
    """To parts of a second, although the file tells whole ones; readers who share an id too."""
    source = a_source(
        u=[shown("1", 0.75, "A"), shown("3", 0.5, "A"), shown("2", 0.5, "A")],
        t=[shown("4", 0.25, "A"), shown("5", 0.5, "A"), shown("2", 0.5, "A")],
    )
    exported(source, tmp_path / "mind")
    folder = read_folder(tmp_path / "mind")
    found = [(one.id, one.user_id) for one in folder.impressions]
    assert found == [("4", "t"), ("2", "t"), ("2", "u"), ("3", "u"), ("5", "t"), ("1", "u")]
    assert {str(one.time) for one in folder.impressions} == {"2027-01-15 08:00:00"}


def test_the_articles_mentioned_are_there_by_id(tmp_path: Path) -> None:
    """Not those that nobody saw; what is taken down or unknown is counted."""
    several = [f"N{n}" for n in range(8)]
    source = a_source(u=[clicked("B", 1), shown("1", 2, *several[::-1], "Gone", "Never")])
    others = [a_publication(i) for i in ("Unseen", "Gone", *several)]
    source.articles.publish(others, namespace=SPACE, now=NOW)
    source.articles.take_down("Gone")
    counts = exported(source, tmp_path / "mind")
    folder = read_folder(tmp_path / "mind")
    assert [article.id for article in folder.articles] == ["B", *several]
    assert (counts.articles, counts.gone, folder.report.unknown_ids) == (9, 2, 2)


@pytest.mark.parametrize(
    ("period", "ids"),
    [
        (Period(), ["1", "2", "3"]),
        (Period(since=NOW + 20), ["2", "3"]),
        (Period(until=NOW + 20), ["1"]),
        (Period(NOW + 15, NOW + 25), ["2"]),
    ],
)
def test_a_period_has_its_first_moment_and_not_its_end(
    period: Period, ids: list[str], tmp_path: Path
) -> None:
    """Histories and clicks are the same in it."""
    events = [shown(str(n), 10 * n, "A", "B") for n in (1, 2, 3)]
    source = a_source(u=[*events, clicked("B", 12), clicked("A", 21), clicked("C", 22)])
    counts = exported(source, tmp_path / "part", period=period)
    exported(source, tmp_path / "whole")
    part, whole = (read_folder(tmp_path / name) for name in ("part", "whole"))
    assert part.impressions == [one for one in whole.impressions if one.id in ids]
    assert (counts.impressions, counts.readers) == (len(ids), 1)
    assert counts.strays == (NOW + 22 in period)


def test_what_is_too_old_is_not_exported(tmp_path: Path) -> None:
    """Neither as an impression nor in a history."""
    source = a_source(u=[clicked("A", 1), shown("1", 2, "A"), shown("2", 9, "A")])
    exported(source, tmp_path / "mind", earliest=NOW + 5)
    assert [(i.id, i.history) for i in read_folder(tmp_path / "mind").impressions] == [("2", ())]


def test_propensities_stand_beside_where_an_answer_explored(tmp_path: Path) -> None:
    """Impression, reader, and the propensity of each article that is known."""
    asked = []

    def told_by(request: str, ids: Sequence[str]) -> dict[str, float]:
        asked.append((request, tuple(ids)))
        return {"B": 0.25, "A": 1 / 3} if request == "r.token" else {}

    events = [shown("1", 1, "A", "B", "C", request="r.token"), shown("2", 2, "A", request="q")]
    counts = exported(
        a_source(u=[*events, shown("3", 3, "A")]), tmp_path / "mind", propensities=told_by
    )
    lines = (tmp_path / "mind" / "propensities.tsv").read_text()
    assert lines == "1\tu\tA:0.333333333 B:0.25\n"
    assert asked == [("r.token", ("A", "B", "C")), ("q", ("A",))]
    assert counts.explored == 1


def test_without_exploration_there_is_no_file_of_propensities(tmp_path: Path) -> None:
    """Only what any MIND folder has."""
    exported(a_source(u=[shown("1", 1, "A")]), tmp_path / "mind")
    assert names_in(tmp_path / "mind") == ["behaviors.tsv", "news.tsv"]


def test_a_damaged_record_is_passed_over(tmp_path: Path) -> None:
    """And counted: the others are exported."""
    source = a_source(u=[shown("1", 1, "A")])
    source.records = {"broken": b"nonsense", **source.records}
    counts = exported(source, tmp_path / "mind")
    assert (counts.damaged, counts.impressions) == (1, 1)
    assert "1 damaged records" in counts.line()


def test_a_reader_who_comes_twice_is_exported_once(tmp_path: Path) -> None:
    """Stores may give a record again that was written while they were read."""
    source = a_source(u=[shown("1", 1, "A")])
    source.again = a_source(u=[shown("1", 1, "A"), shown("2", 2, "A")]).records
    counts = exported(source, tmp_path / "mind")
    assert len(read_folder(tmp_path / "mind").impressions) == counts.impressions == counts.readers


def test_a_folder_with_anything_in_it_is_kept(tmp_path: Path) -> None:
    """Also an earlier export: it may be the only copy of somebody's clicks."""
    source = a_source(u=[shown("1", 1, "A")])
    exported(source, tmp_path / "mind")
    before = content(tmp_path / "mind")
    with pytest.raises(FileExistsError, match="not empty"):
        exported(source, tmp_path / "mind")
    assert content(tmp_path / "mind") == before


def test_an_empty_folder_is_filled_and_missing_parents_are_made(tmp_path: Path) -> None:
    """Nothing else is left beside it."""
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new", "far/off"):
        exported(a_source(u=[shown("1", 1, "A")]), tmp_path / name)
    assert content(tmp_path / "empty") == content(tmp_path / "new")
    assert content(tmp_path / "far" / "off") == content(tmp_path / "new")
    assert names_in(tmp_path) == ["empty", "far", "new"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    """Half an export would pass for a whole one."""
    source = a_source(u=[shown("1", 1, "A")], t=[shown("2", 2, "B")])
    source.is_down = True
    with pytest.raises(StoreUnavailable):
        exported(source, tmp_path / "far" / "mind")
    assert names_in(tmp_path) == []


def test_without_impressions_there_is_no_folder(tmp_path: Path) -> None:
    """Nothing can be learnt from it; damaged records may be why."""
    source = a_source(u=[clicked("A", 1), shown("1", 2, "A")])
    source.records = {"broken": b"nonsense", **source.records}
    with pytest.raises(NothingShown, match="no impressions in the period; 1 damaged records"):
        exported(source, tmp_path / "far" / "mind", period=Period(NOW + 3))
    assert names_in(tmp_path) == []


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder, hidden ones too."""
    return sorted(entry.name for entry in folder.iterdir())


def content(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder."""
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


def test_a_training_run_would_read_it(tmp_path: Path) -> None:
    """Unknown ids and all: the reader of training and the reader of the contract agree."""
    source = a_source(u=[clicked("Gone", 1), shown("1", 2, "A", "B", "Gone"), clicked("A", 3)])
    exported(source, tmp_path / "mind")
    from training.click_log import read_click_log

    log, folder = read_click_log(tmp_path / "mind"), MindFolder([], [])
    folder = read_folder(tmp_path / "mind")
    assert log.report == folder.report
    (one,) = folder.impressions
    assert (one.history, one.candidates, one.clicks) == (
        ("Gone",),
        ("A", "B", "Gone"),
        (True, False, False),
    )
