"""A typed async client of the service: one deadline over all tries, and only safe repetitions.

Every request of the interface may be repeated (a write of the same article is no change), so a
lost connection and a 503 are tried again until the deadline, after the wait that the service asks
for or one that grows and is jittered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import httpx2
import orjson
import stamina
from pydantic import BaseModel

from contract.article import Article
from service.wire.articles import ArticleAnswer, BatchAnswer, PublishAnswer
from service.wire.base import FieldError
from service.wire.finding import SearchAnswer, SearchBody
from service.wire.lists import CatalogueAnswer, ListAnswer
from service.wire.ranked import RankAnswer, RankBody, RecommendationAnswer, RecommendationBody
from service.wire.texts import (
    ClassifyAnswer,
    ClassifyBody,
    EmbeddingsAnswer,
    EmbeddingsBody,
    ModelsAnswer,
)

FIRST_WAIT_S, LONGEST_WAIT_S, JITTER_S = 0.05, 1.0, 0.1
# The longest that a service may ask a client to stay away.
LONGEST_RETRY_AFTER_S = 30.0

Answer = TypeVar("Answer", bound=BaseModel)


class ClientError(Exception):
    """The service did not do what was asked."""


class Refused(ClientError):
    """The service refused the request, and would again: `status`, `code` and where it is wrong."""

    def __init__(self, status: int, code: str, message: str, errors: list[FieldError]) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.errors = status, code, errors


class Unavailable(ClientError):
    """The service could not be reached, or said 503, until the deadline."""


class Client:
    """Asks one service, or the balancer in front of many; an async context manager.

    `deadline_s` bounds each call with all of its tries; `transport` is for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        deadline_s: float = 2.0,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._deadline_s = deadline_s
        self._http = httpx2.AsyncClient(base_url=url, timeout=deadline_s, transport=transport)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def recommend(self, body: RecommendationBody) -> RecommendationAnswer:
        """Return recommended articles, best first."""
        return await self._ask("POST", "/v1/recommendations", RecommendationAnswer, body)

    async def rank(self, body: RankBody) -> RankAnswer:
        """Return the candidates, best first."""
        return await self._ask("POST", "/v1/rank", RankAnswer, body)

    async def search(self, body: SearchBody) -> SearchAnswer:
        """Return the articles found for a query, best first."""
        return await self._ask("POST", "/v1/search", SearchAnswer, body)

    async def latest(self, **query: Any) -> ListAnswer:  # noqa: ANN401 (a query's values)
        """Return the newest articles."""
        return await self._ask("GET", "/v1/latest", ListAnswer, query=query)

    async def trending(self, **query: Any) -> ListAnswer:  # noqa: ANN401
        """Return the most clicked articles."""
        return await self._ask("GET", "/v1/trending", ListAnswer, query=query)

    async def similar(self, article_id: str, **query: Any) -> ListAnswer:  # noqa: ANN401
        """Return the articles nearest to one."""
        return await self._ask("GET", f"/v1/news/{article_id}/similar", ListAnswer, query=query)

    async def catalogue(self, **query: Any) -> CatalogueAnswer:  # noqa: ANN401
        """Return a page of all articles, in the order of their ids."""
        return await self._ask("GET", "/v1/news", CatalogueAnswer, query=query)

    async def classify(self, body: ClassifyBody) -> ClassifyAnswer:
        """Return the topics of texts."""
        return await self._ask("POST", "/v1/classify", ClassifyAnswer, body)

    async def embed(self, body: EmbeddingsBody) -> EmbeddingsAnswer:
        """Return the vectors of texts."""
        return await self._ask("POST", "/v1/embeddings", EmbeddingsAnswer, body)

    async def models(self) -> ModelsAnswer:
        """Return the models that serve."""
        return await self._ask("GET", "/v1/models", ModelsAnswer)

    async def publish(self, article: Article) -> PublishAnswer:
        """Write an article; the same one again is no change."""
        fields = article.model_dump(mode="json", exclude={"id"}, exclude_none=True)
        return await self._ask("PUT", f"/v1/news/{article.id}", PublishAnswer, fields)

    async def publish_many(self, articles: Iterable[Article]) -> BatchAnswer:
        """Write articles, one line each."""
        lines = (article.model_dump_json(exclude_none=True) for article in articles)
        return await self._ask("POST", "/v1/news:batch", BatchAnswer, "\n".join(lines))

    async def article(self, article_id: str) -> ArticleAnswer:
        """Return an article as it is stored."""
        return await self._ask("GET", f"/v1/news/{article_id}", ArticleAnswer)

    async def take_down(self, article_id: str) -> None:
        """Take an article down; one that is not there (any more) is no error."""
        try:
            await self._ask("DELETE", f"/v1/news/{article_id}", PublishAnswer)
        except Refused as refused:
            # A try whose answer was lost may have done it.
            if refused.code != "article_unknown":
                raise

    async def _ask(
        self,
        method: str,
        path: str,
        answer: type[Answer],
        body: BaseModel | Mapping[str, object] | str | None = None,
        *,
        query: Mapping[str, Any] | None = None,
    ) -> Answer:
        content, media_type = _content(body)
        headers = {"content-type": media_type} if media_type else {}
        request = {"content": content, "headers": headers, "params": query}
        try:
            async with asyncio.timeout(self._deadline_s):
                response = await self._tried(method, path, request)
        except (TimeoutError, httpx2.HTTPError, _TryAgain) as error:
            raise Unavailable(f"{method} {path}: {type(error).__name__}") from error
        return answer.model_validate_json(response.content)

    async def _tried(self, method: str, path: str, request: dict[str, Any]) -> httpx2.Response:
        tries = stamina.retry_context(
            on=_wait_before_next,
            attempts=None,
            timeout=self._deadline_s,
            wait_initial=FIRST_WAIT_S,
            wait_max=LONGEST_WAIT_S,
            wait_jitter=JITTER_S,
        )
        async for attempt in tries:
            with attempt:
                response = await self._http.request(method, path, **request)
                _raise_for(response)
                return response
        raise AssertionError("stamina raises what the last try raised")


class _TryAgain(ClientError):
    """The service said 503; `after_s` is how long it wants to be left alone."""

    def __init__(self, after_s: float | None) -> None:
        super().__init__()
        self.after_s = after_s


def _wait_before_next(error: Exception) -> bool | float:
    """Say whether to try again, and where the service named a wait, how long to wait."""
    if isinstance(error, _TryAgain):
        return True if error.after_s is None else min(error.after_s, LONGEST_RETRY_AFTER_S)
    return isinstance(error, httpx2.TransportError)


def _raise_for(response: httpx2.Response) -> None:
    if response.status_code == httpx2.codes.SERVICE_UNAVAILABLE:
        after = response.headers.get("retry-after", "")
        raise _TryAgain(float(after) if after.isascii() and after.isdigit() else None)
    if response.is_success:
        return
    try:
        told = orjson.loads(response.content)
        errors = [FieldError.model_validate(one) for one in told["errors"]]
        refused = Refused(response.status_code, told["code"], told["message"], errors)
    except (ValueError, KeyError, TypeError):  # an answer of something between us and the service
        refused = Refused(response.status_code, "unknown", response.reason_phrase, [])
    raise refused


def _content(body: BaseModel | Mapping[str, object] | str | None) -> tuple[bytes | None, str]:
    if body is None:
        return None, ""
    if isinstance(body, str):
        return body.encode(), "application/x-ndjson"
    if isinstance(body, BaseModel):
        return body.model_dump_json(exclude_unset=True).encode(), "application/json"
    return orjson.dumps(body), "application/json"
