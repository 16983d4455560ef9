"""Catalogues to recommend from, and requests for them: the samples, and large made-up ones."""

import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import ROOT
from contract.article import Article, Vectors
from contract.bundle import Bundle
from contract.encoder import BundleEncoder
from contract.text import fingerprint
from service.articles import read_articles
from service.ports import Publication, Store
from service.refresh import Refresher

SAMPLES = ROOT / "samples"
TOPICS = 20
# Readers click within a few topics, mostly.
TOPICS_PER_READER = 3
# How far articles lie from the centre of their topic, in its length.
SPREAD = 1.0
WRITTEN_AT_ONCE = 2_000
Body = dict[str, Any]


def fill_with_samples(store: Store, bundle: Bundle) -> None:
    """Publish the sample articles, encoded by the bundle."""
    articles = read_articles(SAMPLES / "articles.jsonl", datetime.now(UTC))
    encoder = BundleEncoder(bundle)
    refresher = Refresher(store, encoder, bundle.text, bundle.namespace, time.time)
    for _ in refresher.refresh(articles):
        pass


def sample_requests(n: int) -> list[Body]:
    """Ask for every history of the sample click log that is not empty."""
    lines = (SAMPLES / "clicks.jsonl").read_text("utf-8").splitlines()
    histories = [json.loads(line)["history"] for line in lines]
    return [{"history": history, "n": n} for history in histories if history]


def fill_with_made_up(store: Store, bundle: Bundle, size: int, seed: int) -> None:
    """Publish made-up articles whose vectors lie around topic centres, straight into the store."""
    topics, vectors = made_up_vectors(size, bundle.manifest.dim, seed)
    for rows in in_rows(size, WRITTEN_AT_ONCE):
        publications = [_publication(bundle, row, int(topics[row]), vectors[row]) for row in rows]
        store.publish(publications, namespace=bundle.namespace, now=time.time())


def made_up_requests(
    count: int, *, size: int, history: int, seed: int, n: int | None = None, candidates: int = 0
) -> list[Body]:
    """Make readers who keep to a few topics; ask for `n`, or to rank some candidates."""
    random = np.random.default_rng(seed)
    topics = made_up_topics(size, seed)
    return [_request(random, topics, history, n, candidates) for _ in range(count)]


def made_up_topics(size: int, seed: int) -> NDArray[np.int64]:
    """Draw the topic of each article: (N,)."""
    return np.random.default_rng(seed).integers(TOPICS, size=size)


def made_up_vectors(size: int, dim: int, seed: int) -> tuple[NDArray[np.int64], Vectors]:
    """Draw topics and unit vectors around their centres: (N,), (N, D)."""
    random = np.random.default_rng(seed + 1)
    topics = made_up_topics(size, seed)
    centres = unit(random.standard_normal((TOPICS, dim)))  # (topics, D)
    around = SPREAD * unit(random.standard_normal((size, dim)))  # (N, D)
    return topics, unit(centres[topics] + around).astype(np.float32)


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give rows unit length."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def in_rows(size: int, at_once: int) -> Iterator[range]:
    """Cut 0 … size - 1 into ranges of at most `at_once`."""
    for start in range(0, size, at_once):
        yield range(start, min(start + at_once, size))


def write_bodies(file: Path, bodies: Sequence[Body]) -> Path:
    """Write one request body a line, for wrk."""
    file.write_text("".join(f"{json.dumps(body)}\n" for body in bodies), "utf-8")
    return file


def _request(
    random: np.random.Generator,
    topics: NDArray[np.int64],
    history: int,
    n: int | None,
    candidates: int,
) -> Body:
    liked = np.flatnonzero(np.isin(topics, random.choice(TOPICS, TOPICS_PER_READER, replace=False)))
    read = random.choice(liked, min(history, len(liked)), replace=False)
    body: Body = {"history": [_id(row) for row in read]}
    if n is not None:
        return {**body, "n": n}
    offered = random.choice(len(topics), candidates, replace=False)
    return {**body, "candidates": [_id(row) for row in offered]}


def _publication(bundle: Bundle, row: int, topic: int, vector: NDArray[np.float32]) -> Publication:
    article = Article(id=_id(row), title=f"Made-up story {row}", topic=f"topic{topic}")
    return Publication(article, fingerprint(bundle.text.text(article)), vector)


def _id(row: int) -> str:
    return f"M{row}"
