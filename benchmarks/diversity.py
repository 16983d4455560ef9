"""What novelty costs in clicks and what it does to a page: how the service's default was chosen."""

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.catalogues import SAMPLES
from benchmarks.comparison import DIGITS
from benchmarks.oracle import recommender
from benchmarks.results import FOLDER, ROOT, write_result
from contract.article import Article, Impression
from contract.bundle import Bundle, open_bundle
from contract.encoder import BundleEncoder
from contract.held_out import hold_out
from contract.intervals import Interval, interval, paired_interval
from contract.mind import read_folder
from contract.ranking import impression_auc, ndcg
from service.adapters.memory_store import MemoryStore
from service.articles import read_articles
from service.recommend import Query, Recommender
from service.refresh import Refresher

GRID = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
METRICS = ("ndcg10", "auc")
FOLDS, N = 5, 10
# What tests/e2e/test_sample_readers.py asks of the first readers with so many clicks.
READERS, SHORTEST_HISTORY, OF_THEIR_TOPICS = 30, 5, 7
PACKAGES = ("numpy", "onnxruntime", "faiss-cpu")
Figures = dict[str, Any]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Service:
    """The use case over articles, with their vectors and topics by id."""

    use_case: Recommender
    vectors: dict[str, NDArray[np.float32]]
    topics: dict[str, str]


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Holds mind/train.")
@click.option(
    "--bundle", "path", type=click.Path(path_type=Path), default=ROOT / "bundles/newsbert"
)
@click.option("--unseen", type=click.Path(path_type=Path), help="Bundle of a held-out run.")
@click.option("--share", default=0.25, show_default=True, help="`holdout_share` of that run.")
@click.option("--out", type=click.Path(path_type=Path), default=FOLDER)
def main(*, data: Path, path: Path, unseen: Path | None, share: float, out: Path) -> None:
    """Rank MIND's training impressions at every diversity, and recommend pages to their readers.

    The shipped student has learnt from these impressions. `--unseen` adds a student that was
    trained without a share of them, on that share.

    Example: python -m benchmarks.diversity --data DATA
    """
    bundle, folder = open_bundle(path), read_folder(data / "mind" / "train")
    judged = [i for i in folder.impressions if i.history and any(i.clicks) and not all(i.clicks)]
    service = serving(bundle, folder.articles)
    values = ranked(service, judged)
    folds = by_folds(values, fold_of(judged))
    rows = table(values)
    fitting = sample_readers(bundle)
    for row, page, fits in zip(rows, pages(service, judged), fitting, strict=True):
        row |= {**page, "readers": fits}
        click.echo(json.dumps(row))
    figures: Figures = {
        "without_loss": largest_without_loss(values),
        "default": chosen(largest_without_loss(values), fitting),
        "held_out_folds": folds,
    }
    if unseen is not None:
        left = [i for i in judged if hold_out(i.id, share)]
        other = ranked(serving(open_bundle(unseen), folder.articles), left)
        figures["unseen"] = {"without_loss": largest_without_loss(other), "by_d": table(other)}
    file = write_result(
        "diversity",
        figures=figures,
        runs=rows,
        settings={"n": N, "folds": FOLDS, "impressions": len(judged), "unseen_share": share},
        pinning="none: nothing is timed",
        packages=PACKAGES,
        folder=out,
    )
    click.echo(f"default {figures['default']}, written to {file.name}")


def serving(bundle: Bundle, articles: Sequence[Article]) -> Service:
    """Publish articles, and build the use case over them."""
    store, encoder = MemoryStore(), BundleEncoder(bundle)
    refresher = Refresher(store, encoder, bundle.text, bundle.namespace, time.time)
    for _ in refresher.refresh(articles):
        pass
    stored = [one for batch in store.scan(namespace=bundle.namespace) for one in batch]
    vectors = {one.id: one.vector for one in stored if one.vector is not None}
    return Service(recommender(store, bundle), vectors, {a.id: a.topic for a in articles})


def ranked(service: Service, impressions: Sequence[Impression]) -> dict[str, Values]:
    """Rank each impression's candidates at each diversity: metric -> (G, I)."""
    orders = [[order(service, one, d) for one in impressions] for d in GRID]
    judges = {"ndcg10": lambda o, c: ndcg(o, c, 10), "auc": impression_auc}
    return {
        name: np.array(
            [[judge(o, i.clicks) for o, i in zip(row, impressions, strict=True)] for row in orders]
        )
        for name, judge in judges.items()
    }


def order(service: Service, impression: Impression, diversity: float) -> list[float]:
    """Return each candidate's place on one long page, the first one's the highest number."""
    query = Query(
        history=impression.history,
        candidates=impression.candidates,
        n=len(impression.candidates),
        diversity=diversity,
        collapse=False,
        exclude_seen=False,
    )
    answer = service.use_case.recommend(query)
    places = {one.facts.id: -one.rank for one in answer.articles}
    return [places.get(candidate, -np.inf) for candidate in impression.candidates]


def pages(service: Service, impressions: Sequence[Impression]) -> list[Figures]:
    """Recommend from the whole catalogue: how alike a page's articles are, and their topics."""
    return [page_figures(service, impressions, d) for d in GRID]


def page_figures(service: Service, impressions: Sequence[Impression], d: float) -> Figures:
    """Average the cosine of two articles of a page, and the number of its topics."""
    alike, topics = [], []
    for one in impressions:
        answer = service.use_case.recommend(Query(history=one.history, n=N, diversity=d))
        ids = [article.facts.id for article in answer.articles]
        alike.append(similarity(np.array([service.vectors[i] for i in ids])))
        topics.append(len({service.topics[i] for i in ids} - {""}))
    return {"similarity": rounded(interval(alike)), "topics": round(float(np.mean(topics)), DIGITS)}


def similarity(vectors: NDArray[np.float32]) -> float:
    """Return the mean cosine of each two of some unit vectors: (N, D), N above 1."""
    count = len(vectors)
    return float(((vectors @ vectors.T).sum() - count) / (count * (count - 1)))


def sample_readers(bundle: Bundle) -> list[float]:
    """Return how many of ten articles are of topics that the sample readers clicked, by d.

    The service is told no topics, as in the test whose readers these are.
    """
    articles = read_articles(SAMPLES / "articles.jsonl", datetime.now(UTC))
    topics = {article.id: article.topic for article in articles}
    service = serving(
        bundle, [Article(id=a.id, title=a.title, abstract=a.abstract) for a in articles]
    )
    lines = map(json.loads, (SAMPLES / "clicks.jsonl").read_text("utf-8").splitlines())
    last = {one["user_id"]: one["history"] for one in lines}
    histories = [last[user] for user in sorted(last) if len(last[user]) >= SHORTEST_HISTORY]
    return [
        float(np.mean([fitting(service, h, topics, d) for h in histories[:READERS]])) for d in GRID
    ]


def fitting(service: Service, history: list[str], topics: dict[str, str], d: float) -> int:
    """Count a page's articles of topics that a history holds twice, or once where none twice."""
    counts = Counter(topics[i] for i in history)
    liked = {topic for topic, count in counts.items() if count > 1} or set(counts)
    answer = service.use_case.recommend(Query(history=history, n=N, diversity=d))
    return sum(topics[one.facts.id] in liked for one in answer.articles)


def table(values: dict[str, Values]) -> list[Figures]:
    """Return each diversity's means and what they differ by from none at all."""
    return [
        {
            "d": d,
            **{name: round(float(values[name][g].mean()), DIGITS) for name in METRICS},
            **{f"{name}_gain": rounded(gain(values[name], g)) for name in METRICS},
        }
        for g, d in enumerate(GRID)
    ]


def gain(values: Values, g: int) -> Interval:
    """Return what a diversity gains over none, paired by impression: (G, I)."""
    return paired_interval(values[g], values[0])


def largest_without_loss(values: dict[str, Values]) -> float:
    """Return the largest diversity up to which no loss can be measured by any metric."""

    def is_free(g: int) -> bool:
        return all(gain(values[name], g).high >= 0 for name in METRICS)

    return GRID[max(takewhile(is_free, range(len(GRID))))]


def by_folds(values: dict[str, Values], folds: NDArray[np.int64]) -> Figures:
    """Choose on all folds but one, and measure the choice on that one; pool what was measured."""
    choices, gains = [], {name: np.zeros(len(folds)) for name in METRICS}
    for fold in range(FOLDS):
        own = folds == fold
        choices.append(largest_without_loss({name: values[name][:, ~own] for name in METRICS}))
        for name in METRICS:
            g = GRID.index(choices[-1])
            gains[name][own] = values[name][g, own] - values[name][0, own]
    pooled = {f"{name}_gain": rounded(interval(gains[name])) for name in METRICS}
    return {"choices": choices, **pooled}


def fold_of(impressions: Sequence[Impression]) -> NDArray[np.int64]:
    """Deal impressions to folds in a seeded order: (I,)."""
    return np.random.default_rng(1).permutation(len(impressions)) % FOLDS


def chosen(without_loss: float, fitting: Sequence[float]) -> float:
    """Return the largest diversity without loss with which the sample readers are content."""
    content = [d for d, fits in zip(GRID, fitting, strict=True) if fits >= OF_THEIR_TOPICS]
    return max((d for d in content if d <= without_loss), default=0.0)


def rounded(figures: Sequence[float]) -> list[float]:
    """Round a mean or difference with its interval."""
    return [round(figure, DIGITS) for figure in figures]


if __name__ == "__main__":
    main()
