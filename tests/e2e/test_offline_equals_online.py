"""What `newsbert evaluate` measures of a bundle is what readers get over HTTP."""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from contract.article import Article, Impression
from contract.mind import read_folder
from contract.ranking import mean_over_impressions
from tests.evaluation_data import DATA
from tests.serving import ROOT, Service, newsbert, serving
from tests.waiting import wait_until

SAMPLES = ROOT / "samples" / "mind" / "dev"
FOUR_DECIMALS = 5e-5
MAX_LINES = 700
# Articles in the store but not yet in the snapshot arrive within this time.
CATCH_UP_S = 30.0


@pytest.fixture(params=["tiny", "shipped"])
def bundle(request: pytest.FixtureRequest) -> Path:
    """Return the tiny bundle and the one that ships."""
    path: Path = request.getfixturevalue(f"{request.param}_bundle")
    return path


def test_the_samples_rank_the_same_online(bundle: Path, tmp_path: Path) -> None:
    """In whatever order and portions the articles came in."""
    check_same(bundle, SAMPLES, tmp_path)


@pytest.mark.data
def test_the_evaluation_data_ranks_the_same_online(shipped_bundle: Path, tmp_path: Path) -> None:
    """The figures of the model card are those of the service."""
    check_same(shipped_bundle, DATA / "mind" / "dev", tmp_path)


def check_same(bundle: Path, mind: Path, home: Path) -> None:
    """Fail unless each metric from HTTP answers equals the offline one to four decimals."""
    offline = json.loads(newsbert("evaluate", bundle, "--mind", mind, "--json").stdout)
    folder = read_folder(mind)
    with serving(bundle, f"sqlite:///{home}/store.sqlite", home) as service:
        _publish_in_disorder(service, bundle, home, folder.articles)
        ranked = [(_scores(service, one), one.clicks) for one in folder.impressions]
    online = mean_over_impressions(ranked).as_dict()
    assert online["impressions"] == offline["impressions"]
    for metric in ("auc", "mrr", "ndcg5", "ndcg10"):
        assert online[metric] == pytest.approx(offline[metric], abs=FOUR_DECIMALS)


def _publish_in_disorder(
    service: Service, bundle: Path, home: Path, articles: Sequence[Article]
) -> None:
    """Shuffle, then a part through a file beside the running service and the rest over HTTP."""
    chance = random.Random(11)
    shuffled = chance.sample(articles, len(articles))
    # Articles of MIND may lack a title; only files may bring such.
    titled = [a for a in shuffled[len(shuffled) // 2 :] if a.title]
    online = {a.id for a in titled}
    file = home / "articles.jsonl"
    file.write_bytes(b"\n".join(_line(a) for a in shuffled if a.id not in online))
    newsbert("refresh", file, "--bundle", bundle, "--store", f"sqlite:///{home}/store.sqlite")
    for chunk in _portions(titled, chance):
        lines = b"\n".join(_line(article) for article in chunk)
        headers = {"content-type": "application/x-ndjson"}
        answer = service.client.post(
            "/v1/news:batch", content=lines, headers=headers, timeout=300
        ).json()
        assert (answer["written"], answer["rejected"]) == (len(chunk), [])
    count = f"newsbert_articles {float(len(articles))}"
    wait_until(lambda: count in service.client.get("/metrics").text, CATCH_UP_S)


def _portions(articles: Sequence[Article], chance: random.Random) -> Iterator[Sequence[Article]]:
    start = 0
    while start < len(articles):
        size = chance.randint(1, MAX_LINES)
        yield articles[start : start + size]
        start += size


def _line(article: Article) -> bytes:
    return article.model_dump_json(exclude_defaults=True).encode()


def _scores(
    service: Service, impression: Impression
) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    body = {"history": impression.history, "candidates": impression.candidates}
    answer = service.client.post("/v1/rank", json=body)
    assert answer.status_code == 200, answer.text
    scores = {item["id"]: item["score"] for item in answer.json()["items"]}
    assert set(scores) | set(answer.json()["missing"]) == set(impression.candidates)
    return np.array([scores.get(i, -np.inf) for i in impression.candidates])
