"""Catalogues to search in, made-up and real: snapshots, readers, and what filters leave of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.archives import MIND, read_archives
from benchmarks.catalogues import made_up_requests, made_up_vectors
from contract.article import Article, Impression, Mask, Vectors
from contract.bundle import Bundle
from contract.encoder import BundleEncoder
from contract.mind import iter_behaviors
from service.columns import Columns, Facts, Times
from service.id_table import IdTable
from service.ports import Activation
from service.snapshot import Snapshot

KINDS: Final = ("random", "topic", "source", "newest")
MADE_UP_ROWS, HISTORY = 65_000, 50
# Made up for both: an outlet writes of a few topics, and articles came evenly over so many days.
SOURCES, TOPICS_PER_SOURCE, DAYS = 64, 3, 30
# Clicks of a news site's half day (clicks-12h.tsv.gz): so many rows are clicked at all, and of
# those so many more than x times as x to the power of minus TAIL.
CLICKED, TAIL, MOST_CLICKS = 0.086, 0.68, 26_000
NOW, SEED = 1_700_000_000.0, 4
DAY_S = 86_400.0
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Shelf:
    """A snapshot without an index, and readers' histories as rows, oldest first."""

    name: str
    snapshot: Snapshot
    histories: list[list[int]]


def made_up(bundle: Bundle, readers: int, size: int = MADE_UP_ROWS) -> Shelf:
    """Draw articles around topics, and readers who keep to three of them."""
    topics, vectors = made_up_vectors(size, bundle.manifest.dim, SEED)
    articles = [Article(id=f"M{n}", title="", topic=f"topic{t}") for n, t in enumerate(topics)]
    bodies = made_up_requests(readers, size=size, history=HISTORY, seed=SEED, n=1)
    histories = [[int(i[1:]) for i in body["history"]] for body in bodies]
    # Time says nothing of what is written.
    newest = np.random.default_rng(SEED).permutation(size)
    return Shelf("made-up", a_snapshot(bundle, articles, vectors, newest), histories)


def real(bundle: Bundle, readers: int, data: Path) -> list[Shelf]:
    """Encode real articles: all of them, and MIND's alone, which are few; MIND's readers read."""
    archives = [article for article in read_archives(data) if bundle.text.text(article)]
    vectors = BundleEncoder(bundle).vectors([bundle.text.text(one) for one in archives])
    articles = with_topics(archives, vectors)
    behaviors = list(iter_behaviors((data / MIND).with_name("behaviors.tsv")))
    few = sum(article.source == "mind" for article in articles)
    return [
        Shelf(
            name,
            a_snapshot(bundle, articles[:count], vectors[:count], newest_of(articles[:count])),
            drawn_readers(behaviors, articles[:count], readers),
        )
        for name, count in (("real", len(articles)), ("mind", few))
    ]


def drawn_readers(
    behaviors: Sequence[Impression], articles: Sequence[Article], readers: int
) -> list[list[int]]:
    """Draw histories that hold known articles, as rows."""
    rows = {article.id: row for row, article in enumerate(articles)}
    read = [[rows[i] for i in one.history if i in rows][-HISTORY:] for one in behaviors]
    known = [history for history in read if history]
    drawn = np.random.default_rng(SEED).permutation(len(known))[:readers]
    return [known[n] for n in drawn]


def with_topics(articles: Sequence[Article], vectors: Vectors) -> list[Article]:
    """Give each article without a topic the one whose mean vector is nearest."""
    names = sorted({article.topic for article in articles} - {""})
    told = np.array([article.topic for article in articles])
    centres = np.array([vectors[told == name].mean(axis=0) for name in names])  # (topics, D)
    guessed = (vectors @ centres.T).argmax(axis=1)
    return [
        article if article.topic else article.model_copy(update={"topic": names[guess]})
        for article, guess in zip(articles, guessed, strict=True)
    ]


def newest_of(articles: Sequence[Article]) -> Rows:
    """Order articles by time, newest first; those of one time in a seeded order."""
    times = [(a.published_at or datetime.min.replace(tzinfo=UTC)).timestamp() for a in articles]
    shuffled = np.random.default_rng(SEED).permutation(len(times))
    return shuffled[np.argsort(-np.array(times)[shuffled], kind="stable")]


def a_snapshot(
    bundle: Bundle, articles: Sequence[Article], vectors: Vectors, newest: Rows
) -> Snapshot:
    """Put articles (N,) and vectors (N, D) on a shelf; `newest` (N,) is their order in time."""
    count = len(articles)
    ages = np.empty(count)
    ages[newest] = DAYS * DAY_S * np.arange(count) / count
    columns = Columns.empty(count, vectors.shape[1])
    for article, source, age, vector in zip(
        articles, outlets([a.topic for a in articles]), ages, vectors, strict=True
    ):
        facts = replace(Facts.of(article, 1), source=source)
        columns.append(facts, Times(NOW - age, False, -np.inf, np.inf), vector)
    columns.logits[:] = BundleEncoder(bundle).click_logits(columns.vectors)
    every = np.ones(count, bool)
    activation = Activation(1, bundle.model, bundle.namespace)
    return Snapshot(activation, columns, count, every, IdTable([]), {}, popularity(count))


def outlets(topics: Sequence[str]) -> list[str]:
    """Give each article one of the outlets that write of its topic."""
    random = np.random.default_rng(SEED)
    names = sorted(set(topics))
    # Dealt out in turn, so that every topic has an outlet.
    deals = np.resize(np.arange(len(names)), SOURCES * TOPICS_PER_SOURCE)
    writers = {name: np.flatnonzero(deals == n) % SOURCES for n, name in enumerate(names)}
    return [f"outlet{random.choice(writers[topic])}" for topic in topics]


def popularity(count: int) -> NDArray[np.float64]:
    """Draw log-weights of clicks, minus infinity for most articles: (N,)."""
    random = np.random.default_rng(SEED)
    clicks = np.minimum(1 + random.pareto(TAIL, count), MOST_CLICKS)
    return np.where(random.random(count) < CLICKED, np.log(clicks), -np.inf)


def left_by(kind: str, share: float, snapshot: Snapshot, random: np.random.Generator) -> Mask:
    """Leave a share of the rows: any, those of some topics or sources, or the newest."""
    columns, count = snapshot.columns, snapshot.count
    place = random.random(count)
    if kind in ("topic", "source"):
        # Whole topics in a random order; of the last one that has room, any rows.
        codes = columns.topics if kind == "topic" else columns.sources
        place += random.permutation(len(codes.names))[codes.values[:count]]
    elif kind == "newest":
        place = -columns.published[:count]
    mask = np.zeros(count, bool)
    mask[np.argsort(place, kind="stable")[: round(share * count)]] = True
    return mask
