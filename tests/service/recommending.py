"""A recommender on fakes, and the pipeline of architecture section 5 once more in NumPy."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.catalogue import Catalogue
from service.ports import StoredArticle
from service.recommend import Query, Recommender
from tests.builders import a_click_model
from tests.service.fakes import (
    NOW,
    FakeClock,
    FakeEncoder,
    NumpySearch,
)

CLICK_MODEL = a_click_model()


def at(now: float) -> datetime:
    """Turn epoch seconds into a time with a zone."""
    return datetime.fromtimestamp(now, UTC)


def a_recommender(catalogue: Catalogue, clock: FakeClock | None = None, **options: Any) -> Any:
    """Build a recommender on a catalogue, with a fake encoder and NumPy search."""
    search = options.pop("search", NumpySearch())
    options = {"clock": clock or FakeClock(), "history": 50, "retrieved": 300, **options}
    return Recommender(lambda: catalogue.current, FakeEncoder(), CLICK_MODEL, search, **options)


def ids(answer: Any) -> list[str]:
    """List the ids of an answer, in order."""
    return [one.facts.id for one in answer.articles]


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
        return {i: self.score(i, user, history) - self.ageing(i, query, kept) for i in kept}

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

    def ageing(self, article_id: str, query: Query, kept: Sequence[str]) -> float:
        """Return what an article loses by its age; without a time it is as old as the oldest."""
        if query.freshness_half_life_s is None:
            return 0.0
        ages = [age for age in map(self.age, kept) if age is not None]
        age = self.age(article_id)
        lost = max(ages, default=0.0) if age is None else age
        return log(2) * lost / query.freshness_half_life_s

    def age(self, article_id: str) -> float | None:
        """Return an article's age in seconds, None where it states no time."""
        article = self.stored[article_id].article
        assert article is not None
        at = article.published_at
        return max(NOW - at.timestamp(), 0.0) if at else None
