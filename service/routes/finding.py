"""The route that finds articles for a query."""

from fastapi import APIRouter, Request, Response

from service.answer import Strategy
from service.bodies import JsonRoute
from service.finding import FindQuery
from service.paging import Kind, request_hash
from service.routes.answers import documented, json_response, stages_of
from service.routes.pages import page
from service.running import running
from service.wire.finding import SearchAnswer, SearchBody

# A later page may be of another size, and wait and tell otherwise; all else is the request.
FREE = frozenset({"n", "include", "explain", "timeout_ms", "cursor"})

router = APIRouter(prefix="/v1", tags=["finding"], route_class=JsonRoute)


@router.post(
    "/search",
    response_model=SearchAnswer,
    responses=documented(400, 413, 415, 422, 503),
    summary="Find articles for a query",
)
async def search(request: Request, body: SearchBody) -> Response:
    """Answer with the articles that fit a query best, by its vector, by its words, or by both.

    Where the encoder gives no vector in time, a hybrid search goes by words alone and says so in
    `degraded`; a dense one is refused (503).
    """
    service = running(request)
    asked = request_hash(body.model_dump(mode="json", exclude=set(FREE)))
    position = None
    if body.cursor is not None:
        position = service.pager.read(body.cursor, Kind.SEARCH, asked)
    wanted = FindQuery(
        text=body.query,
        n=body.n,
        mode=Strategy(body.mode),
        criteria=body.filter.criteria(),
        exclude=body.exclude_ids,
        collapse=body.collapse,
        explain=body.explain,
        timeout_s=body.timeout_ms / 1_000,
        position=position,
    )
    result = await service.finder.find(wanted, stages_of(request))
    service.telemetry.strategies.labels(result.strategy).inc()
    return json_response(page(service, result, body.include, kind=Kind.SEARCH, asked=asked))
