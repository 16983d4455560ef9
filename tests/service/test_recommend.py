"""Recommendations equal architecture section 5 in plain NumPy; filters never return too few."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import exp, log
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.adapters.faiss_search import FaissSearch
from service.catalogue import Catalogue
from service.ports import RowSearch, StoredArticle
from service.recommend import Degraded, Query, Recommendation, Recommender, Strategy
from service.snapshot import Criteria
from tests.builders import a_click_model
from tests.service.fakes import (
    ACTIVATION,
    HOUR,
    NOW,
    FakeClock,
    FakeEncoder,
    NumpySearch,
    a_catalogue_with,
    a_stored,
    a_take_down,
)

CLICK_MODEL = a_click_model()
NEAR_TIE = 1e-5
REQUESTS = 100


def at(now: float) -> datetime:
    """Turn epoch seconds into a time with a zone."""
    return datetime.fromtimestamp(now, UTC)


def a_recommender(catalogue: Catalogue, clock: FakeClock | None = None, **options: Any) -> Any:
    """Build a recommender on a catalogue, with a fake encoder and NumPy search."""
    search = options.pop("search", NumpySearch())
    options = {"clock": clock or FakeClock(), "history": 50, "retrieved": 300, **options}
    return Recommender(lambda: catalogue.current, FakeEncoder(), CLICK_MODEL, search, **options)


def recommend(*stored: StoredArticle, popularity: dict[str, float] | None = None, **query: Any):  # type: ignore[no-untyped-def] # noqa: ANN201
    """Answer one query on a catalogue of these articles."""
    catalogue = a_catalogue_with(*stored)
    catalogue.set_popularity(popularity or {})
    return a_recommender(catalogue).recommend(Query(**query))


def ids(answer: Any) -> list[str]:
    """List the ids of an answer, in order."""
    return [one.facts.id for one in answer.articles]


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


@dataclass(frozen=True)
class Oracle:
    """Section 5 of the architecture, article by article, in double precision."""

    stored: dict[str, StoredArticle]
    retrieved: int

    def passes(self, one: StoredArticle, query: Query) -> bool:
        """Say whether an article passes every hard filter at the request's time."""
        article, criteria = one.article, query.criteria
        assert article is not None
        is_early = bool(article.embargo_until and article.embargo_until.timestamp() > NOW)
        is_late = bool(article.expires_at and article.expires_at.timestamp() <= NOW)
        published = article.published_at.timestamp() if article.published_at else -np.inf
        after = criteria.published_after
        return (
            not is_early
            and not is_late
            and (not criteria.topics or article.topic in criteria.topics)
            and (not criteria.sources or article.source in criteria.sources)
            and (not criteria.languages or article.language in criteria.languages)
            and (after is None or published > after)
            and (query.candidates is None or one.id in query.candidates)
            and one.id not in query.exclude
            and not (query.exclude_seen and one.id in query.history)
        )

    def scores(self, query: Query) -> dict[str, float]:
        """Score the top R of what is eligible: id -> score, for a query with a known history."""
        known = [i for i in query.history if i in self.stored][-50:]
        history = np.array([self.vector(i) for i in known])  # (H, D)
        user = history.mean(axis=0)
        eligible = [i for i, one in self.stored.items() if self.passes(one, query)]
        pull = user + CLICK_MODEL.content.astype(np.float64) / CLICK_MODEL.scale
        best = sorted(eligible, key=lambda i: -float(self.vector(i) @ pull))
        kept = best[: max(self.retrieved, query.n)]
        return {i: self.score(i, user, history) - self.ageing(i, query) for i in kept}

    def vector(self, article_id: str) -> NDArray[np.float64]:
        """Return an article's vector."""
        vector = self.stored[article_id].vector
        assert vector is not None
        return vector.astype(np.float64)

    def score(self, article_id: str, user: NDArray[Any], history: NDArray[Any]) -> float:
        """Score one article: s (u.v + lambda t) + b.v."""
        v = self.vector(article_id)
        match = history @ v
        weights = np.exp(CLICK_MODEL.temperature * match)
        attended = float((weights / weights.sum()) @ match)
        core = float(user @ v) + CLICK_MODEL.attention * attended
        return CLICK_MODEL.scale * core + float(CLICK_MODEL.content @ v)

    def ageing(self, article_id: str, query: Query) -> float:
        """Return what an article loses by its age."""
        if query.freshness_half_life_s is None:
            return 0.0
        one = self.stored[article_id]
        assert one.article is not None
        at = one.article.published_at
        age = max(NOW - (at.timestamp() if at else one.first_seen), 0)
        return log(2) * age / query.freshness_half_life_s


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


def test_a_filter_never_returns_fewer_than_exist() -> None:
    """The only article of a topic is found, however many of another topic match better."""
    reader = a_stored("reader")
    crowd = [a_stored(f"N{i}", vector=reader.vector) for i in range(50)]
    far = a_stored("far", topic="health", vector=-reader.vector)
    for search in (NumpySearch(), FaissSearch()):
        recommender = a_recommender(
            a_catalogue_with(reader, *crowd, far), search=search, retrieved=3
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
    recommender = a_recommender(a_catalogue_with(*stored), history=2)
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
    recommender = a_recommender(a_catalogue_with(*stored), retrieved=4)
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
    assert ids(recommend(reader, *stored, history=["reader"], n=n)) == best
    assert ids(recommend(*stored, n=n)) == best
    assert ids(recommend(*stored, popularity=dict.fromkeys(order, 1.0), n=n)) == best


def test_freshness_takes_ln_2_per_half_life() -> None:
    """Of twins the newer one wins, by exactly that much."""
    twin = a_stored("twin").vector
    stored = [a_stored(f"N{i}", vector=twin, published_at=at(NOW - i * HOUR)) for i in range(3)]
    answer = recommend(a_stored("R"), *stored, history=["R"], freshness_half_life_s=2 * HOUR)
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
    answer = recommend(a_stored("R"), soon, now, history=["R"], freshness_half_life_s=HOUR)
    assert ids(answer) == ["A", "B"]
    assert answer.articles[0].score == answer.articles[1].score


def test_embargo_and_expiry_are_read_from_the_requests_clock() -> None:
    """One snapshot, three moments: before, during and after."""
    shown = a_stored("N1", embargo_until=at(NOW), expires_at=at(NOW + HOUR))
    clock = FakeClock()
    recommender = a_recommender(a_catalogue_with(shown), clock)
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
    catalogue = a_catalogue_with(*stored.values())
    catalogue.set_popularity({"N3": 100.0})
    ranking = a_recommender(catalogue).rank(["N1"], ["N3", "N1", "N2", "N3"])
    expected = Oracle(stored, 300).scores(Query(history=["N1"], exclude_seen=False))
    assert ids(ranking) == sorted(expected, key=lambda i: -expected[i])
    assert {o.facts.id: o.score for o in ranking.articles} == pytest.approx(expected, abs=1e-5)
    assert (ranking.missing, ranking.strategy) == ([], Strategy.PERSONAL)


def test_rank_lists_as_missing_what_may_not_be_shown() -> None:
    """Unknown, embargoed, expired and taken-down ids, in the order given, each once."""
    catalogue = a_catalogue_with(
        a_stored("shown"),
        a_stored("embargoed", embargo_until=at(NOW + 1)),
        a_stored("expired", expires_at=at(NOW)),
        a_stored("down"),
    )
    catalogue.apply([a_take_down("down")], NOW)
    asked = ["expired", "unknown", "shown", "down", "unknown", "embargoed"]
    ranking = a_recommender(catalogue).rank([], asked)
    assert ids(ranking) == ["shown"]
    assert ranking.missing == ["expired", "unknown", "down", "embargoed"]


def test_rank_without_a_known_history_goes_by_content_and_says_so() -> None:
    """The content term alone is left; an unknown history is a degradation, none is not."""
    stored = [a_stored(f"N{i}") for i in range(3)]
    recommender = a_recommender(a_catalogue_with(*stored))
    ranking = recommender.rank(["nothing"], ["N0", "N1", "N2"])
    expected = {s.id: float(CLICK_MODEL.content @ s.vector) for s in stored}
    assert {o.facts.id: o.score for o in ranking.articles} == pytest.approx(expected, abs=1e-6)
    assert (ranking.strategy, ranking.degraded) == (Strategy.NONE, [Degraded.HISTORY_UNKNOWN])
    assert recommender.rank([], ["N0"]).degraded == []


def test_latest_gives_the_newest_with_their_times() -> None:
    """Each score is a time; what is not live or not of the topic is not there."""
    recommender = a_recommender(
        a_catalogue_with(
            a_stored("N1", published_at=at(NOW - 2 * HOUR)),
            a_stored("N2", published_at=at(NOW - HOUR)),
            a_stored("N3", first_seen=NOW - 3 * HOUR),
            a_stored("N4", published_at=at(NOW), embargo_until=at(NOW + HOUR)),
            a_stored("N5", published_at=at(NOW), topic="health"),
        )
    )
    answer = recommender.latest(Criteria(topics=frozenset({"sports"})), 10)
    assert ids(answer) == ["N2", "N1", "N3"]
    assert [o.score for o in answer.articles] == [NOW - HOUR, NOW - 2 * HOUR, NOW - 3 * HOUR]
    assert (answer.strategy, answer.degraded) == (Strategy.LATEST, [])
    assert recommender.latest(Criteria(topics=frozenset({"no"})), 1).strategy == Strategy.NONE
