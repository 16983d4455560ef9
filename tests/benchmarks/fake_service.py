"""A service that answers a client in few words, rightly or not, and remembers what it was asked."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2

from benchmarks.mixture import N
from service.client import Client

MADE_BY = {"model": "m", "namespace": "n", "generation": 1, "degraded": []}
A_MODEL = {
    "id": "m", "object": "model", "created": 0, "owned_by": "us", "namespace": "n",
    "generation": 1, "active": True, "dim": 1, "topics": [],
}  # fmt: skip
WHEN = "2026-11-21T00:00:00Z"
Answer = dict[str, Any]


@dataclass
class FakeService:
    """Finds so many articles, topics and vectors and no more; below ten it does nothing right.

    With `repeats` every page is the first one; `codes` are refusals by path. `asked` are methods
    and paths in their order, `published` titles by id of what is there now.
    """

    count: int = N
    repeats: bool = False
    codes: dict[str, str] = field(default_factory=lambda: {"/v1/latest": "cursor_refused"})
    asked: list[str] = field(default_factory=list)
    published: dict[str, str] = field(default_factory=dict)

    def client(self) -> Client:
        """Return a client of it."""
        return Client("http://test", transport=httpx2.MockTransport(self.answer))

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        """Answer any request of the mixture."""
        path = request.url.path
        self.asked.append(f"{request.method} {path}")
        if self._is_right and ("unknown-" in path or self._is_forged(request)):
            code = self.codes.get(path, "article_unknown")
            return httpx2.Response(404, json={"code": code, "message": "no", "errors": []})
        return httpx2.Response(200, json=self._found(request))

    @property
    def _is_right(self) -> bool:
        return self.count == N

    def _is_forged(self, request: httpx2.Request) -> bool:
        return request.url.path == "/v1/latest" and "cursor" in request.url.params

    def _found(self, request: httpx2.Request) -> Answer:
        path, raw = request.url.path, request.content
        if path == "/v1/news:batch":
            return self._batch(raw.splitlines())
        body = json.loads(raw) if raw else {}
        if path.startswith("/v1/news/"):
            return self._article(request.method, path.split("/"), body)
        params = request.url.params
        answers: dict[str, Callable[[], Answer]] = {
            "/v1/recommendations": lambda: self._page("personal", body.get("cursor")),
            "/v1/rank": lambda: self._ranking(body["candidates"]),
            "/v1/search": lambda: self._page(body["mode"]),
            "/v1/latest": lambda: self._page("latest", topic=params.get("topic", "")),
            "/v1/trending": lambda: self._page("popular"),
            "/v1/news": lambda: self._catalogue(params.get("cursor")),
            "/v1/classify": lambda: self._classified(body["texts"]),
            "/v1/embeddings": lambda: self._embedded(body["input"]),
            "/v1/models": lambda: {"object": "list", "data": [A_MODEL][: self.count]},
        }
        return answers[path]()

    def _numbers(self, cursor: str | None) -> range:
        first = 0 if self.repeats or cursor is None else int(cursor)
        return range(first, first + self.count)

    def _page(self, strategy: str, cursor: str | None = None, **fields: Any) -> Answer:
        found = self._numbers(cursor)
        items = [{"id": f"F{n}", "score": 1.0, "rank": n + 1, **fields} for n in found]
        told = {"strategy": strategy if items else "none", "empty": None if items else "filter"}
        told = {"next_cursor": str(found.stop), "request_id": "r", **told}
        return {"items": items, **told, **MADE_BY}

    def _ranking(self, asked: list[str]) -> Answer:
        found = asked if self._is_right else asked[: self.count]
        items = [{"id": one, "score": 1.0, "rank": n + 1} for n, one in enumerate(found)]
        return {"items": items, "missing": asked[len(found) :], "strategy": "personal", **MADE_BY}

    def _catalogue(self, cursor: str | None) -> Answer:
        found = self._numbers(cursor)
        return {"items": [_stored(f"C{n:03}") for n in found], "next_cursor": str(found.stop)}

    def _classified(self, texts: list[str]) -> Answer:
        return {"results": [{"taxonomies": {"x": []}} for _ in texts[: self.count]], **MADE_BY}

    def _embedded(self, texts: list[str]) -> Answer:
        vectors = [
            {"object": "embedding", "index": n, "embedding": [1.0]}
            for n, _ in enumerate(texts[: self.count])
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return {"object": "list", "data": vectors, "model": "m", "usage": usage}

    def _batch(self, lines: list[bytes]) -> Answer:
        articles = [json.loads(line) for line in lines]
        self.published |= {one["id"]: one["title"] for one in articles}
        written = len(articles) if self._is_right else self.count
        return {"written": written, "unchanged": 0, "rejected": []}

    def _article(self, method: str, path: list[str], body: Answer) -> Answer:
        article_id = path[3]
        if path[-1] == "similar":
            return self._page("similar")
        if method == "GET":
            return _stored(article_id if self._is_right else "another")
        if method == "PUT":
            self.published[article_id] = body["title"]
        else:
            del self.published[article_id]
        return {"id": article_id, "version": 1, "changed": self._is_right}


def _stored(article_id: str) -> Answer:
    fields = {"title": "a title", "version": 1, "state": "live", "first_seen": WHEN}
    return {"id": article_id, "time_unknown": False, **fields}
