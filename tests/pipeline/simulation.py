"""Readers with known tastes, who read what a running service recommends and tell it so."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.serving import ROOT, Service

ARTICLES = [
    json.loads(line) for line in (ROOT / "samples" / "articles.jsonl").read_text().splitlines()
]
# How likely a click on an article is, where its topic is a favourite and where it is not.
LIKED, OTHERS = 0.5, 0.03
FAVOURITES = 2
N = 10
# Of ten slots two are drawn at random, also for those of whom nothing is known.
EXPLORATION = 0.2
# Events of one request.
AT_ONCE = 500


@dataclass(frozen=True)
class Reader:
    """Somebody who likes articles of some topics."""

    id: str
    favourites: frozenset[str]

    def liking(self, topic: str) -> float:
        """Return how likely a click on an article of a topic is."""
        return LIKED if topic in self.favourites else OTHERS


@dataclass(frozen=True)
class Seen:
    """What one impression was, as the reader knows it."""

    id: str
    reader: str
    time: datetime
    history: tuple[str, ...]
    articles: tuple[str, ...]
    clicked: frozenset[str]
    strategy: str


class Simulation:
    """Readers of one seed, and everything that they were shown and clicked, round by round."""

    def __init__(self, seed: int, size: int, start: datetime) -> None:
        self._topics = {article["id"]: article["topic"] for article in ARTICLES}
        self._random, self._start = random.Random(seed), start
        names = sorted(set(self._topics.values()))
        self._readers = [
            Reader(f"reader-{n}", frozenset(self._random.sample(names, FAVOURITES)))
            for n in range(size)
        ]
        self._histories: dict[str, list[str]] = {reader.id: [] for reader in self._readers}
        self.rounds: list[list[Seen]] = []

    def begin(self, number: int) -> datetime:
        """Return when a round begins."""
        return self._start + timedelta(days=number)

    def read(self, service: Service) -> list[Seen]:
        """Let every reader see one page, click, and tell of it; return what each saw."""
        begin, seen, events = self.begin(len(self.rounds)), list[Seen](), list[dict[str, Any]]()
        for number, reader in enumerate(self._readers):
            page = self._page(service, reader, EXPLORATION)
            seen.append(self._seen(reader, begin + timedelta(seconds=number), page))
            events += _events(seen[-1], page["request_id"], self._histories[reader.id])
        self.rounds.append(seen)
        self._send(service, events)
        return seen

    def expected(self, service: Service) -> list[float]:
        """Return the clicks that each reader's next page would have on average; none is told."""
        pages = [self._page(service, reader, 0.0)["items"] for reader in self._readers]
        return [
            sum(reader.liking(self._topics[item["id"]]) for item in page)
            for reader, page in zip(self._readers, pages, strict=True)
        ]

    def _page(self, service: Service, reader: Reader, exploration: float) -> dict[str, Any]:
        asked = {"user_id": reader.id, "n": N, "exploration": exploration}
        # To a student of a few seconds most articles tell one story.
        answer = service.client.post("/v1/recommendations", json={**asked, "collapse": False})
        assert answer.status_code == 200, answer.text
        page: dict[str, Any] = answer.json()
        assert (len(page["items"]), page["degraded"]) == (N, [])
        return page

    def _seen(self, reader: Reader, time: datetime, page: dict[str, Any]) -> Seen:
        ids = [item["id"] for item in page["items"]]
        clicked = [i for i in ids if self._random.random() < reader.liking(self._topics[i])]
        return Seen(
            f"{reader.id}.{len(self.rounds)}",
            reader.id,
            time,
            tuple(self._histories[reader.id]),
            tuple(ids),
            frozenset(clicked),
            page["strategy"],
        )

    def _send(self, service: Service, events: Sequence[dict[str, Any]]) -> None:
        """Send events in any order, a tenth of them twice."""
        again = self._random.sample(events, len(events) // 10)
        order = self._random.sample([*events, *again], len(events) + len(again))
        accepted = duplicates = 0
        for start in range(0, len(order), AT_ONCE):
            answer = service.client.post("/v1/feedback", json=order[start : start + AT_ONCE])
            assert answer.status_code == 200, answer.text
            assert answer.json()["rejected"] == []
            accepted += answer.json()["accepted"]
            duplicates += answer.json()["duplicates"]
        assert (accepted, duplicates) == (len(events), len(again))


def _events(seen: Seen, request_id: str, history: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the impression and its clicks, one after another; they go on the history."""
    told = {"user_id": seen.reader, "request_id": request_id}
    articles, at = list(seen.articles), seen.time
    yield {
        "type": "impression",
        "event_id": seen.id,
        "at": at.isoformat(),
        "items": articles,
    } | told
    for i in (i for i in articles if i in seen.clicked):
        at += timedelta(seconds=20)
        event_id = f"{seen.id}.{i}"
        yield {"type": "click", "event_id": event_id, "at": at.isoformat(), "news_id": i} | told
        history.append(i)
