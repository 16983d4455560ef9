"""The pipeline of architecture section 5 once more, article by article, in double precision.

It knows no row, no mask and no matrix, and shares no line with the service.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import exp, inf, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.article import Article
from service.ports import StoredArticle
from service.recommend import Limits, Query
from tests.service.fakes import NOW
from tests.service.recommending import CLICK_MODEL, LIMITS

Vector = NDArray[np.float64]
SCALE = CLICK_MODEL.scale
CONTENT = CLICK_MODEL.content.astype(np.float64)
# Single precision may swap articles that are nearer to each other than this.
NEAR_TIE = 1e-5


@dataclass(frozen=True)
class Slot:
    """One article of the oracle's answer, and the ids that tell its story, best first."""

    id: str
    score: float
    also: list[str]


@dataclass(frozen=True)
class Library:
    """Everything that the store holds, with log-weights of clicks by id."""

    stored: Mapping[str, StoredArticle]
    popularity: Mapping[str, float] = field(default_factory=dict)
    limits: Limits = LIMITS

    @cached_property
    def articles(self) -> dict[str, Article]:
        """Return the articles as they were published."""
        return {i: one.article for i, one in self.stored.items() if one.article is not None}

    @cached_property
    def vectors(self) -> dict[str, Vector]:
        """Return the articles' vectors."""
        vectors = {i: one.vector for i, one in self.stored.items()}
        return {i: v.astype(np.float64) for i, v in vectors.items() if v is not None}

    @cached_property
    def published(self) -> dict[str, float | None]:
        """Return the times that articles state, in epoch seconds."""
        times = {i: article.published_at for i, article in self.articles.items()}
        return {i: time.timestamp() if time else None for i, time in times.items()}

    @cached_property
    def cosines(self) -> dict[str, dict[str, float]]:
        """Return the cosine of each two articles."""
        by_id = self.vectors.items()
        return {i: {j: float(v @ w) for j, w in by_id} for i, v in by_id}

    @cached_property
    def names(self) -> dict[str, list[tuple[str, str]]]:
        """Return each article's topic and source, as far as they are known."""
        both = {
            i: (("topic", one.topic), ("source", one.source)) for i, one in self.articles.items()
        }
        return {i: [pair for pair in pairs if pair[1]] for i, pairs in both.items()}

    def is_one_story(self, one: str, other: str) -> bool:
        """Say whether two articles are near enough in meaning, and in time where it is known."""
        a, b = self.published[one], self.published[other]
        is_apart = a is not None and b is not None and abs(a - b) > self.limits.same_story_s
        return self.cosines[one][other] >= self.limits.same_story and not is_apart


@dataclass(frozen=True)
class Oracle:
    """What is right for one request."""

    library: Library
    query: Query

    @cached_property
    def history(self) -> list[str]:
        """List the last clicks that count: known, and not expired for too long."""
        limits, articles = self.library.limits, self.library.articles
        there = [(i, articles[i].expires_at) for i in self.query.history if i in articles]
        alive = [i for i, end in there if not end or end.timestamp() + limits.history_ttl_s > NOW]
        return alive[-limits.history :]

    @cached_property
    def user(self) -> Vector:
        """Average the history, weighted by the softmax of its attention: (D,)."""
        read = [self.library.vectors[i] for i in self.history]
        powers = [exp(3 * float(v[0])) for v in read]
        return np.sum([p / sum(powers) * v for p, v in zip(powers, read, strict=True)], axis=0)

    @cached_property
    def order(self) -> list[tuple[float, str]]:
        """List what is eligible in the order of retrieval, with the negative of its pull."""
        eligible = [i for i, one in self.library.articles.items() if self.passes(one)]
        if self.history:
            pull, vectors = self.user + CONTENT / SCALE, self.library.vectors
            return sorted((-float(vectors[i] @ pull), i) for i in eligible)
        clicks = self.library.popularity
        popular = sorted((-exp(clicks[i]), i) for i in eligible if i in clicks)
        return popular + sorted((-self.seen_at(i), i) for i in eligible if i not in clicks)

    @property
    def is_torn(self) -> bool:
        """Tell whether rounding decides which articles are among the top R."""
        k, order = self.retrieved, self.order
        return bool(self.history) and len(order) > k and order[k][0] - order[k - 1][0] < 1e-6

    @property
    def retrieved(self) -> int:
        """Return R."""
        return max(self.library.limits.retrieved, self.query.n)

    @cached_property
    def scores(self) -> dict[str, float]:
        """Score the top R of what is eligible: id -> score, best first."""
        kept = [i for _, i in self.order[: self.retrieved]]
        if not self.history:
            return {i: self.clicks(i) for i in kept}
        read = np.array([self.library.vectors[i] for i in self.history])  # (H, D)
        ages = {i: self.age(i) for i in kept}
        oldest = max((age for age in ages.values() if age is not None), default=0.0)
        scores = {
            i: self.by_model(self.library.vectors[i], read)
            + self.query.popularity_weight * max(0.0, self.library.popularity.get(i, -inf))
            - self.ageing(oldest if (age := ages[i]) is None else age)
            for i in kept
        }
        return dict(sorted(scores.items(), key=lambda one: (-one[1], one[0])))

    @cached_property
    def standing(self) -> dict[str, float]:
        """Return the places of the scored articles, the best one's the highest."""
        return {i: -float(place) for place, i in enumerate(self.scores)}

    def page(self, following: Sequence[str] = ()) -> tuple[list[Slot], list[str]]:
        """Choose a page greedily; return it and what is left, best first.

        Where an article of `following` is a near tie of the best, but no exact one, it is taken.
        """
        left, slots = list(self.scores), list[Slot]()
        nearest = dict.fromkeys(left, 0.0)
        while len(slots) < self.query.n:
            full = self.full([slot.id for slot in slots])
            worth = {
                i: self.worth(i, nearest[i]) for i in left if full.isdisjoint(self.library.names[i])
            }
            if not worth:
                break
            best = min(worth, key=lambda i: (-worth[i], i))
            other = following[len(slots)] if len(slots) < len(following) else best
            if other in worth and 0 < worth[best] - worth[other] <= NEAR_TIE:
                best = other
            also = [i for i in left if i != best and self.collapses(best, i)]
            slots.append(Slot(best, self.scores[best] - self.lost(nearest[best]), also))
            left = [i for i in left if i != best and i not in also]
            nearest = {i: max(nearest[i], self.library.cosines[i][best]) for i in left}
        return slots, left

    def passes(self, one: Article) -> bool:
        """Say whether an article passes every hard filter at the request's time."""
        query, criteria = self.query, self.query.criteria
        published, after = self.library.published[one.id], criteria.published_after
        return (
            not (one.embargo_until and one.embargo_until.timestamp() > NOW)
            and not (one.expires_at and one.expires_at.timestamp() <= NOW)
            and (not criteria.topics or one.topic in criteria.topics)
            and (not criteria.sources or one.source in criteria.sources)
            and (not criteria.languages or one.language in criteria.languages)
            and (after is None or (published is not None and published > after))
            and (query.candidates is None or one.id in query.candidates)
            and one.id not in query.exclude
            and not (query.exclude_seen and one.id in (*query.history, *query.seen))
            and not self.is_hidden(one.id)
        )

    def is_hidden(self, article_id: str) -> bool:
        """Say whether the reader has hidden an article, or another that tells its story."""
        hidden, library = self.query.hidden, self.library
        stories = [i for i in hidden if i in library.articles]
        return article_id in hidden or any(library.is_one_story(i, article_id) for i in stories)

    def by_model(self, v: Vector, history: NDArray[Any]) -> float:
        """Score one article: s (u.v + lambda t) + b.v."""
        match = history @ v
        weights = np.exp(CLICK_MODEL.temperature * match)
        attended = float((weights / weights.sum()) @ match)
        core = float(self.user @ v) + CLICK_MODEL.attention * attended
        return SCALE * core + float(CONTENT @ v)

    def worth(self, article_id: str, nearest: float) -> float:
        """Return what the greedy choice compares: (1 - d) score / s - d max cos(chosen)."""
        if not self.history:  # the order is settled by clicks and time
            return self.standing[article_id]
        d = self.query.diversity
        return (1 - d) * self.scores[article_id] / SCALE - d * nearest

    def lost(self, nearest: float) -> float:
        """Return what an article loses by being like one that was chosen, in score units."""
        d = self.query.diversity if self.history else 0.0
        return SCALE * d / (1 - d) * nearest

    def full(self, chosen: Sequence[str]) -> set[tuple[str, str]]:
        """Return the topics and sources that may not come again."""
        names = [name for i in chosen for name in self.library.names[i]]
        most = {"topic": self.query.per_topic, "source": self.query.per_source}
        return {name for name in names if names.count(name) >= (most[name[0]] or inf)}

    def collapses(self, chosen: str, other: str) -> bool:
        """Say whether an article is told by a chosen one."""
        return self.query.collapse and self.library.is_one_story(chosen, other)

    def clicks(self, article_id: str) -> float:
        """Return the weight of an article's clicks."""
        return exp(self.library.popularity.get(article_id, -inf))

    def ageing(self, age: float) -> float:
        """Return what an article of some age loses."""
        half_life = self.query.half_life_s
        return log(2) * age / half_life if half_life is not None else 0.0

    def age(self, article_id: str) -> float | None:
        """Return an article's age in seconds, None where it states no time."""
        published = self.library.published[article_id]
        return max(NOW - published, 0.0) if published is not None else None

    def seen_at(self, article_id: str) -> float:
        """Return when an article was published, or first seen."""
        published = self.library.published[article_id]
        return published if published is not None else self.library.stored[article_id].first_seen
