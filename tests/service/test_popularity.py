"""Popularity: an import and the clicks of feedback in one sum that cools as time goes on."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import exp, inf, log

import numpy as np
import pytest

from service.adapters.memory_store import MemoryStore
from service.catalogue import Catalogue
from service.decay import SPAN, Decay
from service.errors import StoreUnavailable
from service.popularity import PopularityReader, PopularityUpdate
from service.ports import Amendment, Span
from tests.service.fakes import (
    ACTIVATION,
    DIM,
    HOUR,
    NOW,
    FlakyStore,
    a_catalogue_with,
    a_stored,
    a_take_down,
)

HALF_LIFE_S = HOUR
DECAY = Decay(HALF_LIFE_S)
IMPORTED = {"N1": log(8), "N2": log(2)}


def click(store: MemoryStore, clicks: Iterable[tuple[str, float]], now: float) -> None:
    """Count clicks, each on an article at a time, as feedback does."""
    weights: dict[Span, dict[str, float]] = {}
    for article_id, at in clicks:
        sums = weights.setdefault(DECAY.span(at), {})
        sums[article_id] = sums.get(article_id, 0.0) + DECAY.weight(at)
    made = Amendment({}, weights, {})
    store.amend(["somebody"], lambda _: made, expires_at=now + HOUR, now=now)


def whole(store: MemoryStore, now: float) -> dict[str, float]:
    """Read all weights as they are now, as a process does that has just started."""
    update = PopularityReader(DECAY).read(store, now)
    assert update is not None
    assert update.is_whole
    return counts(update)


def counts(update: PopularityUpdate) -> dict[str, float]:
    """Return what clicks weigh now: an article never clicked weighs nothing."""
    return {i: exp(weight - update.cooling) for i, weight in update.weights.items()}


def naive(clicks: Iterable[tuple[str, float]], now: float) -> dict[str, float]:
    """Sum decayed clicks one by one."""
    sums: dict[str, float] = {}
    for article_id, at in clicks:
        sums[article_id] = sums.get(article_id, 0.0) + 2 ** ((at - now) / HALF_LIFE_S)
    return sums


def near(right: Mapping[str, float]) -> object:
    """Compare to one part in a thousand million."""
    return pytest.approx(dict(right), rel=1e-9, abs=1e-300)


# --- what is read ---------------------------------------------------------------------------------


def test_an_import_alone_never_cools() -> None:
    """Its weights are those imported, to the last digit, however long ago that was."""
    store, reader = MemoryStore(), PopularityReader(DECAY)
    store.replace_popularity(IMPORTED, at=NOW)
    later = NOW + 1_000 * HOUR
    assert reader.read(store, later) == PopularityUpdate(IMPORTED)
    assert reader.read(store, later + HOUR) is None
    assert reader.read(store, later + 1_000 * HOUR) in (None, PopularityUpdate(IMPORTED))


def test_of_a_store_without_any_clicks_all_is_told_once() -> None:
    """Nothing, that is; what was shown before does not stay."""
    store, reader = MemoryStore(), PopularityReader(DECAY)
    assert reader.read(store, NOW) == PopularityUpdate({})
    assert reader.read(store, NOW) is None
    assert reader.revision == 0


def test_clicks_add_up_and_cool() -> None:
    """A click now weighs one, one of a half-life before weighs half of that."""
    store = MemoryStore()
    clicks = [("N1", NOW), ("N1", NOW - HOUR), ("N2", NOW - 3 * HOUR)]
    click(store, clicks, NOW)
    assert whole(store, NOW) == near({"N1": 1.5, "N2": 0.125})
    assert whole(store, NOW + HOUR) == near({"N1": 0.75, "N2": 0.0625})


def test_with_feedback_an_import_cools_from_its_time_on() -> None:
    """Eight clicks of an hour before and one of now are five."""
    store = MemoryStore()
    store.replace_popularity(IMPORTED, at=NOW - HOUR)
    click(store, [("N1", NOW), ("N3", NOW)], NOW)
    assert whole(store, NOW) == near({"N1": 5.0, "N2": 1.0, "N3": 1.0})


def test_the_order_of_articles_does_not_change_as_time_goes_on() -> None:
    """All of them cool alike."""
    store, random = MemoryStore(), np.random.default_rng(0)
    store.replace_popularity({f"N{n}": log(n) for n in range(1, 20)}, at=NOW - 3 * HOUR)
    click(store, [(f"N{n}", NOW - 9 * HOUR * random.random()) for n in range(50)], NOW)
    orders = [
        sorted(weights, key=weights.__getitem__)
        for weights in (whole(store, NOW + hours * HOUR) for hours in (0, 1, 10))
    ]
    assert orders[0] == orders[1] == orders[2]


def test_only_what_changed_is_told_after_the_first_time() -> None:
    """With what all have lost since then."""
    store, reader = MemoryStore(), PopularityReader(DECAY)
    store.replace_popularity(IMPORTED, at=NOW)
    click(store, [("N1", NOW)], NOW)
    reader.read(store, NOW)
    click(store, [("N3", NOW + HOUR)], NOW + HOUR)
    update = reader.read(store, NOW + HOUR)
    assert update is not None
    assert (update.is_whole, counts(update)) == (False, near({"N3": 1.0}))
    assert update.cooling == pytest.approx(log(2))
    later = reader.read(store, NOW + 2 * HOUR)
    assert later == PopularityUpdate({}, 2 * log(2), is_whole=False)


def test_a_new_import_replaces_the_old_one_beside_the_clicks() -> None:
    """Articles that are in neither are told no more."""
    store, reader = MemoryStore(), PopularityReader(DECAY)
    store.replace_popularity(IMPORTED, at=NOW)
    click(store, [("N3", NOW)], NOW)
    reader.read(store, NOW)
    store.replace_popularity({"N4": log(4)}, at=NOW + HOUR)
    update = reader.read(store, NOW + HOUR)
    assert update is not None
    assert update.is_whole
    assert counts(update) == near({"N3": 0.5, "N4": 4.0})
    assert reader.revision == 2


def test_after_a_store_was_lost_nothing_is_missing() -> None:
    """What could not be read is read the next time, wherever it failed."""
    for method in ("popularity", "clicks"):
        store, reader = FlakyStore(), PopularityReader(DECAY)
        reader.read(store, NOW)
        store.inner.replace_popularity(IMPORTED, at=NOW)
        click(store.inner, [("N1", NOW)], NOW)
        store.refuse(method)
        with pytest.raises(StoreUnavailable):
            reader.read(store, NOW)
        store.before.clear()
        update = reader.read(store, NOW)
        assert update is not None
        assert counts(update) == near({"N1": 9.0, "N2": 2.0})


def test_what_was_forgotten_is_read_anew() -> None:
    """Another store has taken the place of the one read: nothing of that stays."""
    store, other, reader = MemoryStore(), MemoryStore(), PopularityReader(DECAY)
    store.replace_popularity(IMPORTED, at=NOW)
    click(store, [("N1", NOW)], NOW)
    reader.read(store, NOW)
    click(other, [("N9", NOW)], NOW)
    reader.forget()
    update = reader.read(other, NOW)
    assert update is not None
    assert (update.is_whole, counts(update)) == (True, near({"N9": 1.0}))


def test_a_click_from_a_little_ahead_counts_when_its_span_has_begun() -> None:
    """Also where it was written, and passed over, in the span before."""
    store, reader = MemoryStore(), PopularityReader(DECAY)
    edge = DECAY.start(DECAY.span(NOW)) + SPAN * HALF_LIFE_S
    click(store, [("N1", edge - 60), ("N2", edge + 60)], edge - 60)
    reader.read(store, edge - 60)
    update = reader.read(store, edge + 60)
    assert update is not None
    assert counts(update) == near(naive([("N1", edge - 60), ("N2", edge + 60)], edge + 60))


def test_clicks_of_long_ago_are_let_go_of() -> None:
    """Once their span is over; without any others time stands still again."""
    store, reader = MemoryStore(), PopularityReader(DECAY)
    store.replace_popularity(IMPORTED, at=NOW)
    click(store, [("N3", NOW)], NOW)
    reader.read(store, NOW)
    assert reader.read(store, NOW + 2 * SPAN * HALF_LIFE_S) == PopularityUpdate(IMPORTED)


# --- what a catalogue makes of it -----------------------------------------------------------------


def shown(catalogue: Catalogue) -> dict[str, float]:
    """Return what the clicks of articles weigh in a snapshot, without those never clicked."""
    snapshot = catalogue.current
    weights = {
        snapshot.columns.facts[row].id: float(snapshot.popularity[row]) - snapshot.cooling
        for row in np.flatnonzero(snapshot.is_current)
    }
    return {i: exp(weight) for i, weight in weights.items() if weight > -inf}


@pytest.mark.parametrize("seed", range(6))
def test_what_is_shown_is_what_a_whole_recomputation_gives(seed: int) -> None:
    """Whatever came in between: clicks, imports, articles new, changed, gone, merged, restored."""
    random, store, reader = np.random.default_rng(seed), MemoryStore(), PopularityReader(DECAY)
    catalogue = a_catalogue_with(*(a_stored(f"N{n}") for n in range(20)), merge_rows=5)
    live, now = {f"N{n}": 1 for n in range(20)}, NOW
    for _ in range(60):
        now += float(random.exponential(HALF_LIFE_S))
        article_id = f"N{random.integers(0, 40)}"
        act = random.random()
        if act < 0.5:
            clicks = [(f"N{random.integers(0, 40)}", now - HOUR * random.random()) for _ in "123"]
            click(store, clicks, now)
        elif act < 0.55:
            store.replace_popularity({article_id: 2.0, "N1": 1.0}, at=now)
        elif act < 0.8:
            live[article_id] = live.get(article_id, 0) + 1
            catalogue.apply([a_stored(article_id, version=live[article_id])], now)
        elif act < 0.9 and article_id in live:
            live[article_id] += 1
            catalogue.apply([a_take_down(article_id, live[article_id])], now)
        else:
            catalogue = restored(catalogue)
            reader = PopularityReader(DECAY)
        update = reader.read(store, now)
        if update is not None:
            catalogue.set_popularity(update)
        right = whole(store, now)
        ids = {i for i in right if catalogue.current.row(i) >= 0}
        assert shown(catalogue) == near({i: right[i] for i in ids})


def test_what_has_cooled_stays_so_when_rows_are_merged_or_read_anew() -> None:
    """A snapshot of other rows tells of the same articles the same."""
    catalogue = a_catalogue_with(*(a_stored(f"N{n}") for n in range(9)), merge_rows=2)
    catalogue.set_popularity(PopularityUpdate({"N1": 3.0, "N2": 2.0}, cooling=1.0))
    right = shown(catalogue)
    catalogue.apply([a_stored(f"M{n}") for n in range(9)], NOW)
    assert shown(catalogue) == right
    catalogue.load([[a_stored("N1"), a_stored("N2")]], NOW)
    assert shown(catalogue) == right


def restored(catalogue: Catalogue) -> Catalogue:
    """Go on from what a catalogue has to save; it shows the same, and cools no more by itself."""
    other = Catalogue(ACTIVATION, DIM, history_ttl_s=24 * HOUR, merge_rows=5)
    saved = catalogue.saved(("1",), 0)
    other.restore(
        replace(
            saved,
            columns=saved.columns.taken(saved.rows, other.spare_rows),
            rows=np.arange(len(saved.rows)),
            popularity=saved.popularity[saved.rows],
        )
    )
    assert shown(other) == near(shown(catalogue))
    assert other.current.cooling == 0.0
    return other
