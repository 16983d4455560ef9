"""Snapshots: whatever comes in whatever order, they equal a plain model and never change."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.catalogue import Catalogue
from service.criteria import Criteria
from service.id_table import ABSENT
from service.popularity import PopularityUpdate
from service.ports import StoredArticle
from service.snapshot import Liveness, Snapshot
from tests.service.fakes import ACTIVATION, DIM, HOUR, NOW, a_catalogue_with, a_stored, a_take_down

IDS = ("N1", "N2", "N3", "N4", "N5")
TOPICS = ("sports", "politics")


@dataclass
class Model:
    """What a catalogue is meant to hold: of each id the newest that was delivered."""

    newest: dict[str, StoredArticle]

    def apply(self, stored: StoredArticle) -> None:
        """Take the higher version, or the vector that came later for the same one."""
        known = self.newest.get(stored.id)
        is_filled = known is not None and known.vector is None and stored.vector is not None
        if (
            known is None
            or stored.version > known.version
            or (stored.version == known.version and is_filled)
        ):
            self.newest[stored.id] = stored

    def shown(self) -> dict[str, StoredArticle]:
        """Return those that a snapshot shows: not taken down, with a vector."""
        return {i: s for i, s in self.newest.items() if s.article and s.vector is not None}


def content(snapshot: Snapshot) -> dict[str, Any]:
    """Say all that a snapshot answers about its articles, as plain values."""
    rows = np.flatnonzero(snapshot.is_current)
    facts = [snapshot.columns.facts[row] for row in rows]
    return {
        f.id: (
            f,
            snapshot.row(f.id) == row,
            snapshot.vectors[row].tolist(),
            float(snapshot.popularity[row]),
            float(snapshot.columns.published[row]),
            bool(snapshot.live(NOW)[row]),
            bool(snapshot.eligible(Criteria(topics=frozenset({"sports"})), NOW)[row]),
        )
        for f, row in zip(facts, rows.tolist(), strict=True)
    }


def equals(snapshot: Snapshot, model: Model) -> bool:
    """Say whether a snapshot shows exactly the model's articles, in their newest versions."""
    shown, held = model.shown(), content(snapshot)
    return (
        held.keys() == shown.keys()
        and snapshot.size == len(shown)
        and all(snapshot.row(i) == ABSENT for i in IDS if i not in shown)
        and snapshot.look_up(IDS).tolist() == [snapshot.row(i) for i in IDS]
        and all(
            held[i][:3] == (held[i][0], True, s.vector.tolist())  # type: ignore[union-attr]
            and (held[i][0].version, held[i][0].title) == (s.version, s.article.title)  # type: ignore[union-attr]
            for i, s in shown.items()
        )
    )


def one_version(article_id: str, version: int, kind: str) -> list[StoredArticle]:
    """List what readers may see of one version, in the order in which the store has it."""
    if kind == "take-down":
        return [a_take_down(article_id, version)]
    topic = TOPICS[version % 2]
    whole = a_stored(article_id, version=version, title=f"Title {version}", topic=topic)
    if kind == "whole":
        return [whole]
    bare = a_stored(
        article_id, version=version, title=whole.article.title, topic=topic, vector=None
    )  # type: ignore[union-attr]
    return [bare, whole] if kind == "filled" else [bare]


@st.composite
def deliveries(draw: st.DrawFn) -> list[list[StoredArticle]]:
    """Draw histories of a few ids, delivered in random order, with repeats, in random chunks."""
    kinds = st.sampled_from(["whole", "whole", "bare", "filled", "take-down"])
    history = draw(st.lists(st.tuples(st.sampled_from(IDS), kinds), max_size=30))
    versions: dict[str, int] = {}
    all_seen: list[StoredArticle] = []
    for article_id, kind in history:
        versions[article_id] = versions.get(article_id, 0) + 1
        all_seen += one_version(article_id, versions[article_id], kind)
    chaos = random.Random(draw(st.integers(0, 2**32)))
    order = [*all_seen, *chaos.choices(all_seen, k=len(all_seen))] if all_seen else []
    chaos.shuffle(order)
    size = draw(st.integers(1, 8))
    return [order[start : start + size] for start in range(0, len(order), size)]


@settings(deadline=None, max_examples=60)
@given(chunks=deliveries(), merge_rows=st.sampled_from([0, 1, 3, 2_000]))
def test_any_order_of_any_changes_equals_a_plain_model(
    chunks: list[list[StoredArticle]], merge_rows: int
) -> None:
    """Duplicates, stale versions and late vectors change nothing; old snapshots never change."""
    catalogue = Catalogue(ACTIVATION, DIM, history_ttl_s=HOUR, merge_rows=merge_rows)
    catalogue.set_popularity(PopularityUpdate({"N1": 1.5, "N3": 0.0}))
    model, pinned = Model({}), [(catalogue.current, content(catalogue.current))]
    for chunk in chunks:
        for stored in chunk:
            model.apply(stored)
        catalogue.apply(chunk, NOW)
        assert equals(catalogue.current, model)
        pinned.append((catalogue.current, content(catalogue.current)))
    assert all(content(snapshot) == before for snapshot, before in pinned)


def test_a_model_that_differs_is_noticed() -> None:
    """The comparison above can fail: on a missing, a surplus and an old article."""
    catalogue = a_catalogue_with(a_stored("N1", version=2))
    assert equals(catalogue.current, Model({"N1": a_stored("N1", version=2)}))
    assert not equals(catalogue.current, Model({}))
    assert not equals(catalogue.current, Model({"N1": a_stored("N1", version=1)}))
    assert not equals(catalogue.current, Model({i: a_stored(i, version=2) for i in ("N1", "N2")}))


def test_a_pinned_snapshot_shares_its_memory_with_the_next() -> None:
    """Adding one article copies no vectors, yet the old snapshot does not see it."""
    catalogue = a_catalogue_with(a_stored("N1"))
    pinned = catalogue.current
    catalogue.apply([a_stored("N2")], NOW)
    assert np.shares_memory(pinned.columns.vectors, catalogue.current.columns.vectors)
    assert (pinned.size, catalogue.current.size) == (1, 2)
    assert pinned.row("N2") == ABSENT


def test_popularity_set_later_is_not_seen_by_a_pinned_snapshot() -> None:
    """A request ranks by one popularity from start to end."""
    catalogue = a_catalogue_with(a_stored("N1"))
    pinned = catalogue.current
    catalogue.set_popularity(PopularityUpdate({"N1": 2.0}))
    assert pinned.popularity.tolist() == [-np.inf]
    assert catalogue.current.popularity.tolist() == [2.0]


def test_unknown_ids_have_no_row() -> None:
    """Ids of nothing are passed over, in order."""
    snapshot = a_catalogue_with(a_stored("N1"), a_stored("N2")).current
    assert snapshot.row("nothing") == ABSENT
    assert snapshot.rows(["N2", "nothing", "N1", "N2"]).tolist() == [1, 0, 1]
    assert snapshot.look_up(["N2", "nothing", "N1"]).tolist() == [1, ABSENT, 0]


@pytest.mark.parametrize(
    ("fields", "is_live"),
    [
        ({}, True),
        ({"embargo_until": "2027-01-15T08:00:00Z"}, True),
        ({"embargo_until": "2027-01-15T08:00:01Z"}, False),
        ({"expires_at": "2027-01-15T08:00:01Z"}, True),
        ({"expires_at": "2027-01-15T08:00:00Z"}, False),
    ],
)
def test_an_article_is_live_from_its_embargo_until_before_its_expiry(
    fields: dict[str, str], is_live: bool
) -> None:
    """2027-01-15T08:00:00Z is the request's time: an embargo ends and an expiry begins then."""
    snapshot = a_catalogue_with(a_stored("N1", **fields)).current
    assert snapshot.live(NOW).tolist() == [is_live]
    assert snapshot.shown(np.array([0, ABSENT, 0]), NOW).tolist() == [is_live, False, is_live]


def some_turns(count: int) -> Catalogue:
    """Build articles whose embargoes and expiries lie in the seconds around NOW."""
    chaos = random.Random(5)
    stored = []
    for n in range(count):
        first, second = sorted(chaos.choices(range(-10, 11), k=2))
        times = {
            "embargo_until": datetime.fromtimestamp(NOW + first, UTC),
            "expires_at": datetime.fromtimestamp(NOW + second, UTC),
        }
        stored.append(a_stored(f"N{n}", **{k: t for k, t in times.items() if chaos.random() < 0.7}))
    return a_catalogue_with(*stored)


def plainly_live(snapshot: Snapshot, now: float) -> list[bool]:
    """Say which rows are live, one by one."""
    embargo, expires = snapshot.columns.embargo, snapshot.columns.expires
    return [
        bool(is_current and embargo[row] <= now < expires[row])
        for row, is_current in enumerate(snapshot.is_current)
    ]


def test_the_live_rows_are_right_at_every_second_in_any_order() -> None:
    """What is remembered of one time never answers for another, not even for an earlier one."""
    snapshot = some_turns(60).current
    times = [NOW + half / 2 for half in range(-24, 25)]
    random.Random(3).shuffle(times)
    for now in [*times, *sorted(times), *sorted(times, reverse=True)]:
        assert snapshot.live(now).tolist() == plainly_live(snapshot, now)
        assert snapshot.shown(np.arange(60), now).tolist() == plainly_live(snapshot, now)


def test_of_no_articles_none_may_be_shown() -> None:
    """Whatever is asked of a catalogue without a row."""
    snapshot = a_catalogue_with().current
    assert snapshot.shown(np.array([ABSENT, ABSENT]), NOW).tolist() == [False, False]
    assert snapshot.shown(np.array([], np.intp), NOW).tolist() == []
    assert snapshot.look_up(["N1"]).tolist() == [ABSENT]


def test_the_live_rows_are_worked_out_again_only_when_one_turns() -> None:
    """Between two turns the very same mask is read."""
    snapshot = a_catalogue_with(
        a_stored("N1", embargo_until=datetime.fromtimestamp(NOW + 5, UTC)), a_stored("N2")
    ).current
    liveness = Liveness()
    before = liveness.at(NOW, snapshot)
    assert liveness.at(NOW + 4.9, snapshot) is before
    after = liveness.at(NOW + 5, snapshot)
    assert (before.tolist(), after.tolist()) == ([False, True], [True, True])
    assert liveness.at(NOW + HOUR, snapshot) is after
    assert liveness.at(NOW, snapshot).tolist() == before.tolist()


def test_a_live_mask_is_the_callers_own() -> None:
    """What a request takes out of its mask stays in everybody else's."""
    snapshot = a_catalogue_with(a_stored("N1")).current
    snapshot.live(NOW)[:] = False
    snapshot.eligible(Criteria(), NOW)[:] = False
    assert snapshot.live(NOW).tolist() == [True]


def test_the_next_snapshot_remembers_nothing_of_the_last() -> None:
    """A take-down and an addition count at once, though no time has passed."""
    catalogue = a_catalogue_with(a_stored("N1"))
    assert catalogue.current.live(NOW).tolist() == [True]
    catalogue.apply([a_take_down("N1"), a_stored("N2")], NOW)
    assert catalogue.current.live(NOW).tolist() == [False, True]


def test_readers_at_once_get_sound_masks() -> None:
    """Threads that ask one snapshot for different times never get each other's answer."""
    snapshot = some_turns(200).current
    truth = {NOW + s: plainly_live(snapshot, NOW + s) for s in range(-12, 13)}

    def asks(seed: int) -> bool:
        times = random.Random(seed).choices(list(truth), k=300)
        return all(snapshot.live(now).tolist() == truth[now] for now in times)

    with ThreadPoolExecutor(4) as readers:
        assert all(readers.map(asks, range(8)))


def test_an_expired_article_counts_in_histories_until_its_time_to_live_ends() -> None:
    """At the very second after expiry plus history_ttl it counts no more, merged or not."""
    expires_at = datetime.fromtimestamp(NOW, UTC)
    snapshot = a_catalogue_with(a_stored("N1"), a_stored("N2", expires_at=expires_at)).current
    ids = ["N2", "nothing", "N1", "N2"]
    assert snapshot.history_rows(ids, NOW + 9, ttl_s=10).tolist() == [1, 0, 1]
    assert snapshot.history_rows(ids, NOW + 10, ttl_s=10).tolist() == [0]
    assert snapshot.history_rows([], NOW, ttl_s=10).tolist() == []


def test_an_unknown_article_counts_in_no_history() -> None:
    """Not even where the catalogue has no row to spare, and ABSENT would be the last article."""
    catalogue = Catalogue(ACTIVATION, DIM, history_ttl_s=HOUR, merge_rows=0)
    catalogue.load([[a_stored("N1"), a_stored("N2")]], NOW)
    snapshot = catalogue.current
    assert snapshot.columns.room == 0
    assert snapshot.history_rows(["nothing", "N1"], NOW, ttl_s=10).tolist() == [0]
    assert snapshot.still_read(np.array([ABSENT, 1]), NOW, ttl_s=10).tolist() == [1]


def test_each_filter_leaves_what_passes_it_and_all_together_what_passes_all() -> None:
    """Topics, sources and languages are sets of exact names; an empty set admits everything."""
    snapshot = a_catalogue_with(
        a_stored("N1", topic="sports", source="wire", language="en"),
        a_stored("N2", topic="sports", source="desk", language="de"),
        a_stored("N3", topic="", source="wire", language="de"),
    ).current

    def passing(**names: set[str]) -> list[bool]:
        criteria = Criteria(**{k: frozenset(v) for k, v in names.items()})  # type: ignore[arg-type]
        return snapshot.eligible(criteria, NOW).tolist()

    assert passing() == [True, True, True]
    assert passing(topics={"sports"}) == [True, True, False]
    assert passing(sources={"wire"}) == [True, False, True]
    assert passing(languages={"de", "fr"}) == [False, True, True]
    assert passing(topics={"sports"}, sources={"wire"}, languages={"en"}) == [True, False, False]
    assert passing(topics={"Sports"}) == passing(topics={"unheard of"}) == [False] * 3
    assert passing(topics={""}) == [False, False, True]


def test_published_after_is_exclusive_and_no_article_of_unknown_time_passes() -> None:
    """An article that states no time is stamped with the time first seen, yet never passes."""
    snapshot = a_catalogue_with(
        a_stored("N1", published_at="2027-01-15T08:00:00Z"),
        a_stored("N2", published_at="2027-01-15T08:00:01Z"),
        a_stored("N3", first_seen=NOW + 10),
    ).current
    assert snapshot.columns.published.tolist()[:3] == [NOW, NOW + 1, NOW + 10]
    after = snapshot.eligible(Criteria(published_after=NOW), NOW)
    assert after.tolist() == [False, True, False]
