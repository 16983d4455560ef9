"""Pages of recommendations, what an empty one says, and what is kept between them."""

from dataclasses import replace
from typing import Any

import pytest

from service.answer import Answer, Degraded, Empty, Strategy
from service.criteria import Criteria
from service.paging import Kind, Position
from service.recommend import Query
from service.stages import Stages
from tests.service.fakes import HOUR, NOW, FakeClock, a_stored, a_take_down, a_vector
from tests.service.recommending import (
    LIMITS,
    a_catalogue,
    a_recommender,
    at,
    ids,
    recommend,
)


@pytest.mark.parametrize(
    ("query", "empty"),
    [
        ({"criteria": Criteria(topics=frozenset({"no"}))}, Empty.FILTER),
        ({"candidates": ["nothing"]}, Empty.CANDIDATES),
        ({"candidates": []}, Empty.CANDIDATES),
        ({"exclude": ["N1"]}, Empty.EXCLUDED),
        ({"history": ["N1"]}, Empty.EXCLUDED),
        ({"position": Position(Kind.RECOMMENDATIONS, b"", NOW, 1, ("gone",))}, Empty.END),
    ],
)
def test_an_empty_answer_says_why(query: dict[str, Any], empty: Empty) -> None:
    """The first of the steps that leaves nothing is named; what is not empty says nothing."""
    live, embargoed = a_stored("N1"), a_stored("N1", embargo_until=at(NOW + 1))
    assert recommend(live, **query).empty == empty
    assert recommend(live).empty is None
    later = "position" in query
    assert recommend(embargoed, **query).empty == (Empty.END if later else Empty.CATALOGUE)


def position(answer: Answer) -> Position:
    """Return where the page after an answer begins."""
    return Position(Kind.RECOMMENDATIONS, b"", answer.at, answer.shown, answer.left)


@pytest.mark.parametrize("history", [["N0"], []])
def test_pages_are_the_parts_of_one_long_page(history: list[str]) -> None:
    """Ranks run on, nothing comes twice, `left` shrinks to nothing, scores stay as they were."""
    twin = a_stored("twin").vector
    stored = [
        a_stored(f"N{i}", published_at=at(NOW - i * HOUR), **({"vector": twin} if i > 25 else {}))
        for i in range(30)
    ]
    clock, catalogue = FakeClock(), a_catalogue(*stored)
    recommender = a_recommender(catalogue, clock)
    query = Query(history=history, n=4, half_life_s=HOUR)
    long = recommender.recommend(replace(query, n=100))
    found, page = [], recommender.recommend(query)
    while page.articles:
        found += page.articles
        clock.now += 60
        page = recommender.recommend(replace(query, position=position(page)))
    assert [one.rank for one in found] == list(range(1, len(found) + 1))
    assert [(o.facts.id, o.also) for o in found] == [(o.facts.id, o.also) for o in long.articles]
    assert [o.score for o in found] == pytest.approx([o.score for o in long.articles], abs=1e-5)
    assert (page.empty, page.left, page.at) == (Empty.END, (), NOW)


def test_a_later_page_keeps_its_order_whatever_has_changed() -> None:
    """Taken down is left out, changed stays in its place with new facts, new does not come in."""
    stored = [a_stored(f"N{i}", published_at=at(NOW - i * HOUR)) for i in range(6)]
    catalogue = a_catalogue(a_stored("R"), *stored)
    recommender = a_recommender(catalogue)
    query = Query(history=["R"], n=2, diversity=0.0)
    first = recommender.recommend(query)
    third, fourth, fifth, _ = first.left
    changes = [
        a_take_down(third),
        a_stored(fourth, version=2, title="Another", vector=-a_vector("R 1")),
        a_stored("new", vector=a_vector("R 1")),
    ]
    catalogue.apply(changes, NOW)
    second = recommender.recommend(replace(query, position=position(first)))
    assert ids(second) == [fourth, fifth]
    assert second.articles[0].facts.title == "Another"
    assert [one.rank for one in second.articles] == [3, 4]


def test_the_stages_of_an_answer_are_marked() -> None:
    """`Server-Timing` tells where the time went, in the order of the pipeline."""
    stages = Stages()
    a_recommender(a_catalogue(a_stored("N1"))).recommend(Query(), stages)
    names = [part.split(";")[0] for part in stages.header().split(", ")]
    assert names == ["reader", "filter", "search", "score", "choose", "total"]


def test_an_article_expired_for_too_long_no_longer_counts() -> None:
    """Until the end of its time to live it is history, afterwards it is unknown."""
    old = a_stored("old", expires_at=at(NOW - LIMITS.history_ttl_s))
    clock = FakeClock(NOW - 1)
    recommender = a_recommender(a_catalogue(old, a_stored("N1")), clock)
    assert recommender.recommend(Query(history=["old"])).strategy == Strategy.PERSONAL
    clock.now = NOW
    assert recommender.recommend(Query(history=["old"])).degraded == [Degraded.HISTORY_UNKNOWN]
