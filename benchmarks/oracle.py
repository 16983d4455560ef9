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
from service.recommend import Limits, Query, Recommender
from service.retrieval import Retrieval
from service.scores import Scorer
from service.settings import Settings

CHECKED = 20
# Scores are single precision, and the order of a sum depends on the number of threads: the last
# digits differ, and two articles that tie up to them may change places.
RELATIVE, ABSOLUTE = 1e-4, 1e-5
# What a request that names none is answered with.
DIVERSITY: float = Settings.model_fields["diversity"].default


def recommender(store: Store, bundle: Bundle) -> Recommender:
    """Build the use case over everything that the store holds."""
    activation = Activation(generation=1, model=bundle.model, namespace=bundle.namespace)
    settings = Settings.model_construct()  # the defaults, whatever the environment says
    encoder = BundleEncoder(bundle)
    limits = Limits(
        history=bundle.text.history,
        history_ttl_s=settings.history_ttl_h * 3_600,
        retrieved=settings.retrieved,
        same_story=settings.same_story,
        same_story_s=settings.same_story_h * 3_600,
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
    for item, (right, score) in zip(items, expected.items(), strict=True):
        # An article of another place has the score of this one, or is none of the best.
        own = expected.get(item["id"], -inf)
        if not (is_close(item["score"], score) and is_close(item["score"], own)):
            raise BenchmarkError(f"{item['id']} where {right} belongs")


def is_close(a: float, b: float) -> bool:
    """Say whether two scores are the same up to rounding."""
    return isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def _expected(body: Body, truth: Recommender) -> dict[str, float]:
    """Return the right scores by id, best first."""
    if "candidates" in body:
        ranking = truth.rank(body["history"], body["candidates"])
        return dict(zip(ranking.ids, ranking.scores, strict=True))
    diversity = body.get("diversity", DIVERSITY)
    answer = truth.recommend(Query(history=body["history"], n=body["n"], diversity=diversity))
    return {one.facts.id: one.score for one in answer.articles}
