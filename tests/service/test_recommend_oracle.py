"""Recommendations equal architecture section 5 written out in plain Python, request by request."""

from collections.abc import Sequence
from dataclasses import replace
from math import log
from typing import Any

import numpy as np
import pytest

from service.adapters.faiss_search import FaissSearch
from service.answer import Answer, Degraded
from service.criteria import Criteria
from service.popularity import PopularityUpdate
from service.ports import StoredArticle
from service.recommend import Query
from tests.service.fakes import HOUR, NOW, NumpySearch, a_stored
from tests.service.oracle import NEAR_TIE, Library, Oracle
from tests.service.recommending import LIMITS, a_catalogue, a_recommender, at, ids

# Seed, articles, R and requests of each round: 1,000 requests together.
ROUNDS = [(1, 120, 300, 300), (2, 250, 40, 300), (3, 400, 300, 200), (4, 150, 5, 200)]
SEARCHES = {"numpy": NumpySearch(), "faiss": FaissSearch()}


def a_mixed_catalogue(seed: int, size: int) -> list[StoredArticle]:
    """Build articles of all states: embargoes, expiries, unknown times, stories and exact twins."""
    random = np.random.default_rng(seed)
    told: list[Any] = []

    def one(i: int) -> StoredArticle:
        fields: dict[str, Any] = {
            "topic": str(random.choice(["sports", "politics", "finance", ""])),
            "source": str(random.choice(["wire", "desk", "blog", "agency", ""])),
            "language": str(random.choice(["en", "de"])),
            "first_seen": NOW - HOUR * float(random.uniform(0, 50)),
        }
        if random.random() < 0.7:
            fields["published_at"] = at(NOW + HOUR * float(random.uniform(-150, 10)))
        if random.random() < 0.1:
            fields["embargo_until"] = at(NOW + HOUR * float(random.uniform(-5, 5)))
        if random.random() < 0.2:
            fields["expires_at"] = at(NOW + HOUR * float(random.choice([-30, -2, 3])))
        if told and random.random() < 0.3:
            fields["vector"] = retold(told[int(random.integers(len(told)))])
        stored = a_stored(f"N{i}", **fields)
        told.append(stored.vector)
        return stored

    def retold(vector: Any) -> Any:
        if random.random() < 0.2:
            return vector
        turned = vector + random.uniform(0.05, 0.15) * random.standard_normal(len(vector))
        return (turned / np.linalg.norm(turned)).astype(np.float32)

    return [one(i) for i in range(size)]


def a_random_query(random: np.random.Generator, known: Sequence[str]) -> Query:
    """Draw a request that uses any field."""

    def some(most: int) -> list[str]:
        picked = random.choice([*known, "unknown-1", "unknown-2"], size=random.integers(0, most))
        return [str(i) for i in picked]

    def maybe(value: Any, otherwise: Any, share: float) -> Any:
        return value if random.random() < share else otherwise

    return Query(
        history=some(70),
        n=int(random.integers(1, 25)),
        criteria=Criteria(
            topics=maybe(frozenset({"sports", "", "no such topic"}), frozenset(), 0.2),
            sources=maybe(frozenset({"wire", "blog"}), frozenset(), 0.2),
            languages=maybe(frozenset({"de"}), frozenset(), 0.2),
            published_after=maybe(NOW - 40 * HOUR, None, 0.2),
        ),
        candidates=maybe(some(60), None, 0.2),
        exclude=some(10),
        exclude_seen=bool(random.random() < 0.7),
        seen=maybe(some(40), [], 0.4),
        hidden=maybe(some(12), [], 0.4),
        half_life_s=maybe(HOUR * float(random.uniform(1, 48)), None, 0.5),
        popularity_weight=maybe(float(random.uniform(0, 2)), 0.0, 0.5),
        diversity=maybe(float(random.choice([0.1, 0.3, 0.6, 0.9])), 0.0, 0.6),
        per_topic=maybe(int(random.integers(1, 6)), None, 0.3),
        per_source=maybe(int(random.integers(1, 6)), None, 0.3),
        collapse=bool(random.random() < 0.8),
        explain=bool(random.random() < 0.3),
    )


def difference(answer: Answer, oracle: Oracle) -> str:
    """Say how an answer differs from the oracle's, "" when it does not but in near ties."""
    slots, left = oracle.page(following=ids(answer))
    if ids(answer) != [slot.id for slot in slots]:
        return f"{ids(answer)} instead of {[slot.id for slot in slots]}"
    for one, slot in zip(answer.articles, slots, strict=True):
        if abs(one.score - slot.score) > NEAR_TIE:
            return f"{slot.id} scores {one.score}, not {slot.score}"
        if swapped(one.also, slot.also, oracle):
            return f"{slot.id} also tells {one.also}, not {slot.also}"
        if one.reasons is not None and abs(sum(one.reasons["parts"].values()) - one.score) > 1e-4:
            return f"the parts of {slot.id} do not sum to its score"
    if swapped(answer.left, left, oracle):
        return f"{answer.left} are left, not {left}"
    is_capped = len(slots) < oracle.query.n and bool(left)
    return "" if (Degraded.CAPPED in answer.degraded) is is_capped else "capped or not"


def swapped(got: Sequence[str], right: Sequence[str], oracle: Oracle) -> bool:
    """Say whether two orders differ by more than near ties."""
    if set(got) != set(right) or len(got) != len(right):
        return True
    scores = oracle.scores
    pairs = zip(got, right, strict=True)
    return any(a != b and not 0 < abs(scores[a] - scores[b]) <= NEAR_TIE for a, b in pairs)


@pytest.mark.parametrize(("seed", "size", "retrieved", "requests"), ROUNDS)
def test_recommendations_equal_the_oracle(
    seed: int, size: int, retrieved: int, requests: int
) -> None:
    """Random requests over every field: same ids, order, scores, stories and rest."""
    random, limits = np.random.default_rng(seed), replace(LIMITS, retrieved=retrieved)
    stored = {one.id: one for one in a_mixed_catalogue(seed, size)}
    popularity = {i: log(random.integers(1, 30)) for i in stored if random.random() < 0.3}
    catalogue = a_catalogue(*stored.values())
    catalogue.set_popularity(PopularityUpdate(popularity))
    library = Library(stored, popularity, limits)
    services = [a_recommender(catalogue, search=s, limits=limits) for s in SEARCHES.values()]
    torn = 0
    for number in range(requests):
        oracle = Oracle(library, a_random_query(random, list(stored)))
        if oracle.is_torn:
            torn += 1
            continue
        for service, name in zip(services, SEARCHES, strict=True):
            found = difference(service.recommend(oracle.query), oracle)
            assert found == "", f"request {number} by {name}: {oracle.query}"
    # Copies of one vector may stand on both sides of the R-th place.
    assert torn <= 0.06 * requests


def test_an_answer_that_differs_from_the_oracle_is_noticed() -> None:
    """Swapped, missing, repeated and ineligible articles, scores, stories, reasons and the rest."""
    stored = {one.id: one for one in a_mixed_catalogue(seed=1, size=120)}
    oracle = Oracle(Library(stored), Query(history=["N1", "N2"], n=5, explain=True))
    answer = a_recommender(a_catalogue(*stored.values())).recommend(oracle.query)
    first, second, *rest = answer.articles
    parts = {**first.reasons["parts"], "user": 0.0}  # type: ignore[dict-item, index]
    wrong = [
        [second, first, *rest],
        [first, *rest],
        [first, first, *rest],
        [first._replace(facts=replace(first.facts, id="N1")), second, *rest],
        [first._replace(score=first.score + 1e-3), second, *rest],
        [first._replace(also=("N1",)), second, *rest],
        [first._replace(reasons={"history": [], "parts": parts}), second, *rest],
    ]
    assert difference(answer, oracle) == ""
    assert all(difference(replace(answer, articles=w), oracle) for w in wrong)
    assert difference(replace(answer, left=answer.left[1:]), oracle)
    assert difference(replace(answer, left=answer.left[::-1]), oracle)
    assert difference(replace(answer, degraded=[Degraded.CAPPED]), oracle)
