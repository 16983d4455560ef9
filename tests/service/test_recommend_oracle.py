"""Recommendations equal architecture section 5 in plain NumPy, request by request."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.adapters.faiss_search import FaissSearch
from service.criteria import Criteria
from service.ports import RowSearch, StoredArticle
from service.recommend import Query, Recommendation
from tests.service.fakes import (
    HOUR,
    NOW,
    NumpySearch,
    a_catalogue_with,
    a_stored,
)
from tests.service.recommending import Oracle, a_recommender, at, ids

NEAR_TIE = 1e-5
REQUESTS = 100


def a_mixed_catalogue(seed: int, size: int = 120) -> list[StoredArticle]:
    """Build articles of all states: topics, embargoes, expiries, times known and unknown."""
    random = np.random.default_rng(seed)
    names = np.array(["sports", "politics", "finance", ""])

    def one(i: int) -> StoredArticle:
        fields: dict[str, Any] = {
            "topic": str(random.choice(names)),
            "source": str(random.choice(["wire", "desk"])),
            "language": str(random.choice(["en", "de"])),
            "first_seen": NOW - HOUR * float(random.uniform(0, 50)),
        }
        offset = HOUR * float(random.uniform(-100, 10))
        if random.random() < 0.7:
            fields["published_at"] = at(NOW + offset)
        if random.random() < 0.1:
            fields["embargo_until"] = at(NOW + HOUR * float(random.uniform(-5, 5)))
        if random.random() < 0.2:
            fields["expires_at"] = at(NOW + HOUR * float(random.uniform(-5, 5)))
        return a_stored(f"N{i}", **fields)

    return [one(i) for i in range(size)]


def a_random_query(random: np.random.Generator, known: Sequence[str]) -> Query:
    """Draw a request: history with unknown ids and repeats, any filter, candidates, exclusions."""

    def some(most: int) -> list[str]:
        picked = random.choice([*known, "unknown-1", "unknown-2"], size=random.integers(0, most))
        return [str(i) for i in picked]

    def maybe(value: Any, otherwise: Any, share: float) -> Any:
        return value if random.random() < share else otherwise

    return Query(
        history=some(70),
        n=int(random.integers(1, 40)),
        criteria=Criteria(
            topics=maybe(frozenset({"sports", "", "no such topic"}), frozenset(), 0.3),
            sources=maybe(frozenset({"wire"}), frozenset(), 0.3),
            languages=maybe(frozenset({"de"}), frozenset(), 0.3),
            published_after=maybe(NOW - 40 * HOUR, None, 0.3),
        ),
        candidates=maybe(some(60), None, 0.3),
        exclude=some(10),
        exclude_seen=bool(random.random() < 0.7),
        freshness_half_life_s=maybe(HOUR * float(random.uniform(1, 48)), None, 0.5),
    )


def difference(answer: Recommendation, expected: dict[str, float], n: int) -> str:
    """Say how an answer differs from the oracle's scores, "" when it does not.

    Single precision may swap articles whose scores are nearer than a near tie, and nothing else.
    """
    best = sorted(expected, key=lambda i: (-expected[i], i))[:n]
    got = ids(answer)
    if len(got) != len(best) or len(set(got)) != len(got):
        return f"{len(got)} articles instead of {len(best)}"
    for one, wanted in zip(answer.articles, best, strict=True):
        if one.facts.id not in expected:
            return f"{one.facts.id} is not eligible"
        if abs(one.score - expected[one.facts.id]) > NEAR_TIE:
            return f"{one.facts.id} scores {one.score}, not {expected[one.facts.id]}"
        if one.facts.id != wanted and abs(expected[one.facts.id] - expected[wanted]) > NEAR_TIE:
            return f"{one.facts.id} stands where {wanted} should"
    return ""


@pytest.mark.parametrize("search", [NumpySearch(), FaissSearch()], ids=["numpy", "faiss"])
@pytest.mark.parametrize("retrieved", [5, 300])
def test_recommendations_equal_the_oracle(search: RowSearch, retrieved: int) -> None:
    """Several hundred random requests: same ids, same order, same scores."""
    stored = {one.id: one for one in a_mixed_catalogue(seed=1)}
    catalogue = a_catalogue_with(*stored.values())
    recommender = a_recommender(catalogue, search=search, retrieved=retrieved)
    oracle, random = Oracle(stored, retrieved), np.random.default_rng(retrieved)
    compared = 0
    for number in range(REQUESTS):
        query = a_random_query(random, list(stored))
        if not any(i in stored for i in query.history):
            continue
        answer = recommender.recommend(query)
        assert difference(answer, oracle.scores(query), query.n) == "", f"request {number}"
        compared += bool(answer.articles)
    assert compared > 0.7 * REQUESTS


def test_an_answer_that_differs_from_the_oracle_is_noticed() -> None:
    """The comparison fails on swapped, missing, repeated and ineligible articles and on scores."""
    stored = {one.id: one for one in a_mixed_catalogue(seed=1)}
    query = Query(history=["N1", "N2"], n=5)
    expected = Oracle(stored, 300).scores(query)
    answer = a_recommender(a_catalogue_with(*stored.values())).recommend(query)
    first, second, *rest = answer.articles
    wrong = [
        [second, first, *rest],
        [first, *rest],
        [first, first, *rest],
        [replace(first, facts=replace(first.facts, id="N1")), second, *rest],
        [replace(first, score=first.score + 1e-3), second, *rest],
    ]
    assert difference(answer, expected, 5) == ""
    assert all(difference(replace(answer, articles=w), expected, 5) for w in wrong)
