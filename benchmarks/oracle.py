"""The right answers, from the same store: the pipeline of architecture section 5 in plain NumPy."""

import json
import time
from collections.abc import Iterator, Sequence
from math import inf, isclose, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.catalogues import Body
from benchmarks.comparison import BenchmarkError
from benchmarks.servers import Server
from contract.article import Vectors
from contract.bundle import Bundle
from contract.encoder import BundleEncoder
from service.adapters.faiss_search import FaissSearch
from service.catalogue import Catalogue
from service.ports import Activation, Store, StoredArticle
from service.recommend import Limits, Recommender
from service.retrieval import Retrieval
from service.scores import Scorer
from service.settings import Settings

CHECKED = 20
# Scores are single precision, and the order of a sum depends on the number of threads: the last
# digits differ, and two articles that tie up to them may change places.
RELATIVE, ABSOLUTE = 1e-4, 1e-5
# The least share of the best articles that an answer may have, with exact search and by an index.
ALL, MOST = 1.0, 0.98
DEFAULTS = Settings.model_construct()  # whatever the environment says


class Oracle:
    """Every article of a store, looked at one request at a time; shares no code of the service."""

    def __init__(self, store: Store, bundle: Bundle) -> None:
        stored = [one for batch in store.scan(namespace=bundle.namespace) for one in batch]
        self._ids = np.array([one.id for one in stored])
        self._rows = {one.id: n for n, one in enumerate(stored)}
        self._vectors = np.stack([_vector(one) for one in stored])  # (N, D)
        self._published = np.array([_published(one) for one in stored])  # NaN: unknown
        self._encoder, self._history = BundleEncoder(bundle), bundle.text.history

    def best(self, body: Body) -> dict[str, float]:
        """Return the right answer to a recommendation or ranking: scores by id, best first."""
        read = [self._rows[i] for i in body["history"]][-self._history :]
        if "candidates" in body:
            rows = np.array([self._rows[i] for i in body["candidates"]])
            scores = self._scores(read, rows)
            return self._told(rows, scores, [(n, 0.0) for n in np.argsort(-scores, kind="stable")])
        rows = self._retrieved(read, [self._rows[i] for i in body["history"]])
        scores = self._scores(read, rows)
        chosen = self._chosen(rows, scores, body["n"], body.get("diversity", DEFAULTS.diversity))
        return self._told(rows, scores, list(chosen))

    def score(self, body: Body, article_id: str) -> float:
        """Score one article for a request's reader."""
        read = [self._rows[i] for i in body["history"]][-self._history :]
        return float(self._scores(read, np.array([self._rows[article_id]]))[0])

    def _told(
        self, rows: NDArray[np.intp], scores: Vectors, chosen: Sequence[tuple[int, float]]
    ) -> dict[str, float]:
        ids = self._ids[rows].tolist()
        return {ids[n]: float(scores[n]) - lost for n, lost in chosen}

    def _user(self, read: list[int]) -> tuple[Vectors, Vectors]:
        # By the user encoder's own graph, not by the weights that the service keeps of it.
        history = self._vectors[read]
        user = self._encoder.users(history[None], np.ones((1, len(read)), bool))[0]
        return user, history

    def _scores(self, read: list[int], rows: NDArray[np.intp]) -> Vectors:
        return self._encoder.click_model.score(*self._user(read), self._vectors[rows])

    def _retrieved(self, read: list[int], seen: list[int]) -> NDArray[np.intp]:
        model, user = self._encoder.click_model, self._user(read)[0].astype(np.float64)
        products = self._vectors @ (user + model.content / model.scale)
        products[seen] = -inf
        order = np.argsort(-products, kind="stable")[: DEFAULTS.retrieved]
        return order[products[order] > -inf]

    def _chosen(
        self, rows: NDArray[np.intp], scores: Vectors, n: int, diversity: float
    ) -> Iterator[tuple[int, float]]:
        """Choose places one by one, each with what it lost to those before."""
        vectors, published = self._vectors[rows].astype(np.float64), self._published[rows]
        price = self._encoder.click_model.scale * diversity / (1 - diversity)
        is_open, lost = np.ones(len(rows), bool), np.zeros(len(rows))
        for _ in range(min(n, len(rows))):
            if not is_open.any():
                return
            one = int(np.where(is_open, scores - lost, -inf).argmax())
            yield one, float(lost[one])
            cosines = vectors @ vectors[one]
            is_apart = np.abs(published - published[one]) > DEFAULTS.same_story_h * 3_600
            is_open &= (cosines < DEFAULTS.same_story) | is_apart
            is_open[one] = False
            lost = np.maximum(lost, price * cosines)


def check_answers(
    server: Server, path: str, bodies: Sequence[Body], oracle: Oracle, least: float = ALL
) -> int:
    """Compare some answers with the right ones; return their mean size in bytes.

    Raise BenchmarkError for the first wrong one, or where the share of the right articles over all
    of them is below `least`.
    """
    sizes, shares = [], []
    for body in bodies[:: max(1, len(bodies) // CHECKED)]:
        status, raw = server.post(path, json.dumps(body).encode())
        if status != 200:
            raise BenchmarkError(f"{path} answers {status}")
        shares.append(check_answer(body, json.loads(raw), oracle, is_exact=least == ALL))
        sizes.append(len(raw))
    share = sum(shares) / len(shares)
    if share < least:
        raise BenchmarkError(f"{share:.3f} of the right articles instead of {least}")
    return round(sum(sizes) / len(sizes))


def check_answer(body: Body, answer: dict[str, Any], oracle: Oracle, *, is_exact: bool) -> float:
    """Return the share of the right articles in an answer.

    Raise BenchmarkError unless all scores are right and, from exact search, all articles too.
    """
    items = answer["items"]
    if answer["strategy"] != "personal" or answer["degraded"]:
        raise BenchmarkError(f"not personal: {answer['strategy']}, {answer['degraded']}")
    wanted = body.get("n", len(body.get("candidates", ())))
    if len(items) != wanted:
        raise BenchmarkError(f"{len(items)} articles instead of {wanted}")
    if "n" in body and {item["id"] for item in items} & set(body["history"]):
        raise BenchmarkError("an article of the history was recommended")
    best = oracle.best(body)
    if is_exact:
        _check_places(items, best)
    elif not body.get("diversity", DEFAULTS.diversity):
        _check_scores(body, items, oracle)
    found = {item["id"] for item in items} & set(best)
    return float(len(found) / wanted)


def is_close(a: float, b: float) -> bool:
    """Say whether two scores are the same up to rounding."""
    return isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def recommender(store: Store, bundle: Bundle) -> Recommender:
    """Build the service's own use case over everything that the store holds."""
    activation = Activation(generation=1, model=bundle.model, namespace=bundle.namespace)
    encoder = BundleEncoder(bundle)
    limits = Limits(
        history=bundle.text.history,
        history_ttl_s=DEFAULTS.history_ttl_h * 3_600,
        retrieved=DEFAULTS.retrieved,
        same_story=DEFAULTS.same_story,
        same_story_s=DEFAULTS.same_story_h * 3_600,
    )
    catalogue = Catalogue(
        activation,
        bundle.manifest.dim,
        history_ttl_s=limits.history_ttl_s,
        logits=encoder.click_logits,
    )
    catalogue.load(store.scan(namespace=bundle.namespace), time.time())
    scorer, retrieval = Scorer(encoder.click_model), Retrieval(FaissSearch(), "exact")
    return Recommender(lambda: catalogue.current, scorer, retrieval, limits, time.time)


def _check_places(items: Sequence[dict[str, Any]], page: dict[str, float]) -> None:
    for item, (right, score) in zip(items, page.items(), strict=True):
        # An article of another place has the score of this one, or is none of the best.
        own = page.get(item["id"], -inf)
        if not (is_close(item["score"], score) and is_close(item["score"], own)):
            raise BenchmarkError(f"{item['id']} where {right} belongs")


def _check_scores(body: Body, items: Sequence[dict[str, Any]], oracle: Oracle) -> None:
    for item in items:
        right = oracle.score(body, item["id"])
        if not is_close(item["score"], right):
            raise BenchmarkError(f"{item['id']} scores {item['score']} instead of {right}")


def _vector(stored: StoredArticle) -> NDArray[np.float32]:
    if stored.vector is None:
        raise BenchmarkError(f"{stored.id} has no vector")
    return stored.vector


def _published(stored: StoredArticle) -> float:
    published = stored.article.published_at if stored.article else None
    return published.timestamp() if published else nan
