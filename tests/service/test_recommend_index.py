"""With an index nearly all that exact search would recommend is recommended, and nothing else.

Exact search is what `test_recommend_oracle.py` holds against the pipeline written out.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from service.adapters.faiss_index import FaissIndexBuilder
from service.adapters.faiss_search import FaissSearch
from service.answer import Answer
from service.columns import Columns, Facts, Times
from service.criteria import Criteria
from service.id_table import IdTable
from service.recommend import Query, Recommender
from service.retrieval import FEW, Retrieval
from service.scores import Scorer
from service.snapshot import Snapshot
from tests.builders import a_click_model, an_article
from tests.service.fakes import ACTIVATION, HOUR, NOW
from tests.service.recommending import LIMITS, ids, logits_of

ROWS, WIDTH, TOPICS, REQUESTS = 20_000, 32, 20, 200


@lru_cache
def a_snapshot() -> Snapshot:
    """Build articles around topics, of all ages, with an index over them."""
    random = np.random.default_rng(3)
    centres = random.standard_normal((TOPICS, WIDTH))
    topics = random.integers(0, TOPICS, ROWS)
    vectors = centres[topics] + random.standard_normal((ROWS, WIDTH))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    columns = Columns.empty(ROWS, WIDTH)
    for n, (topic, vector) in enumerate(zip(topics, vectors, strict=True)):
        source = str(random.choice(["wire", "desk", "blog", "agency"]))
        article = an_article(f"N{n}", topic=f"topic{topic}", source=source)
        age = HOUR * float(random.uniform(0, 700))
        columns.append(Facts.of(article, 1), Times(NOW - age, False, -np.inf, np.inf), vector)
    columns.logits[:] = logits_of(columns.vectors)
    index = FaissIndexBuilder().build(columns.vectors, None)
    assert index is not None
    table = IdTable(columns.ids.tolist())
    every, clicks = np.ones(ROWS, bool), np.log(random.integers(1, 30, ROWS))
    return Snapshot(ACTIVATION, columns, ROWS, every, table, {}, clicks, index)


def a_recommender(mode: Any) -> Recommender:
    """Build a recommender that searches as the mode says."""
    scorer = Scorer(a_click_model(WIDTH))
    return Recommender(a_snapshot, scorer, Retrieval(FaissSearch(), mode), LIMITS, lambda: NOW)


def a_request(random: np.random.Generator) -> Query:
    """Draw a reader of three topics, filters that leave from all to few, and what else counts."""
    facts = a_snapshot().columns.facts
    liked = {f"topic{t}" for t in random.choice(TOPICS, 3, replace=False)}
    read = [one.id for one in facts if one.topic in liked]
    asked = frozenset(f"topic{t}" for t in random.choice(TOPICS, random.integers(1, 12)))
    maybe = random.random(5) < 0.4
    return Query(
        history=[str(i) for i in random.choice(read, random.integers(1, 51))],
        n=10,
        criteria=Criteria(
            topics=asked if maybe[0] else frozenset(),
            sources=frozenset({"wire", "blog"}) if maybe[1] else frozenset(),
            published_after=NOW - HOUR * float(random.uniform(5, 700)) if maybe[2] else None,
        ),
        half_life_s=24 * HOUR if maybe[3] else None,
        diversity=0.1 if maybe[4] else 0.0,
    )


def test_with_an_index_at_least_98_of_100_are_what_exact_search_recommends() -> None:
    """Over random requests: as many articles, all of them eligible, and nearly the same ones.

    Where freshness counts, which retrieval does not know, others of the same worth may come.
    """
    random, exact, quick = np.random.default_rng(5), a_recommender("exact"), a_recommender("auto")
    snapshot, recalls, losses, by_index = a_snapshot(), [], [], 0
    for _ in range(REQUESTS):
        query = a_request(random)
        truth, found = exact.recommend(query), quick.recommend(query)
        eligible = snapshot.eligible(query.criteria, NOW)
        by_index += np.count_nonzero(eligible) >= FEW + len(query.history)
        assert len(ids(found)) == len(set(ids(found))) == len(ids(truth)) == 10
        assert eligible[snapshot.rows(ids(found))].all()
        assert not set(ids(found)) & set(query.history)
        losses.append(worth(truth) - worth(found))
        if query.half_life_s is None:
            recalls.append(len(set(ids(found)) & set(ids(truth))) / 10)
    assert by_index > REQUESTS / 2
    assert np.mean(recalls) >= 0.98
    assert np.mean(losses) <= 0.05


def worth(answer: Answer) -> float:
    """Return the mean score of a page."""
    return float(np.mean([one.score for one in answer.articles]))
