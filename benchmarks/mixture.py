"""Everything that readers and publishers ask of the service, seeded, in proportions, and checked.

Articles are made of made-up words: some frequent, most rare, as in any language.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np

from benchmarks.comparison import BenchmarkError
from contract.article import Article
from service.client import Client, Refused
from service.wire.finding import SearchBody
from service.wire.ranked import RankBody, RecommendationBody
from service.wire.texts import ClassifyBody, EmbeddingsBody

SYLLABLES = tuple(f"{a}{b}" for a in "bdfgklmnprstvz" for b in "aeiou")
WORDS, TITLE_WORDS, ABSTRACT_WORDS = 30_000, 9, 24
TOPICS, SOURCES, LANGUAGES = 20, 200, ("en", "de", "fr")
AGE_H = 24 * 30
HISTORY, CANDIDATES, N = 50, 100, 10
# A new article is taken down when so many newer ones are there: the catalogue keeps its size.
NEW_AT_ONCE = 200
PAGES = 3
# Most articles have this word, so every search finds some. (The first one is a stop word, "be".)
FREQUENT = 2
MODES: tuple[Literal["hybrid", "dense", "bm25"], ...] = ("hybrid", "dense", "bm25")
# How many of a hundred acts are of each kind; some acts are several requests.
SHARES = {
    "recommend": 37, "walk": 6, "rank": 9, "search": 12, "latest": 7, "trending": 5, "similar": 7,
    "catalogue": 1, "article": 3, "classify": 3, "embed": 3, "models": 1, "refused": 2,
    "publish_new": 3, "publish_again": 1,
}  # fmt: skip

Act: TypeAlias = Callable[[], Awaitable[int]]
Random: TypeAlias = np.random.Generator


def word(number: int) -> str:
    """Spell the word of a number: another one for each."""
    spelt = SYLLABLES[number % len(SYLLABLES)]
    while number := number // len(SYLLABLES):
        spelt += SYLLABLES[number % len(SYLLABLES)]
    return spelt


def text(random: Random, count: int) -> str:
    """Write some words, the frequent ones often (log-uniform ranks, close to Zipf's law)."""
    ranks = np.exp(random.uniform(0, np.log(WORDS), count)).astype(int)
    return " ".join(word(int(rank)) for rank in ranks)


def an_article(random: Random, article_id: str, now: datetime) -> Article:
    """Make up an article of the last month."""
    return Article(
        id=article_id,
        title=text(random, TITLE_WORDS).capitalize(),
        abstract=text(random, ABSTRACT_WORDS),
        topic=f"topic{random.integers(TOPICS)}",
        source=f"source{random.integers(SOURCES)}",
        language=LANGUAGES[random.integers(len(LANGUAGES))],
        url=f"https://news.example/{article_id}",
        published_at=now - timedelta(hours=float(random.integers(AGE_H))),
    )


class Visitors:
    """Asks for one thing after the other; whoever shares it may ask at the same time.

    `ids` are articles that stay. Every answer is checked for its shape by the client and for its
    size here: BenchmarkError for what cannot be right.
    """

    def __init__(self, client: Client, ids: Sequence[str], seed: int) -> None:
        self._client, self._ids = client, ids
        self._random = np.random.default_rng(seed)
        self._acts: dict[str, Act] = {name: getattr(self, f"_{name}") for name in SHARES}
        self._shares = np.array(list(SHARES.values())) / sum(SHARES.values())
        self._new: deque[str] = deque()
        self._published = 0
        self.requests = 0

    async def one(self) -> None:
        """Do one thing, drawn by its share; a walk is several requests."""
        name = str(self._random.choice(list(SHARES), p=self._shares))
        done = await self._acts[name]()
        # Not before the wait: others count meanwhile.
        self.requests += done

    async def renew(self, count: int) -> None:
        """Publish many articles at once and take them down again: what a snapshot merges for.

        It is not counted among the requests.
        """
        batch = [self._fresh() for _ in range(count)]
        self._expect((await self._client.publish_many(batch)).written == count, "publish_many")
        for article in batch:
            await self._client.take_down(article.id)

    async def _recommend(self) -> int:
        answer = await self._client.recommend(self._reader())
        self._expect(len(answer.items) == N and not answer.degraded, "recommend")
        return 1

    async def _walk(self) -> int:
        body, shown = self._reader(), set[str]()
        for page in range(PAGES):
            answer = await self._client.recommend(body)
            ids = {one.id for one in answer.items}
            self._expect(len(ids) == N and not ids & shown, f"page {page + 1} of a walk")
            shown |= ids
            body = body.model_copy(update={"cursor": answer.next_cursor})
        return PAGES

    async def _rank(self) -> int:
        body = RankBody(history=self._some(HISTORY), candidates=self._some(CANDIDATES))
        answer = await self._client.rank(body)
        ranked = {one.id for one in answer.items}
        self._expect(ranked == set(body.candidates) and not answer.missing, "rank")
        return 1

    async def _search(self) -> int:
        mode = MODES[self._random.integers(len(MODES))]
        query = f"{self._text(4)} {word(FREQUENT)}"
        answer = await self._client.search(SearchBody(query=query, mode=mode, timeout_ms=10_000))
        self._expect(answer.strategy == mode and not answer.degraded, "search")
        self._expect(len(answer.items) == N, "search")
        return 1

    async def _latest(self) -> int:
        topic = f"topic{self._random.integers(TOPICS)}"
        answer = await self._client.latest(n=N, topic=topic, include=["title", "topic"])
        # Not always N: a small catalogue has fewer of a topic.
        self._expect({one.topic for one in answer.items} == {topic}, "latest")
        return 1

    async def _trending(self) -> int:
        answer = await self._client.trending(n=N)
        self._expect(len(answer.items) == N, "trending")
        return 1

    async def _similar(self) -> int:
        known = self._one()
        answer = await self._client.similar(known, n=N)
        ids = {one.id for one in answer.items}
        self._expect(len(ids) == N and known not in ids, "similar")
        return 1

    async def _catalogue(self) -> int:
        page = await self._client.catalogue(limit=N)
        rest = await self._client.catalogue(limit=N, cursor=page.next_cursor)
        ids = [one.id for one in page.items + rest.items]
        self._expect(len(ids) == 2 * N and ids == sorted(set(ids)), "catalogue")
        return 2

    async def _article(self) -> int:
        known = self._one()
        self._expect((await self._client.article(known)).id == known, "article")
        return 1

    async def _classify(self) -> int:
        texts = self._texts()
        answer = await self._client.classify(ClassifyBody(texts=texts))
        classified = [one for one in answer.results if one.taxonomies]
        self._expect(len(classified) == len(texts), "classify")
        return 1

    async def _embed(self) -> int:
        texts = self._texts()
        answer = await self._client.embed(EmbeddingsBody(model="newsbert", input=texts))
        self._expect(len(answer.data) == len(texts), "embed")
        return 1

    async def _models(self) -> int:
        self._expect(len((await self._client.models()).data) == 1, "models")
        return 1

    async def _refused(self) -> int:
        unknown, forged = f"unknown-{self._random.integers(10**9)}", self._text(3)
        for ask, code in (
            (partial(self._client.similar, unknown), "article_unknown"),
            (partial(self._client.latest, cursor=forged), "cursor_refused"),
        ):
            try:
                await ask()
            except Refused as refused:
                self._expect(refused.code == code, "refused")
            else:
                self._expect(False, "refused")
        return 2

    async def _publish_new(self) -> int:
        article = self._fresh()
        self._expect((await self._client.publish(article)).changed, "publish")
        self._new.append(article.id)
        if len(self._new) <= NEW_AT_ONCE:
            return 1
        await self._client.take_down(self._new.popleft())
        return 2

    async def _publish_again(self) -> int:
        article = an_article(self._random, self._one(), datetime.now(UTC))
        self._expect((await self._client.publish(article)).changed, "publish")
        return 1

    def _fresh(self) -> Article:
        self._published += 1
        # With a word that no article had: real news brings names.
        article = an_article(self._random, f"X{self._published}", datetime.now(UTC))
        name = word(WORDS + self._published)
        return article.model_copy(update={"title": f"{article.title} {name}"})

    def _reader(self) -> RecommendationBody:
        random = self._random
        wishes: list[dict[str, Any]] = [
            {},
            {"explain": True, "include": ["title", "published_at"]},
            {"diversity": 0.0},
            {"freshness_half_life_h": 24.0, "popularity_weight": 0.2},
            {"max_per_topic": 3, "max_per_source": 3},
        ]
        history = self._some(int(random.integers(HISTORY + 1)))
        return RecommendationBody(history=history, n=N, **wishes[random.integers(len(wishes))])

    def _one(self) -> str:
        return self._ids[int(self._random.integers(len(self._ids)))]

    def _some(self, count: int) -> list[str]:
        return list(dict.fromkeys(self._one() for _ in range(count)))

    def _text(self, count: int) -> str:
        return text(self._random, count)

    def _texts(self) -> list[str]:
        return [self._text(int(self._random.integers(1, 40))) for _ in range(4)]

    def _expect(self, is_so: bool, what: str) -> None:
        if not is_so:
            raise BenchmarkError(f"{what}: the answer cannot be right")
