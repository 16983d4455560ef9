"""What stands beside what: stories, caps, novelty, and the reasons that are given."""

from dataclasses import replace
from math import log
from typing import Any

import numpy as np
import pytest

from service.answer import Degraded
from service.popularity import PopularityUpdate
from service.recommend import Query
from tests.service.fakes import HOUR, NOW, a_stored
from tests.service.recommending import (
    CLICK_MODEL,
    a_catalogue,
    a_recommender,
    at,
    ids,
    recommend,
)


def test_popularity_earns_its_weight_in_the_logarithm_of_clicks() -> None:
    """Of twins the more clicked one wins by just that; no clicks are as good as one."""
    twin = a_stored("twin").vector
    stored = [a_stored(i, vector=twin) for i in ("many", "none", "one")]
    answer = recommend(
        a_stored("R"),
        *stored,
        popularity={"many": log(8), "one": 0.0},
        history=["R"],
        popularity_weight=0.5,
        collapse=False,
    )
    assert ids(answer) == ["many", "none", "one"]
    scores = [one.score for one in answer.articles]
    assert np.diff(scores) == pytest.approx([-0.5 * log(8), 0], abs=1e-6)


def test_a_story_has_one_slot_and_lists_who_else_tells_it() -> None:
    """Also for whoever has no known history; told apart when that is asked for."""
    twin = a_stored("twin").vector
    told = [a_stored(f"N{i}", vector=twin, published_at=at(NOW - i * HOUR)) for i in range(3)]
    other, reader = a_stored("other", published_at=at(NOW - 9 * HOUR)), a_stored("R")
    for history in (["R"], []):
        asked: dict[str, Any] = {"history": history, "candidates": ["N0", "N1", "N2", "other"]}
        answer = recommend(reader, *told, other, **asked)
        also = {one.facts.id: one.also for one in answer.articles}
        assert also == {"N0": ("N1", "N2"), "other": ()}
        apart = recommend(reader, *told, other, collapse=False, **asked)
        assert sorted(ids(apart)) == ["N0", "N1", "N2", "other"]


def test_a_story_ends_after_its_window() -> None:
    """The same words long after are news again; without a time they are one story."""
    twin = a_stored("twin").vector
    new = a_stored("new", vector=twin, published_at=at(NOW))
    for old, slots in ((at(NOW - 71 * HOUR), 1), (at(NOW - 73 * HOUR), 2), (None, 1)):
        assert len(recommend(new, a_stored("old", vector=twin, published_at=old)).articles) == slots


def test_caps_hold_for_every_strategy_and_are_told_when_they_bite() -> None:
    """So many of a topic or a source; those whose name is not known are as many as there are."""
    stored = [
        a_stored(f"N{i}", topic=topic, source=source)
        for i, (topic, source) in enumerate(
            [("a", "x"), ("a", "y"), ("a", "x"), ("b", "x"), ("", "x"), ("", "y"), ("", "")]
        )
    ]
    topics = {one.id: one.article.topic for one in stored if one.article}
    for history in (["R"], []):
        answer = recommend(a_stored("R", topic="b"), *stored, history=history, per_topic=1, n=5)
        named = [topics.get(i, "b") for i in ids(answer)]
        assert (named.count("a"), named.count("b"), named.count("")) == (1, 1, 3)
        assert Degraded.CAPPED not in answer.degraded
    both = recommend(a_stored("R"), *stored, history=["R"], per_topic=1, per_source=1)
    assert (Degraded.CAPPED in both.degraded, len(both.articles)) == (True, 3)
    assert len(both.left) == 4


def test_diversity_prefers_what_is_new_on_the_page() -> None:
    """What is like the first article falls behind, and its score says by how much."""
    first, like, unlike = (np.zeros(8, np.float32) for _ in range(3))
    first[0], like[:2], unlike[2] = 1, (0.9, 0.19**0.5), 1
    stored = [a_stored("A", vector=first), a_stored("B", vector=like), a_stored("C", vector=unlike)]
    reader = a_stored("R", vector=first)
    plain = recommend(reader, *stored, history=["R"])
    varied = recommend(reader, *stored, history=["R"], diversity=0.8)
    assert (ids(plain), ids(varied)) == (["A", "B", "C"], ["A", "C", "B"])
    lost = {p.facts.id: p.score for p in plain.articles}["B"] - varied.articles[2].score
    assert lost == pytest.approx(CLICK_MODEL.scale * 0.8 / 0.2 * 0.9, abs=1e-4)


@pytest.mark.parametrize("explain", [False, True])
def test_reasons_are_given_when_asked_for(explain: bool) -> None:
    """The parts sum to the score, whatever it is made of, with a history and without."""
    stored = [a_stored(f"N{i}", published_at=at(NOW - i * HOUR)) for i in range(9)]
    catalogue = a_catalogue(*stored)
    catalogue.set_popularity(PopularityUpdate({f"N{i}": float(i) for i in range(9)}))
    recommender = a_recommender(catalogue)
    query = Query(
        history=["N1", "N2", "N1"],
        half_life_s=HOUR,
        popularity_weight=0.3,
        diversity=0.4,
        explain=explain,
    )
    answers = [
        recommender.recommend(query),
        recommender.recommend(replace(query, history=[])),
    ]
    for one in [one for answer in answers for one in answer.articles]:
        assert (one.reasons is not None) is explain
        if one.reasons is not None:
            parts: Any = one.reasons["parts"]
            assert sum(parts.values()) == pytest.approx(one.score, abs=1e-4)
