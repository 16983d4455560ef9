"""The right answers, from the same store by the same use case, without HTTP in between."""

import json
import time
from collections.abc import Sequence
from math import inf, isclose
from typing import Any

from benchmarks.catalogues import Body
from benchmarks.comparison import BenchmarkError
from benchmarks.servers import Server
from contract.bundle import Bundle
from contract.encoder import BundleEncoder
from service.adapters.faiss_search import FaissSearch
from service.catalogue import Catalogue
from service.ports import Activation, Store
from service.recommend import Query, Ranking, Recommendation, Recommender
from service.settings import Settings

CHECKED = 20
# Scores are single precision, and the order of a sum depends on the number of threads: the last
# digits differ, and two articles that tie up to them may change places.
RELATIVE, ABSOLUTE = 1e-4, 1e-5


def recommender(store: Store, bundle: Bundle) -> Recommender:
    """Build the use case over everything that the store holds."""
    activation = Activation(generation=1, model=bundle.model, namespace=bundle.namespace)
    settings = Settings.model_fields
    catalogue = Catalogue(
        activation,
        bundle.manifest.dim,
        history_ttl_s=settings["history_ttl_h"].default * 3_600,
    )
    catalogue.load(store.scan(namespace=bundle.namespace), time.time())
    encoder = BundleEncoder(bundle)
    return Recommender(
        lambda: catalogue.current,
        encoder,
        encoder.click_model,
        FaissSearch(),
        clock=time.time,
        history=bundle.text.history,
        retrieved=settings["retrieved"].default,
    )


def check_answers(server: Server, path: str, bodies: Sequence[Body], truth: Recommender) -> int:
    """Compare some answers with the truth; return their mean size in bytes.

    Raise BenchmarkError for the first that differs.
    """
    sizes = []
    for body in bodies[:: max(1, len(bodies) // CHECKED)]:
        status, raw = server.post(path, json.dumps(body).encode())
        if status != 200:
            raise BenchmarkError(f"{path} answers {status}")
        check_answer(body, json.loads(raw), truth)
        sizes.append(len(raw))
    return round(sum(sizes) / len(sizes))


def check_answer(body: Body, answer: dict[str, Any], truth: Recommender) -> None:
    """Raise BenchmarkError unless an answer is the one that the use case gives."""
    expected = _expected(body, truth)
    items = answer["items"]
    if answer["strategy"] != "personal" or answer["degraded"]:
        raise BenchmarkError(f"not personal: {answer['strategy']}, {answer['degraded']}")
    wanted = body.get("n", len(body.get("candidates", ())))
    if len(items) != wanted:
        raise BenchmarkError(f"{len(items)} articles instead of {wanted}")
    if "n" in body and {item["id"] for item in items} & set(body["history"]):
        raise BenchmarkError("an article of the history was recommended")
    scores = {right.facts.id: right.score for right in expected.articles}
    for item, right in zip(items, expected.articles, strict=True):
        # An article of another place has the score of this one, or is none of the best.
        own = scores.get(item["id"], -inf)
        if not (is_close(item["score"], right.score) and is_close(item["score"], own)):
            raise BenchmarkError(f"{item['id']} where {right.facts.id} belongs")


def is_close(a: float, b: float) -> bool:
    """Say whether two scores are the same up to rounding."""
    return isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def _expected(body: Body, truth: Recommender) -> Recommendation | Ranking:
    if "candidates" in body:
        return truth.rank(body["history"], body["candidates"])
    return truth.recommend(Query(history=body["history"], n=body["n"]))
