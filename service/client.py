"""A typed async client of the service: one deadline over all tries, and only safe repetitions.

Every request of the interface may be repeated (a write of the same article is no change), so a
lost connection and a 503 are tried again until the deadline, after the wait that the service asks
for or one that grows and is jittered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2
import orjson
import stamina
from pydantic import BaseModel, ValidationError

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
    """The service could not be reached, or said 503, until the deadline.

    `code` is what it said last, None where it said nothing.
    """

    def __init__(self, message: str, code: str | None) -> None:
        super().__init__(message)
        self.code = code


class Unreadable(ClientError):
    """What answers is not this service, or one of another interface."""


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
        return await self._ask("GET", f"{_path(article_id)}/similar", ListAnswer, query=query)

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
        return await self._ask("PUT", _path(article.id), PublishAnswer, fields)

    async def publish_many(self, articles: Iterable[Article]) -> BatchAnswer:
        """Write articles, one line each."""
        lines = (article.model_dump_json(exclude_none=True) for article in articles)
        return await self._ask("POST", "/v1/news:batch", BatchAnswer, "\n".join(lines))

    async def article(self, article_id: str) -> ArticleAnswer:
        """Return an article as it is stored."""
        return await self._ask("GET", _path(article_id), ArticleAnswer)

    async def take_down(self, article_id: str) -> None:
        """Take an article down; one that is not there (any more) is no error."""
        try:
            await self._ask("DELETE", _path(article_id), PublishAnswer)
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
        again = _Again()
        try:
            async with asyncio.timeout(self._deadline_s):
                response = await self._tried(method, path, request, again)
        except (TimeoutError, httpx2.HTTPError, _Busy) as error:
            # A wait between two tries tells nothing; why there was one does.
            why = (again.after or error) if isinstance(error, TimeoutError) else error
            raise _unavailable(f"{method} {path}", why) from error
        try:
            return answer.model_validate_json(response.content)
        except ValidationError as error:
            told = f"{response.status_code} without a {answer.__name__}"
            raise Unreadable(f"{method} {path}: {told}") from error

    async def _tried(
        self, method: str, path: str, request: dict[str, Any], again: _Again
    ) -> httpx2.Response:
        tries = stamina.retry_context(
            on=again,
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


class _Busy(ClientError):
    """The service said 503; `after_s` is how long it wants to be left alone."""

    def __init__(self, said: Refused, after_s: float | None) -> None:
        super().__init__(str(said))
        self.code, self.after_s = said.code, after_s


class _Again:
    """Says whether to try again, and `after` what the last try was lost."""

    after: Exception | None = None

    def __call__(self, error: Exception) -> bool | float:
        """Say whether to try again, and where the service named a wait, how long to wait."""
        if not isinstance(error, _Busy | httpx2.TransportError):
            return False
        self.after = error
        if isinstance(error, _Busy) and error.after_s is not None:
            return min(error.after_s, LONGEST_RETRY_AFTER_S)
        return True


def _unavailable(asked: str, why: Exception) -> Unavailable:
    if isinstance(why, _Busy):
        return Unavailable(f"{asked}: {why}", why.code)
    return Unavailable(f"{asked}: {type(why).__name__}", None)


def _path(article_id: str) -> str:
    # Either would be another path, if only to a proxy: that of all articles, or of something else.
    if not article_id.strip() or article_id in {".", ".."}:
        raise ClientError(f"{article_id!r} is no id of an article")
    return f"/v1/news/{quote(article_id, safe='')}"


def _raise_for(response: httpx2.Response) -> None:
    if response.is_success:
        return
    refused = _refused(response)
    if response.status_code == httpx2.codes.SERVICE_UNAVAILABLE:
        after = response.headers.get("retry-after", "")
        raise _Busy(refused, float(after) if after.isascii() and after.isdigit() else None)
    raise refused


def _refused(response: httpx2.Response) -> Refused:
    try:
        told = orjson.loads(response.content)
        errors = [FieldError.model_validate(one) for one in told["errors"]]
        return Refused(response.status_code, told["code"], told["message"], errors)
    except (ValueError, KeyError, TypeError):  # an answer of something between us and the service
        return Refused(response.status_code, "unknown", response.reason_phrase, [])


def _content(body: BaseModel | Mapping[str, object] | str | None) -> tuple[bytes | None, str]:
    if body is None:
        return None, ""
    if isinstance(body, str):
        return body.encode(), "application/x-ndjson"
    if isinstance(body, BaseModel):
        return body.model_dump_json(exclude_unset=True).encode(), "application/json"
    return orjson.dumps(body), "application/json"
