"""Random walks through pages over HTTP: two processes on one store, a catalogue that changes.

Each page may be asked of either process. Nothing comes twice; nothing is passed over but what was
taken down, put under embargo, or has expired; ranks run on; every walk ends.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.builders import WORDS, a_title
from tests.serving import Service, serving
from tests.waiting import wait_until

WALKS, SIZE, PAGES = 30, 40, 100
CAP = 3
# How many of the articles tell what another one tells.
TOLD_AGAIN = 0.4
WITHIN_S = 10.0
KINDS = ("recommendations", "latest", "trending", "similar", "hybrid", "dense", "bm25", "catalogue")
# Read by all who are recommended anything; it stays as it is.
READ = "N0"
QUERY = "a new season for the coach of the team"


@dataclass
class World:
    """What the test has published: which articles there are, and which of them are shown."""

    services: Sequence[Service]
    chance: random.Random
    shown: dict[str, str] = field(default_factory=dict)  # titles by id
    hidden: set[str] = field(default_factory=set)
    topics: dict[str, str] = field(default_factory=dict)  # by title
    published: int = 0
    beside: int = 0  # how many articles were named in another one's `also`

    def publish(self, article_id: str, **fields: Any) -> None:
        """Publish an article or change it, on either process."""
        title, topic = self._told()
        self.topics[title] = topic
        body = {"title": title, "topic": topic, **fields}
        answer = self.service().client.put(f"/v1/news/{article_id}", json=body)
        assert answer.status_code == 200, answer.text
        if {"embargo_until", "expires_at"} & set(fields):
            del self.shown[article_id]
            self.hidden.add(article_id)
        else:
            self.shown[article_id] = title

    def _told(self) -> tuple[str, str]:
        """Return a title and its topic, now and then those of an article that is shown."""
        if self.shown and self.chance.random() < TOLD_AGAIN:
            title = self.chance.choice(sorted(self.shown.values()))
            return title, self.topics[title]
        topic = self.chance.choice(list(WORDS))
        return a_title(topic, self.chance.randrange(300)), topic

    def fresh(self) -> str:
        """Return an id that no article has had."""
        self.published += 1
        return f"N{self.published - 1}"

    def go_on(self) -> None:
        """Publish, change, take down, put under embargo and let expire a few articles."""
        for _ in range(self.chance.randrange(4)):
            others = sorted({*self.shown} - {READ})
            old, act = self.chance.choice(others), self.chance.random()
            if act < 0.35:
                self.publish(self.fresh())
            elif act < 0.55:
                self.publish(old)
            elif act < 0.7:
                self.publish(old, embargo_until=_in(hours=1))
            elif act < 0.85:
                self.publish(old, expires_at=_in(hours=-1))
            else:
                assert self.service().client.delete(f"/v1/news/{old}").status_code == 200
                del self.shown[old]
        self.settle()

    def settle(self) -> None:
        """Wait until both processes show what there is, as it is now."""
        for service in self.services:
            wait_until(lambda service=service: _all(service) == self.shown, WITHIN_S)

    def service(self) -> Service:
        """Return one of the processes."""
        return self.chance.choice(self.services)


@dataclass(frozen=True)
class Walk:
    """One request, to be asked page by page."""

    kind: str
    collapse: bool
    is_plain: bool  # pages in the very order of the whole

    def page(self, service: Service, n: int, cursor: str | None = None) -> dict[str, Any]:
        """Ask for a page."""
        answer = self._ask(service.client, n, {"cursor": cursor} if cursor else {})
        assert answer.status_code == 200, answer.text
        page: dict[str, Any] = answer.json()
        return page

    def _ask(self, client: httpx.Client, n: int, more: dict[str, Any]) -> httpx.Response:
        asked = {"n": n, "collapse": self.collapse, **more}
        if self.kind == "catalogue":
            return client.get("/v1/news", params={"limit": n, **more})
        if self.kind == "recommendations":
            variety = {} if self.is_plain else {"max_per_topic": CAP, "diversity": 0.4}
            body = {"history": [READ], "diversity": 0.0, **variety, **asked}
            return client.post("/v1/recommendations", json=body)
        if self.kind in {"latest", "trending", "similar"}:
            path = f"news/{READ}/similar" if self.kind == "similar" else self.kind
            return client.get(f"/v1/{path}", params=asked)
        body = {"query": QUERY, "mode": self.kind, "timeout_ms": 10_000, **asked}
        return client.post("/v1/search", json=body)


@pytest.fixture
def world(store: str, tiny_bundle: Path, tmp_path: Path) -> Iterator[World]:
    """Serve some articles by two processes."""
    with ExitStack() as stack:
        services = [
            stack.enter_context(serving(tiny_bundle, store, tmp_path, same_story=0.999))
            for _ in range(2)
        ]
        world = World(services, random.Random(23))
        for number in range(SIZE):
            hours = world.chance.randrange(1, 200)
            times = {"published_at": _in(hours=-hours)} if number % 4 else {}
            world.publish(world.fresh(), **times)
        world.settle()
        yield world


def test_walks_repeat_nothing_and_leave_nothing_out(world: World) -> None:
    """Thirty of them, through every list there is, page by page from either process."""
    pages = [walked(world, KINDS[number % len(KINDS)]) for number in range(WALKS)]
    assert sum(pages) > 3 * WALKS
    assert world.beside > WALKS


def walked(world: World, kind: str) -> int:
    """Walk to the end and check every page; return how many there were."""
    chance = world.chance
    is_plain = chance.random() < 0.5
    walk = Walk(kind, collapse=not is_plain, is_plain=is_plain)
    due, page = begun(walk, world.service(), chance.randrange(1, 9))
    met, shown = set[str](), 0
    for number in range(1, PAGES):
        listed, also = _ids(page), _also(page)
        due = [
            one for one in due if one in world.shown or (_shows_all(kind) and one in world.hidden)
        ]
        if walk.is_plain and not _shows_all(kind):
            assert listed == due[: len(listed)]
        assert len({*listed, *also}) == len(listed + also)
        assert not met & {*listed, *also}
        if not _shows_all(kind):
            assert {*listed, *also} <= set(due)
            ranks = [item["rank"] for item in page["items"]]
            assert ranks == list(range(shown + 1, shown + len(listed) + 1))
        else:
            assert listed == sorted(listed)
            assert not (met and listed) or max(met) < listed[0]
        if kind == "recommendations" and not walk.is_plain:
            topics = Counter(world.topics[world.shown[one]] for one in listed)
            assert max(topics.values(), default=0) <= CAP
        world.beside += len(also)
        met |= {*listed, *also}
        due, shown = [one for one in due if one not in met], shown + len(listed)
        if page["next_cursor"] is None:
            assert due == []
            return number
        world.go_on()
        page = walk.page(world.service(), chance.randrange(1, 9), page["next_cursor"])
    raise AssertionError("the walk does not end")


def begun(walk: Walk, service: Service, n: int) -> tuple[list[str], dict[str, Any]]:
    """Return all ids in the order of a first page of `n`, and that page.

    How rare a word is, is counted anew in the background and in each process for itself, so the
    order is asked for before and after.
    """
    whole = Walk(walk.kind, collapse=False, is_plain=True)
    while True:
        before, page, after = (
            whole.page(service, 200),
            walk.page(service, n),
            whole.page(service, 200),
        )
        if _ids(before) == _ids(after):
            return _ids(before), page


def _shows_all(kind: str) -> bool:
    """Say whether a walk is through the catalogue: it hides nothing, and meets new articles."""
    return kind == "catalogue"


def _all(service: Service) -> dict[str, str]:
    url = "/v1/latest?n=200&collapse=false&include=title"
    return {item["id"]: item["title"] for item in service.client.get(url).json()["items"]}


def _ids(page: dict[str, Any]) -> list[str]:
    return [item["id"] for item in page["items"]]


def _also(page: dict[str, Any]) -> list[str]:
    return [one for item in page["items"] for one in item.get("also") or ()]


def _in(*, hours: int) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()
