"""A page: one article a story, novelty against score, caps; properties of any page at all."""

from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.diversify import ROUNDING, Choice, Offer, Variety, choose, offered
from tests.service.fakes import HOUR, NOW, a_catalogue_with, a_stored

DAY = 24 * HOUR


@dataclass(frozen=True)
class Case:
    """One thing to choose from, and how."""

    offer: Offer
    n: int
    variety: Variety

    def choose(self) -> Choice:
        """Choose the page."""
        return choose(self.offer, self.n, self.variety)


def an_offer(seed: int, size: int) -> Offer:
    """Draw rows of few directions, so that there are stories; some without time or names."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((max(1, size // 3), 8))
    vectors = centres[random.integers(0, len(centres), size)]
    vectors = vectors + random.choice([0, 0.05, 0.3, 3]) * random.standard_normal((size, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = random.choice([random.normal(0, 3, size), random.integers(0, 3, size)], axis=0)
    published = NOW - random.uniform(0, 6 * DAY, size)
    return Offer(
        order=np.argsort(-scores, kind="stable"),
        scores=scores.astype(np.float64),
        vectors=vectors.astype(np.float32),
        published=np.where(random.random(size) < 0.3, nan, published).take,
        topics=random.integers(-1, 4, size).astype(np.int32).take,
        sources=random.integers(-1, 3, size).astype(np.int32).take,
    )


cases = st.builds(
    Case,
    offer=st.builds(an_offer, st.integers(0, 2**32), st.integers(0, 40)),
    n=st.integers(1, 20),
    variety=st.builds(
        Variety,
        diversity=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
        scale=st.just(5.0),
        same_story=st.sampled_from([inf, 0.96, 0.7, 1.0]),
        window_s=st.sampled_from([inf, 3 * DAY, 0.0]),
        per_topic=st.sampled_from([None, None, 1, 3]),
        per_source=st.sampled_from([None, None, 1, 3]),
    ),
)
properties = settings(max_examples=200, deadline=None)


@properties
@given(cases)
def test_every_row_is_chosen_told_or_left_and_only_once(case: Case) -> None:
    """No duplicates; stories share no article; what is left keeps its order."""
    choice = case.choose()
    used = [place for one in choice.chosen for place in (one.place, *one.also)]
    assert sorted([*used, *choice.left.tolist()]) == list(range(len(case.offer.order)))
    rest = case.offer.order[np.isin(case.offer.order, choice.left)]
    assert choice.left.tolist() == rest.tolist()


@properties
@given(cases)
def test_caps_are_kept(case: Case) -> None:
    """At most so many of a known topic or source; what has no name is never too many."""
    places = [one.place for one in case.choose().chosen]
    for codes, most in (
        (case.offer.topics, case.variety.per_topic),
        (case.offer.sources, case.variety.per_source),
    ):
        named = codes(np.array(places, int))
        named = named[named >= 0]
        assert most is None or np.unique(named, return_counts=True)[1].max(initial=0) <= most


@properties
@given(cases)
def test_a_page_is_full_where_it_can_be(case: Case) -> None:
    """Fewer than n only when every row left is of a full topic or a full source."""
    choice = case.choose()
    assert len(choice.chosen) <= case.n
    if len(choice.chosen) == case.n:
        return
    full = np.zeros(len(case.offer.order), bool)
    for codes, most in (
        (case.offer.topics, case.variety.per_topic),
        (case.offer.sources, case.variety.per_source),
    ):
        chosen = codes(np.array([one.place for one in choice.chosen], int))
        named = codes(np.arange(len(full)))
        counts = np.array([(chosen == code).sum() for code in named], int)
        full |= (named >= 0) & (counts >= (inf if most is None else most))
    assert full[choice.left].all()


@properties
@given(cases)
def test_stories_are_near_in_meaning_and_in_time(case: Case) -> None:
    """Every row told with another is as near as asked, and no row left is, unless it is far off."""
    offer, variety = case.offer, case.variety
    choice = case.choose()
    for one in choice.chosen:
        cosines = offer.vectors.astype(np.float64) @ offer.vectors[one.place]
        published = offer.published(np.arange(len(offer.order)))
        is_apart = np.abs(published - published[one.place]) > variety.window_s
        also, left = list(one.also), choice.left
        assert (cosines[also] >= variety.same_story - 2 * ROUNDING).all()
        assert not is_apart[also].any()
        assert (is_apart[left] | (cosines[left] < variety.same_story)).all()


@properties
@given(cases)
def test_without_diversity_the_order_is_kept(case: Case) -> None:
    """Nothing is lost, and the rows come as offered; with nothing asked, the first n of them."""
    plain = replace(case.variety, diversity=0.0)
    chosen = choose(case.offer, case.n, plain).chosen
    order = case.offer.order.tolist()
    places = [one.place for one in chosen]
    assert places == sorted(places, key=order.index)
    assert [one.penalty for one in chosen] == [0.0] * len(chosen)
    bare = choose(case.offer, case.n, Variety())
    assert [one.place for one in bare.chosen] == order[: case.n]


@properties
@given(cases)
def test_scores_never_rise_along_a_page(case: Case) -> None:
    """What a row lost is told, and best first holds of what remains."""
    chosen = case.choose().chosen
    worth = [case.offer.scores[one.place] - one.penalty for one in chosen]
    rounding = 1e-5 * max(1.0, case.variety.penalty)
    assert all(b <= a + rounding for a, b in pairwise(worth))
    assert all(one.penalty >= 0 for one in chosen)


def a_line(*cosines: float, **changes: Any) -> Offer:
    """Offer rows whose cosines with the first are given, with scores that fall by 0.1."""
    vectors = np.array([[c, (1 - c * c) ** 0.5] for c in cosines], np.float32)
    size = len(cosines)
    offer = Offer(
        order=np.arange(size),
        scores=1 - 0.1 * np.arange(size),
        vectors=vectors,
        published=np.full(size, nan).take,
        topics=np.full(size, -1, np.int32).take,
        sources=np.full(size, -1, np.int32).take,
    )
    return replace(offer, **changes)


def places(choice: Choice) -> list[int]:
    """List what was chosen."""
    return [one.place for one in choice.chosen]


def test_novelty_is_weighed_against_score() -> None:
    """By hand: 0.5 * 0.9 - 0.5 * 0.9 < 0.5 * 0.8 - 0.5 * 0.1."""
    choice = choose(a_line(1.0, 0.9, 0.1), 3, Variety(diversity=0.5))
    assert places(choice) == [0, 2, 1]
    assert [one.penalty for one in choice.chosen] == pytest.approx([0.0, 0.1, 0.9], abs=1e-6)


def test_what_is_opposite_is_no_newer_than_what_is_unlike() -> None:
    """A cosine below zero earns nothing: scores would rise along the page."""
    choice = choose(a_line(1.0, 0.0, -1.0), 3, Variety(diversity=0.5))
    assert places(choice) == [0, 1, 2]
    assert choice.chosen[2].penalty == 0.0


def test_utmost_diversity_is_finite() -> None:
    """Novelty decides, scores only where it does not; nothing is lost without bound."""
    choice = choose(a_line(1.0, 0.9, 0.1), 3, Variety(diversity=1.0))
    assert places(choice) == [0, 2, 1]
    assert np.isfinite([one.penalty for one in choice.chosen]).all()


def test_a_told_article_counts_for_no_cap() -> None:
    """Its slot is its story's, and a full topic does not keep it out of one."""
    topics = np.array([0, 0, 0], np.int32)
    offer = a_line(1.0, 0.99, 0.1, topics=topics.take)
    choice = choose(offer, 3, Variety(same_story=0.96, per_topic=1))
    assert [(one.place, one.also) for one in choice.chosen] == [(0, (1,))]
    assert choice.left.tolist() == [2]


def test_scores_that_rise_are_lowered() -> None:
    """The order is what was settled, even where a score has grown since."""
    offer = a_line(1.0, 0.0, 0.5, scores=np.array([0.1, 0.9, 0.2]))
    assert places(choose(offer, 3, Variety())) == [0, 1, 2]


def test_what_rounding_tells_apart_keeps_its_order() -> None:
    """Of rows whose worths are within the margin the first is chosen, of others the better."""
    scores = np.array([2.0, 1.0, 1.0])
    offer = a_line(1.0, 0.5, 0.5 - 2e-6, scores=scores, near=5e-6)
    assert places(choose(offer, 3, Variety(diversity=0.5))) == [0, 1, 2]
    exact = replace(offer, near=0.0)
    assert places(choose(exact, 3, Variety(diversity=0.5))) == [0, 2, 1]


def test_rows_of_a_snapshot_are_offered_with_their_names_and_times() -> None:
    """What is not known is NaN or -1, and nothing else is."""
    snapshot = a_catalogue_with(
        a_stored("N0", topic="", source="wire"), a_stored("N1", topic="sports", source="")
    ).current
    rows = np.array([1, 0])
    offer = offered(
        snapshot, rows, order=np.arange(2), scores=np.zeros(2), vectors=snapshot.vectors[rows]
    )
    both = np.arange(2)
    assert (offer.topics(both) >= 0).tolist() == [True, False]
    assert (offer.sources(both) >= 0).tolist() == [False, True]
    assert np.isnan(offer.published(both)).all()
