"""Recommendations: filters never return too few, fallbacks say so, ties go by id."""

from dataclasses import replace
from math import exp, log
from typing import Any

import numpy as np
import pytest

from service.adapters.faiss_search import FaissSearch
from service.answer import Degraded, Strategy
from service.criteria import Criteria
from service.popularity import PopularityUpdate
from service.recommend import Query
from tests.service.fakes import (
    ACTIVATION,
    HOUR,
    NOW,
    FakeClock,
    NumpySearch,
    a_stored,
    a_take_down,
    a_vector,
)
from tests.service.oracle import Library, Oracle
from tests.service.recommending import (
    CLICK_MODEL,
    LIMITS,
    a_catalogue,
    a_recommender,
    at,
    ids,
    recommend,
)


def test_a_filter_never_returns_fewer_than_exist() -> None:
    """The only article of a topic is found, however many of another topic match better."""
    reader = a_stored("reader")
    crowd = [a_stored(f"N{i}", vector=reader.vector) for i in range(50)]
    far = a_stored("far", topic="health", vector=-reader.vector)
    for search in (NumpySearch(), FaissSearch()):
        recommender = a_recommender(
            a_catalogue(reader, *crowd, far), search=search, limits=replace(LIMITS, retrieved=3)
        )
        query = Query(history=["reader"], n=10, criteria=Criteria(topics=frozenset({"health"})))
        assert ids(recommender.recommend(query)) == ["far"]


def test_what_was_read_is_left_out_unless_asked_for() -> None:
    """`exclude_seen` covers the whole history, `exclude` any article."""
    stored = [a_stored(f"N{i}") for i in range(4)]
    assert set(ids(recommend(*stored, history=["N0", "N1"]))) == {"N2", "N3"}
    assert set(ids(recommend(*stored, history=["N0"], exclude_seen=False))) == {
        "N0", "N1", "N2", "N3",
    }  # fmt: skip
    assert set(ids(recommend(*stored, history=["N0"], exclude=["N3"]))) == {"N1", "N2"}


def test_candidates_restrict_and_unknown_ones_are_ignored() -> None:
    """Only candidates are answered; no candidate at all is an empty answer, not everything."""
    stored = [a_stored(f"N{i}") for i in range(5)]
    answer = recommend(*stored, history=["N0"], candidates=["N3", "nothing", "N1", "N3"])
    assert set(ids(answer)) == {"N1", "N3"}
    empty = recommend(*stored, history=["N0"], candidates=[])
    assert (ids(empty), empty.strategy) == ([], Strategy.NONE)


def test_unknown_ids_of_a_history_are_ignored() -> None:
    """A history of which something is known is as good as that part of it."""
    stored = [a_stored(f"N{i}") for i in range(5)]
    partly = recommend(*stored, history=["gone", "N0", "never"])
    assert (partly.strategy, partly.degraded) == (Strategy.PERSONAL, [])
    assert partly.articles == recommend(*stored, history=["N0"]).articles


def test_only_the_latest_known_clicks_count() -> None:
    """The user encoder sees the last H clicks; what is unknown takes no place."""
    stored = [a_stored(f"N{i}") for i in range(8)]
    recommender = a_recommender(a_catalogue(*stored), limits=replace(LIMITS, history=2))
    short = recommender.recommend(Query(history=["N1", "N2"], exclude=["N0"]))
    long = recommender.recommend(Query(history=["N0", "N1", "gone", "N2", "gone"]))
    assert long.articles == short.articles


def test_an_unknown_history_gets_what_is_popular_and_then_what_is_newest() -> None:
    """Clicks first, most clicked foremost; then the newest; `degraded` says why."""
    stored = [a_stored(f"N{i}", published_at=at(NOW - i * HOUR)) for i in range(4)]
    answer = recommend(*stored, popularity={"N2": log(3), "N3": log(7)}, history=["nothing"])
    assert ids(answer) == ["N3", "N2", "N0", "N1"]
    assert [one.score for one in answer.articles] == pytest.approx([7, 3, 0, 0])
    assert (answer.strategy, answer.degraded) == (Strategy.POPULAR, [Degraded.HISTORY_UNKNOWN])


def test_without_clicks_the_newest_come_first() -> None:
    """No history is no degradation: there was none to miss."""
    stored = [a_stored(f"N{i}", published_at=at(NOW - i * HOUR)) for i in (2, 0, 1)]
    answer = recommend(*stored, n=2)
    assert ids(answer) == ["N0", "N1"]
    assert (answer.strategy, answer.degraded) == (Strategy.LATEST, [])


def test_fallbacks_obey_every_hard_filter() -> None:
    """Popular is no excuse for an embargo, an exclusion or another topic."""
    stored = [
        a_stored("N1", embargo_until=at(NOW + 1)),
        a_stored("N2", topic="health"),
        a_stored("N3"),
        a_stored("N4"),
    ]
    popularity = {f"N{i}": 9.0 for i in (1, 2, 3)}
    criteria = Criteria(topics=frozenset({"sports"}))
    answer = recommend(*stored, popularity=popularity, criteria=criteria, exclude=["N3"])
    assert (ids(answer), answer.strategy) == (["N4"], Strategy.LATEST)


@pytest.mark.parametrize("history", [[], ["nothing"]])
def test_no_articles_give_an_empty_answer(history: list[str]) -> None:
    """An empty catalogue is a condition of the data, not an error."""
    answer = recommend(history=history)
    assert (ids(answer), answer.strategy) == ([], Strategy.NONE)
    assert answer.activation == ACTIVATION


def test_a_history_that_covers_the_catalogue_leaves_nothing() -> None:
    """The strategy does not claim what it could not give."""
    answer = recommend(a_stored("N1"), history=["N1"])
    assert (ids(answer), answer.strategy, answer.degraded) == ([], Strategy.NONE, [])


def test_n_beyond_the_catalogue_returns_all() -> None:
    """Also when n is larger than R."""
    stored = [a_stored(f"N{i}") for i in range(30)]
    recommender = a_recommender(a_catalogue(*stored), limits=replace(LIMITS, retrieved=4))
    assert len(recommender.recommend(Query(history=["N0"], n=200)).articles) == 29
    assert len(recommender.recommend(Query(history=["N0"], n=4)).articles) == 4


@pytest.mark.parametrize("n", [1, 3, 6])
def test_equal_scores_are_ordered_by_id(n: int) -> None:
    """Personal, popular and latest answers break ties alike, at the cut as well."""
    twin = a_stored("twin").vector
    order = ["N5", "N10", "N1", "N3", "N2", "N4"]
    stored = [a_stored(i, vector=twin, published_at=at(NOW)) for i in order]
    reader = a_stored("reader", published_at=at(NOW - HOUR))
    best = sorted(order)[:n]
    asked: dict[str, Any] = {"n": n, "collapse": False}
    assert ids(recommend(reader, *stored, history=["reader"], **asked)) == best
    assert ids(recommend(*stored, **asked)) == best
    assert ids(recommend(*stored, popularity=dict.fromkeys(order, 1.0), **asked)) == best


def test_freshness_takes_ln_2_per_half_life() -> None:
    """Of twins the newer one wins, by exactly that much."""
    twin = a_stored("twin").vector
    stored = [a_stored(f"N{i}", vector=twin, published_at=at(NOW - i * HOUR)) for i in range(3)]
    answer = recommend(a_stored("R"), *stored, history=["R"], half_life_s=2 * HOUR, collapse=False)
    assert ids(answer) == ["N0", "N1", "N2"]
    scores = [one.score for one in answer.articles]
    assert np.diff(scores) == pytest.approx([-log(2) / 2] * 2, abs=1e-6)
    assert exp(scores[2] - scores[0]) == pytest.approx(0.5, abs=1e-6)


def test_an_article_from_the_future_is_new_and_not_newer() -> None:
    """Clocks disagree: ages are never negative, so the tie goes by id."""
    twin = a_stored("twin").vector
    soon, now = (
        a_stored(i, vector=twin, published_at=at(t)) for i, t in (("B", NOW + HOUR), ("A", NOW))
    )
    answer = recommend(a_stored("R"), soon, now, history=["R"], half_life_s=HOUR, collapse=False)
    assert ids(answer) == ["A", "B"]
    assert answer.articles[0].score == answer.articles[1].score


def test_an_article_without_a_time_earns_no_freshness() -> None:
    """It loses as much as the oldest one, however lately it was first seen."""
    recommender = a_recommender(
        a_catalogue(
            a_stored("N1"),
            a_stored("N2", vector=a_vector("x"), published_at=at(NOW - 5 * HOUR)),
            a_stored("N3", vector=a_vector("x"), first_seen=NOW),
        )
    )
    answer = recommender.recommend(Query(history=["N1"], half_life_s=HOUR, collapse=False))
    assert ids(answer) == ["N2", "N3"]
    assert answer.articles[0].score == pytest.approx(answer.articles[1].score)


def test_embargo_and_expiry_are_read_from_the_requests_clock() -> None:
    """One snapshot, three moments: before, during and after."""
    shown = a_stored("N1", embargo_until=at(NOW), expires_at=at(NOW + HOUR))
    clock = FakeClock()
    recommender = a_recommender(a_catalogue(shown), clock)
    seen = []
    for clock.now in (NOW - 1, NOW, NOW + HOUR - 1, NOW + HOUR):
        seen.append(ids(recommender.recommend(Query())))
    assert seen == [[], ["N1"], ["N1"], []]


def test_an_expired_article_still_counts_in_a_history() -> None:
    """What a reader read remains what the reader likes."""
    old = a_stored("old", expires_at=at(NOW - HOUR))
    answer = recommend(old, a_stored("N1"), history=["old"], exclude_seen=False)
    assert (ids(answer), answer.strategy) == (["N1"], Strategy.PERSONAL)


def test_rank_gives_the_model_score_alone() -> None:
    """Neither freshness nor popularity counts, and what was read is not left out."""
    stored = {i: a_stored(i) for i in ("N1", "N2", "N3")}
    catalogue = a_catalogue(*stored.values())
    catalogue.set_popularity(PopularityUpdate({"N3": 100.0}))
    ranking = a_recommender(catalogue).rank(["N1"], ["N3", "N1", "N2", "N3"])
    expected = Oracle(Library(stored), Query(history=["N1"], exclude_seen=False)).scores
    assert ranking.ids == sorted(expected, key=lambda i: -expected[i])
    assert dict(zip(ranking.ids, ranking.scores, strict=True)) == pytest.approx(expected, abs=1e-5)
    assert (ranking.missing, ranking.strategy) == ([], Strategy.PERSONAL)


def test_rank_explains_itself_when_asked() -> None:
    """One set of reasons for each article, whose parts sum to its score; else none."""
    recommender = a_recommender(a_catalogue(*(a_stored(f"N{i}") for i in range(9))))
    ranking = recommender.rank(["N1", "N2"], ["N3", "N4", "N5"], explain=True)
    sums = [sum(one["parts"].values()) for one in ranking.reasons]
    assert sums == pytest.approx(ranking.scores, abs=1e-5)
    assert {read["id"] for one in ranking.reasons for read in one["history"]} == {"N1", "N2"}
    assert recommender.rank(["N1"], ["N3"]).reasons == []


def test_rank_of_an_empty_catalogue_finds_all_missing() -> None:
    """A condition of the data, no error."""
    ranking = a_recommender(a_catalogue()).rank(["N1"], ["N2", "N3"])
    assert (ranking.ids, ranking.missing) == ([], ["N2", "N3"])


def test_rank_lists_as_missing_what_may_not_be_shown() -> None:
    """Unknown, embargoed, expired and taken-down ids, in the order given, each once."""
    catalogue = a_catalogue(
        a_stored("shown"),
        a_stored("embargoed", embargo_until=at(NOW + 1)),
        a_stored("expired", expires_at=at(NOW)),
        a_stored("down"),
    )
    catalogue.apply([a_take_down("down")], NOW)
    asked = ["expired", "unknown", "shown", "down", "unknown", "embargoed"]
    ranking = a_recommender(catalogue).rank([], asked)
    assert ranking.ids == ["shown"]
    assert ranking.missing == ["expired", "unknown", "down", "embargoed"]


def test_rank_without_a_known_history_goes_by_content_and_says_so() -> None:
    """The content term alone is left; an unknown history is a degradation, none is not."""
    stored = [a_stored(f"N{i}") for i in range(3)]
    recommender = a_recommender(a_catalogue(*stored))
    ranking = recommender.rank(["nothing"], ["N0", "N1", "N2"])
    expected = {s.id: float(CLICK_MODEL.content @ s.vector) for s in stored}
    assert dict(zip(ranking.ids, ranking.scores, strict=True)) == pytest.approx(expected, abs=1e-6)
    assert (ranking.strategy, ranking.degraded) == (Strategy.NONE, [Degraded.HISTORY_UNKNOWN])
    assert recommender.rank([], ["N0"]).degraded == []
