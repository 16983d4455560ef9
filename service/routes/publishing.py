"""Routes that change the catalogue: publish, read back, take down, batch."""

from collections.abc import Iterable
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import ValidationError

from contract.article import ArticleId
from service.batching import Lane
from service.bodies import BatchRoute, JsonRoute, parse
from service.errors import BodyTooLarge, UnreadableBody
from service.problems import field_errors
from service.publish import Published
from service.routes.answers import documented, json_response, stages_of
from service.routes.articles import article_answer
from service.running import running
from service.wire.articles import ArticleAnswer, ArticleBody, BatchAnswer, BatchLine, PublishAnswer

BATCH_TIMEOUT_S = 300.0
# Publishes of one batch go to the store together, so many together are acknowledged together.
LINES_PER_WRITE = 500
# Short lines must not make an answer that is many times their size.
MAX_LINES = 10_000

router = APIRouter(prefix="/v1", tags=["publishing"], route_class=JsonRoute)
batch_router = APIRouter(prefix="/v1", tags=["publishing"], route_class=BatchRoute)

Id = Annotated[ArticleId, Path(alias="id", description="the article's id", examples=["S0001"])]


@router.put(
    "/news/{id}",
    response_model=PublishAnswer,
    responses=documented(400, 413, 415, 422, 503, 507),
    summary="Publish an article",
)
async def publish(request: Request, article_id: Id, body: ArticleBody) -> Response:
    """Acknowledge once article and vector are stored; the same article again is no change."""
    service = running(request)
    published = await service.publisher.publish(
        [body.article(article_id)],
        lane=Lane.INTERACTIVE,
        timeout_s=service.settings.request_timeout_s,
    )
    stages_of(request).mark("publish")
    service.follower.nudge()
    return json_response(_acknowledged(published[0]))


@router.get(
    "/news/{id}",
    response_model=ArticleAnswer,
    responses=documented(404, 422, 503),
    summary="Read an article",
)
async def read(request: Request, article_id: Id) -> Response:
    """Answer with the article as the store holds it."""
    service = running(request)
    stored = await service.publisher.article(article_id)
    return json_response(article_answer(stored, service.clock()))


@router.delete(
    "/news/{id}",
    response_model=PublishAnswer,
    responses=documented(404, 422, 503, 507),
    summary="Take an article down",
)
async def take_down(request: Request, article_id: Id) -> Response:
    """Remove an article and its vectors everywhere; 404 when there is none (any more)."""
    service = running(request)
    version = await service.publisher.take_down(article_id)
    service.follower.nudge()
    return json_response({"id": article_id, "version": version, "changed": True})


@batch_router.post(
    "/news:batch",
    response_model=BatchAnswer,
    responses=documented(400, 413, 415, 422, 503, 507),
    summary="Publish many articles",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/x-ndjson": {
                    "schema": {"type": "string"},
                    "example": '{"id": "S0001", "title": "Ferry returns to the north shore"}\n',
                }
            },
        }
    },
)
async def batch(request: Request) -> Response:
    """Write one article a line; a line that breaks the schema is named, the others are taken."""
    service = running(request)
    raw, published, rejected = await request.body(), list[Published](), list[dict[str, Any]]()
    if raw.count(b"\n") > MAX_LINES:
        raise BodyTooLarge(f"a batch here has at most {MAX_LINES} lines")
    numbered = enumerate(raw.split(b"\n"), 1)
    while chunk := list(islice(numbered, LINES_PER_WRITE)):
        lines = _read_lines(chunk, rejected)
        published += await service.publisher.publish(
            [line.article(line.id) for line in lines],
            lane=Lane.BULK,
            timeout_s=BATCH_TIMEOUT_S,
        )
    stages_of(request).mark("publish")
    service.follower.nudge()
    written = sum(one.is_changed for one in published)
    return json_response(
        {"written": written, "unchanged": len(published) - written, "rejected": rejected}
    )


def _read_lines(
    numbered: Iterable[tuple[int, bytes]], rejected: list[dict[str, Any]]
) -> list[BatchLine]:
    """Return the sound lines and add what is wrong with the others to `rejected`."""
    lines = list[BatchLine]()
    for number, line in numbered:
        if not line.strip():
            continue
        try:
            lines.append(BatchLine.model_validate(parse(line)))
        except UnreadableBody:
            rejected.append({"line": number, "code": "unreadable_body", "errors": []})
        except ValidationError as error:
            rejected.append({"line": number, "code": "invalid", "errors": field_errors(error)})
    return lines


def _acknowledged(published: Published) -> dict[str, Any]:
    return {"id": published.id, "version": published.version, "changed": published.is_changed}
