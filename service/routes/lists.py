"""Routes for lists that need no reader: latest, trending, similar, the catalogue."""

from collections.abc import Callable
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from contract.article import ArticleId
from service.answer import Answer
from service.errors import NotReady
from service.lists import Wanted
from service.paging import Kind, Position, request_hash
from service.routes.answers import documented, json_response, stages_of
from service.routes.articles import article_answer
from service.routes.pages import page
from service.running import running
from service.wire.lists import CatalogueAnswer, CatalogueQuery, ListAnswer, ListQuery

router = APIRouter(prefix="/v1", tags=["lists"])

Asked = Annotated[ListQuery, Query()]


@router.get(
    "/latest",
    response_model=ListAnswer,
    responses=documented(422, 503),
    summary="The newest articles",
)
async def latest(request: Request, query: Asked) -> Response:
    """Answer with the newest articles; each score is a time in epoch seconds."""
    return _answered(request, query, Kind.LATEST, running(request).lists.latest)


@router.get(
    "/trending",
    response_model=ListAnswer,
    responses=documented(422, 503),
    summary="The most clicked articles",
)
async def trending(request: Request, query: Asked) -> Response:
    """Answer with the most clicked articles, then with the newest, whose score is 0."""
    return _answered(request, query, Kind.TRENDING, running(request).lists.trending)


@router.get(
    "/news/{id}/similar",
    response_model=ListAnswer,
    responses=documented(404, 422, 503),
    summary="Articles similar to one",
)
async def similar(
    request: Request,
    article_id: Annotated[
        ArticleId, Path(alias="id", description="the article's id", examples=["S0001"])
    ],
    query: Asked,
) -> Response:
    """Answer with the articles nearest to one, which may be expired; each score is a cosine."""
    answer = partial(running(request).lists.similar, article_id)
    return _answered(request, query, Kind.SIMILAR, answer, article_id)


@router.get(
    "/news",
    response_model=CatalogueAnswer,
    responses=documented(422, 503),
    summary="All articles, page by page",
)
async def catalogue(request: Request, query: Annotated[CatalogueQuery, Query()]) -> Response:
    """Answer with stored articles in the order of their ids, those not shown to readers included.

    An article published meanwhile is on a later page only when its id is behind the cursor.
    """
    service, asked, now = running(request), request_hash({}), running(request).clock()
    position = None
    if query.cursor is not None:
        position = service.pager.read(query.cursor, Kind.CATALOGUE, asked)
    listing = await service.inventory.page(query.limit, position)
    stages_of(request).mark("read")
    left = () if listing.last is None else (listing.last,)
    cursor = service.pager.issue(Position(Kind.CATALOGUE, asked, at=now, shown=0, ids=left))
    if left and cursor is None:
        raise NotReady("the key of cursors is not known yet")
    return json_response(
        {"items": [article_answer(one, now) for one in listing.articles], "next_cursor": cursor}
    )


def _answered(
    request: Request,
    query: ListQuery,
    kind: Kind,
    answer: Callable[[Wanted], Answer],
    article_id: str = "",
) -> Response:
    service, criteria = running(request), query.criteria()
    asked = request_hash({"id": article_id, "criteria": criteria, "collapse": query.collapse})
    position = None
    if query.cursor is not None:
        position = service.pager.read(query.cursor, kind, asked)
    result = answer(Wanted(query.n, criteria, query.collapse, position))
    stages_of(request).mark("rank")
    service.telemetry.strategies.labels(result.strategy).inc()
    return json_response(page(service, result, query.include, kind=kind, asked=asked))
