"""The bundle that ships, the sample readers: they get what they like, and not all the same."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving import ROOT, Service, ids_of, serving
from tests.waiting import wait_until

READERS, SHORTEST_HISTORY = 30, 5
N, OF_THEIR_TOPICS = 10, 7


@pytest.fixture(scope="module")
def topics() -> dict[str, str]:
    """Return the topic of each sample article; the service is never told."""
    return {article["id"]: article["topic"] for article in _lines("articles.jsonl")}


@pytest.fixture(scope="module")
def histories() -> list[list[str]]:
    """Return the last known history of the first readers with one long enough."""
    last = {one["user_id"]: one["history"] for one in _lines("clicks.jsonl")}
    long = [last[user] for user in sorted(last) if len(last[user]) >= SHORTEST_HISTORY]
    return long[:READERS]


@pytest.fixture
def service(shipped_bundle: Path, tmp_path: Path) -> Iterator[Service]:
    """Serve the sample articles without their topics."""
    texts = (
        {field: article[field] for field in ("id", "title", "abstract")}
        for article in _lines("articles.jsonl")
    )
    lines = "\n".join(json.dumps(text) for text in texts)
    with serving(shipped_bundle, f"sqlite:///{tmp_path}/store.sqlite", tmp_path) as running:
        answer = running.client.post(
            "/v1/news:batch",
            content=lines,
            headers={"content-type": "application/x-ndjson"},
            timeout=120,
        )
        written = answer.json()["written"]
        count = f"newsbert_articles {float(written)}"
        wait_until(lambda: count in running.client.get("/metrics").text, 10)
        yield running


def test_readers_get_what_they_like_from_the_words_alone(
    service: Service, histories: list[list[str]], topics: dict[str, str]
) -> None:
    """On average at least seven of ten are of a topic that the reader clicked more than once."""
    assert len(histories) == READERS
    lists = [_recommended(service, history) for history in histories]
    assert all(len(ids) == N for ids in lists)
    fitting = [
        sum(topics[i] in liked(history, topics) for i in ids)
        for history, ids in zip(histories, lists, strict=True)
    ]
    assert sum(fitting) / READERS >= OF_THEIR_TOPICS, fitting
    different = {tuple(history) for history in histories}
    assert len({tuple(ids) for ids in lists}) == len(different)


def test_liked_are_the_topics_that_come_again() -> None:
    """One stray click is no liking, unless there are only such."""
    topics = {"a": "sports", "b": "sports", "c": "health", "d": "politics"}
    assert liked(["a", "b", "c"], topics) == {"sports"}
    assert liked(["a", "c"], topics) == {"sports", "health"}


def liked(history: list[str], topics: dict[str, str]) -> set[str]:
    """Return the topics that occur at least twice in a history, or all where none does."""
    counts = Counter(topics[i] for i in history)
    return {topic for topic, count in counts.items() if count > 1} or set(counts)


def _recommended(service: Service, history: list[str]) -> list[str]:
    body = {"history": history, "n": N, "include": ["topic"]}
    answer = service.client.post("/v1/recommendations", json=body)
    ids = ids_of(answer)
    assert {item["topic"] for item in answer.json()["items"]} == {""}
    assert not set(ids) & set(history)
    return ids


def _lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (ROOT / "samples" / name).read_text().splitlines()]
