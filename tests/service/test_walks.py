"""A thousand walks through pages of a catalogue that changes between them.

No article comes twice and none is passed over but what was taken down, embargoed or expired when
its turn came; ranks run on, and every walk ends.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest

from service.answer import Answer
from service.criteria import Criteria
from service.diversify import Variety
from service.errors import ArticleUnknown
from service.lists import Lists, Wanted
from service.paging import Kind, Pager, Position, request_hash
from service.popularity import PopularityUpdate
from service.ports import StoredArticle
from service.recommend import Query
from service.retrieval import Retrieval
from tests.builders import an_article
from tests.service.fakes import (
    HOUR,
    NOW,
    FakeClock,
    NumpySearch,
    a_catalogue_with,
    a_take_down,
    a_vector,
)
from tests.service.recommending import LIMITS, a_recommender, at

WALKS, CHUNKS = 1_000, 10
TOPICS = ("sports", "politics", "finance")
PAGES = 500
KEY = bytes(32)


class World:
    """A catalogue with the truth about it beside it: what is shown when, and all ids there are."""

    def __init__(self, random: np.random.Generator, size: int) -> None:
        self.random = random
        self.clock = FakeClock()
        self.stored = {f"N{i}": self.drawn(f"N{i}") for i in range(size)}
        self.catalogue = a_catalogue_with(*self.stored.values(), merge_rows=5)
        self.tell_clicks()

    def drawn(self, article_id: str, version: int = 1) -> StoredArticle:
        """Build an article: one in four tells a story of others, some may not be shown yet."""
        random, now = self.random, self.clock.now
        is_told = random.random() < 0.25
        vector = a_vector(f"story {random.integers(3)}" if is_told else f"{article_id} {version}")
        fields: dict[str, Any] = {"topic": TOPICS[random.integers(len(TOPICS))]}
        if random.random() < 0.7:
            fields["published_at"] = at(now - HOUR * float(random.integers(100)))
        if random.random() < 0.15:
            fields["embargo_until"] = at(now + HOUR * float(random.integers(-2, 5)))
        if random.random() < 0.2:
            fields["expires_at"] = at(now + HOUR * float(random.integers(-1, 8)))
        article = an_article(article_id, **fields)
        return StoredArticle(article_id, version, article, "", NOW - HOUR, vector)

    def is_shown(self, article_id: str) -> bool:
        """Say whether an article may be shown now."""
        article, now = self.stored[article_id].article, self.clock.now
        if article is None:
            return False
        early, late = article.embargo_until, article.expires_at
        return not (early and early.timestamp() > now) and not (late and late.timestamp() <= now)

    def is_told(self, article_id: str, hidden: Sequence[str]) -> bool:
        """Say whether an article is a hidden one, or tells the story of one."""
        one = self.stored[article_id]
        return article_id in hidden or any(is_one_story(one, self.stored[i]) for i in hidden)

    def go_on(self) -> None:
        """Let time pass, and publish, change and take down a few articles."""
        random = self.random
        self.clock.now += HOUR * float(random.choice([0, 0.01, 1]))
        for _ in range(random.integers(5)):
            old = self.stored[str(random.choice(list(self.stored)))]
            act = random.random()
            if act < 0.3:
                new = self.drawn(f"X{len(self.stored)}")
            elif act < 0.7:
                new = self.drawn(old.id, old.version + 1)
            else:
                new = a_take_down(old.id, old.version + 1)
            self.stored[new.id] = new
            self.catalogue.apply([new], self.clock.now)
        if random.random() < 0.2:
            self.tell_clicks()

    def tell_clicks(self) -> None:
        """Replace the articles' popularity."""
        picked = self.random.choice(list(self.stored), size=len(self.stored) // 3)
        self.catalogue.set_popularity(
            PopularityUpdate({str(i): float(self.random.normal()) for i in picked})
        )


def is_one_story(one: StoredArticle, other: StoredArticle) -> bool:
    """Say whether two articles are there, mean the same, and are of the same days."""
    if one.article is None or other.article is None or one.vector is None or other.vector is None:
        return False
    times = one.article.published_at, other.article.published_at
    is_apart = None not in times and abs(times[0] - times[1]) > timedelta(hours=72)  # type: ignore[operator]
    return float(one.vector.astype(float) @ other.vector) >= 0.96 and not is_apart


@dataclass(frozen=True)
class Walk:
    """One request, to be asked page by page; `whole` asks for the first R articles as they are.

    The reader hides more and more articles, from one page to the next.
    """

    kind: Kind
    page: Callable[[int, Position | None], Answer]
    whole: Callable[[], Answer]
    is_plain: bool  # pages in the very order of the whole
    per_topic: int | None = None
    hidden: list[str] = field(default_factory=list)


def a_walk_through_a_list(world: World, retrieved: int) -> Walk:
    """Draw a list, its filter, and whether stories are collapsed."""
    random, catalogue = world.random, world.catalogue
    lists = Lists(
        lambda: catalogue.current,
        Retrieval(NumpySearch()),
        clock=world.clock,
        retrieved=retrieved,
        stories=Variety(same_story=0.96, window_s=72 * HOUR),
    )
    kinds = (Kind.LATEST, Kind.TRENDING, Kind.SIMILAR)
    kind = kinds[random.integers(len(kinds))]
    criteria = Criteria(topics=frozenset(TOPICS[:2]) if random.random() < 0.5 else frozenset())
    wanted = Wanted(criteria=criteria, collapse=bool(random.random() < 0.5))
    ask: dict[Kind, Callable[[Wanted], Answer]] = {
        Kind.LATEST: lists.latest,
        Kind.TRENDING: lists.trending,
        Kind.SIMILAR: partial(lists.similar, "N0"),
    }
    return Walk(
        kind,
        page=lambda n, position: ask[kind](replace(wanted, n=n, position=position)),
        whole=lambda: ask[kind](replace(wanted, n=retrieved, collapse=False)),
        is_plain=not wanted.collapse,
    )


def a_walk_through_recommendations(world: World, retrieved: int) -> Walk:
    """Draw a reader and everything that may be asked of the pages."""
    random = world.random
    limits = replace(LIMITS, retrieved=retrieved)
    recommender = a_recommender(world.catalogue, world.clock, limits=limits)

    def maybe(value: Any, otherwise: Any) -> Any:
        return value if random.random() < 0.5 else otherwise

    hidden = [f"N{i}" for i in random.integers(10, size=random.integers(3))]
    plain = Query(
        hidden=hidden,
        history=[f"N{i}" for i in random.integers(50, size=random.integers(6))],
        criteria=Criteria(topics=maybe(frozenset(TOPICS[:2]), frozenset())),
        half_life_s=maybe(24 * HOUR, None),
        popularity_weight=maybe(0.5, 0.0),
        collapse=False,
    )
    varied = replace(
        plain,
        diversity=maybe(0.3, 0.0),
        collapse=bool(random.random() < 0.5),
        per_topic=maybe(2, None),
    )
    query = maybe(plain, varied)
    return Walk(
        Kind.RECOMMENDATIONS,
        page=lambda n, position: recommender.recommend(replace(query, n=n, position=position)),
        whole=lambda: recommender.recommend(replace(plain, n=retrieved)),
        is_plain=query is plain,
        per_topic=query.per_topic,
        hidden=hidden,
    )


class Steps:
    """What a walk must keep to, page by page, as written down by somebody else."""

    def __init__(self, world: World, whole: Sequence[str], walk: Walk) -> None:
        self._world, self._walk = world, walk
        self._due = list(whole)
        self._shown = 0
        self.beside = 0  # how many articles were named in another one's `also`

    def take(self, answer: Answer, n: int) -> None:
        """Check a page against what is due, and cross it off."""
        world, hidden = self._world, self._walk.hidden
        self._due = [i for i in self._due if world.is_shown(i) and not world.is_told(i, hidden)]
        listed = [one.facts.id for one in answer.articles]
        also = [i for one in answer.articles for i in one.also]
        if self._walk.is_plain:
            assert listed == self._due[:n]
        assert len(set(listed + also)) == len(listed + also)
        assert set(listed + also) <= set(self._due)
        assert [one.rank for one in answer.articles] == list(
            range(self._shown + 1, self._shown + len(listed) + 1)
        )
        assert len(listed) <= n
        topics = Counter(one.facts.topic for one in answer.articles)
        assert max(topics.values(), default=0) <= (self._walk.per_topic or n)
        assert (answer.empty is None) == bool(listed)
        assert listed or not self._due
        for one in answer.articles:
            assert one.facts.version == self._world.stored[one.facts.id].version
        self._due = [i for i in self._due if i not in {*listed, *also}]
        self._shown += len(listed)
        self.beside += len(also)
        assert (sorted(answer.left), answer.shown) == (sorted(self._due), self._shown)


def walked(seed: int) -> tuple[int, int]:
    """Walk to the end of one request, on one process or another.

    Return how many pages there were, and how many articles were met beside another one.
    """
    random = np.random.default_rng(seed)
    world = World(random, size=int(random.integers(10, 50)))
    retrieved = int(random.choice([15, 300]))
    draw = a_walk_through_a_list if seed % 2 else a_walk_through_recommendations
    walk = draw(world, retrieved)
    request = request_hash({"seed": seed})
    pagers = [Pager(lambda: KEY, world.clock, ttl_s=3 * HOUR) for _ in range(2)]
    try:
        whole = [one.facts.id for one in walk.whole().articles]
    except ArticleUnknown:
        assert not world.is_shown("N0")
        return 0, 0
    steps, position, at_first = Steps(world, whole, walk), None, world.clock.now
    for page in range(PAGES):
        n = int(random.integers(1, 10))
        try:
            answer = walk.page(n, position)
        except ArticleUnknown:
            assert not world.is_shown("N0")
            return page, steps.beside
        assert answer.at == at_first
        steps.take(answer, n)
        left = Position(walk.kind, request, answer.at, answer.shown, answer.left)
        token = pagers[page % 2].issue(left)
        if token is None:
            assert not answer.left
            return page + 1, steps.beside
        world.go_on()
        if walk.kind is Kind.RECOMMENDATIONS and random.random() < 0.2:
            walk.hidden.append(str(random.choice(list(world.stored))))
        position = pagers[1 - page % 2].read(token, walk.kind, request)
    raise AssertionError("the walk does not end")


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_walk_repeats_nothing_and_leaves_nothing_out(chunk: int) -> None:
    """A thousand of them in all, each of its own seed, most of them several pages long."""
    pages, beside = zip(*(walked(seed) for seed in range(chunk, WALKS, CHUNKS)), strict=True)
    assert sum(pages) > 3 * len(pages)
    # An even chunk is of recommendations alone, an odd one of lists.
    assert sum(beside) > len(pages) / 4
