"""No speed is told of wrong answers: vectors, agreement and recommendations are checked first."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import catalogues
from benchmarks.agreement import agreement, check_vectors
from benchmarks.comparison import BenchmarkError
from benchmarks.oracle import DEFAULTS, MOST, Oracle, check_answer, check_answers, recommender
from contract.bundle import Bundle
from service.adapters.memory_store import MemoryStore
from service.recommend import Query, Recommender
from tests.builders import a_bundle

SIZE = 400


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Write a tiny bundle."""
    return a_bundle(tmp_path_factory.mktemp("bundle") / "tiny", dim=16)


@pytest.fixture(scope="module")
def store(bundle: Bundle) -> MemoryStore:
    """Make up a catalogue."""
    store = MemoryStore()
    catalogues.fill_with_made_up(store, bundle, SIZE, seed=1)
    return store


@pytest.fixture(scope="module")
def service(store: MemoryStore, bundle: Bundle) -> Recommender:
    """Build the use case over it, as the service does."""
    return recommender(store, bundle)


@pytest.fixture(scope="module")
def oracle(store: MemoryStore, bundle: Bundle) -> Oracle:
    """Build the oracle over it."""
    return Oracle(store, bundle)


def random_vectors(count: int, dim: int, seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Draw unit vectors."""
    rows = np.random.default_rng(seed).standard_normal((count, dim))
    return catalogues.unit(rows).astype(np.float32)


def a_request(**changes: Any) -> dict[str, Any]:
    """Make one reader's request for ten articles."""
    (body,) = catalogues.made_up_requests(1, size=SIZE, history=50, seed=3, n=10)
    return {**body, **changes}


def answered(body: dict[str, Any], service: Recommender) -> dict[str, Any]:
    """Answer as the service does."""
    if "candidates" in body:
        ranking = service.rank(body["history"], body["candidates"])
        pairs = list(zip(ranking.ids, ranking.scores, strict=True))
        return {
            "items": [{"id": i, "score": score} for i, score in pairs],
            "strategy": ranking.strategy,
            "degraded": ranking.degraded,
        }
    diversity = body.get("diversity", DEFAULTS.diversity)
    wanted = Query(history=body["history"], n=body["n"], diversity=diversity)
    answer = service.recommend(wanted)
    return {
        "items": [{"id": one.facts.id, "score": one.score} for one in answer.articles],
        "strategy": answer.strategy,
        "degraded": answer.degraded,
    }


def test_sound_vectors_pass() -> None:
    """Finite, of unit length, one for each text."""
    check_vectors("student", random_vectors(5, 8, 0), 5)


@pytest.mark.parametrize(
    ("vectors", "complaint"),
    [
        (random_vectors(4, 8, 0), "not 5 finite vectors"),
        (np.full((5, 8), np.nan, np.float32), "not 5 finite vectors"),
        (2 * random_vectors(5, 8, 0), "a length is 1 off 1"),
    ],
)
def test_unsound_vectors_are_refused(vectors: Any, complaint: str) -> None:
    """Too few, not finite, not of unit length."""
    with pytest.raises(BenchmarkError, match=complaint):
        check_vectors("student", vectors, 5)


def test_a_turned_space_agrees_entirely() -> None:
    """Only similarities are compared, so neither axes nor width matter."""
    vectors = random_vectors(60, 8, 0)
    turned = vectors @ np.linalg.qr(random_vectors(12, 12, 1))[0][:8]
    found = agreement(vectors, turned.astype(np.float32))
    assert found.correlation == pytest.approx(1, abs=1e-3)
    assert found.top10_overlap > 0.99


def test_unrelated_spaces_do_not_agree() -> None:
    """The floor of the encoder benchmark is far above what chance gives."""
    found = agreement(random_vectors(300, 16, 0), random_vectors(300, 16, 1))
    assert abs(found.correlation) < 0.05
    assert found.top10_overlap < 0.1


def test_made_up_articles_lie_around_their_topics() -> None:
    """Unit vectors; two of one topic are more alike than two of different ones."""
    topics, vectors = catalogues.made_up_vectors(SIZE, 16, seed=1)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    alike = vectors @ vectors.T
    same = topics[:, None] == topics[None, :]
    assert alike[same].mean() > alike[~same].mean() + 0.3


def test_made_up_readers_click_fifty_different_articles_each() -> None:
    """Histories vary from request to request and repeat no article."""
    bodies = catalogues.made_up_requests(5, size=SIZE, history=50, seed=3, n=10)
    assert [len(set(body["history"])) for body in bodies] == [50] * 5
    assert len({tuple(body["history"]) for body in bodies}) == 5


def test_sample_requests_are_the_histories_of_the_click_log() -> None:
    """Varied lengths, none empty."""
    bodies = catalogues.sample_requests(10)
    lengths = {len(body["history"]) for body in bodies}
    assert len(lengths) > 5
    assert min(lengths) >= 1


def test_bodies_are_written_one_a_line(tmp_path: Path) -> None:
    """As wrk reads them."""
    file = catalogues.write_bodies(tmp_path / "bodies.jsonl", [{"n": 1}, {"n": 2}])
    assert [json.loads(line) for line in file.read_text().splitlines()] == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("is_exact", [True, False])
def test_right_answers_pass(service: Recommender, oracle: Oracle, is_exact: bool) -> None:
    """Service and oracle agree: by default, with and without diversity, and in ranking."""
    ranking = {"history": ["M1"], "candidates": ["M2", "M3"]}
    for body in (a_request(), a_request(diversity=0), a_request(diversity=0.5), ranking):
        answer = answered(body, service)
        assert check_answer(body, answer, oracle, is_exact=is_exact) == 1


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda a: a["items"].pop(), "9 articles instead of 10"),
        (lambda a: a["items"].reverse(), "belongs"),
        (lambda a: a["items"][0].update(score=0.5), "belongs"),
        (lambda a: a["items"][3].update(id="M399x"), "belongs"),
        (lambda a: a.update(strategy="popular"), "not personal"),
        (lambda a: a.update(degraded=["stale"]), "not personal"),
    ],
)
def test_a_wrong_answer_is_noticed(
    service: Recommender,
    oracle: Oracle,
    spoil: Callable[[dict[str, Any]], Any],
    complaint: str,
) -> None:
    """Each check of an answer has been seen to fail."""
    body = a_request()
    answer = answered(body, service)
    spoil(answer)
    with pytest.raises(BenchmarkError, match=complaint):
        check_answer(body, answer, oracle, is_exact=True)


def test_an_index_may_miss_articles_but_scores_them_right(
    service: Recommender, oracle: Oracle
) -> None:
    """An article that is none of the best lowers the share; a wrong score is an error."""
    body = a_request(diversity=0)
    answer = answered(body, service)
    last = answered(a_request(diversity=0, n=11), service)["items"][10]
    answer["items"][9] = last
    assert check_answer(body, answer, oracle, is_exact=False) == 0.9
    with pytest.raises(BenchmarkError, match="belongs"):
        check_answer(body, answer, oracle, is_exact=True)
    answer["items"][9]["score"] += 0.1
    with pytest.raises(BenchmarkError, match="instead of"):
        check_answer(body, answer, oracle, is_exact=False)


class Answering:
    """A server that answers by a function."""

    def __init__(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._answer = answer

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Answer one request."""
        return 200, json.dumps(self._answer(json.loads(body))).encode()


def test_too_few_of_the_right_articles_are_refused(service: Recommender, oracle: Oracle) -> None:
    """The share counts over all answers that are looked at, and their mean size comes back."""
    bodies = [a_request(diversity=0)] * 3

    def missing_one(body: dict[str, Any]) -> dict[str, Any]:
        answer = answered({**body, "n": 11}, service)
        del answer["items"][9]
        return answer

    server: Any = Answering(missing_one)
    assert check_answers(server, "/", bodies, oracle, least=0.9) > 100
    with pytest.raises(BenchmarkError, match=r"0\.900 of the right articles instead of 0\.98"):
        check_answers(server, "/", bodies, oracle, least=MOST)


def test_an_article_of_the_history_is_noticed(service: Recommender, oracle: Oracle) -> None:
    """What the reader has read is not recommended."""
    body = a_request()
    answer = answered(body, service)
    answer["items"][9]["id"] = body["history"][0]
    with pytest.raises(BenchmarkError, match="of the history"):
        check_answer(body, answer, oracle, is_exact=True)
