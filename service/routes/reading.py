"""Routes that answer readers: recommendations, rank."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from service.answer import Answer, Degraded
from service.bodies import JsonRoute
from service.errors import Unanswerable
from service.exploration import Exploration
from service.paging import Kind, Position, request_hash
from service.recommend import Query as Wanted
from service.recommend import Ranking
from service.routes.answers import documented, json_bytes, stages_of
from service.routes.lane import Quick
from service.routes.pages import page, provenance
from service.running import Running, running
from service.wire.ranked import RankAnswer, RankBody, RecommendationAnswer, RecommendationBody

# A later page may be of another size and tell otherwise; all else is the request.
FREE = frozenset({"n", "include", "explain", "cursor"})

router = APIRouter(prefix="/v1", tags=["reading"], route_class=JsonRoute)


@router.post(
    "/recommendations",
    response_model=RecommendationAnswer,
    responses=documented(400, 413, 415, 422, 503),
    summary="Recommend articles for a click history",
)
async def recommendations(request: Request, body: RecommendationBody) -> Response:
    """Answer with the best eligible articles; `strategy` and `degraded` say how they were chosen.

    Without a known history: what is popular, then what is newest. A filter never returns fewer
    articles than there are. What a stored reader has hidden does not come, nor does its story.
    """
    return json_bytes(await recommended(request, body))


@router.post(
    "/rank",
    response_model=RankAnswer,
    responses=documented(400, 413, 415, 422, 503),
    summary="Score exactly the given candidates for a history",
)
async def rank(request: Request, body: RankBody) -> Response:
    """Score candidates by the click model alone; ids unknown or not shown are in `missing`."""
    return json_bytes(await ranked(request, body))


async def recommended(request: Request, body: RecommendationBody) -> bytes:
    """Answer `POST /v1/recommendations`."""
    service, stages = running(request), stages_of(request)
    # A null asks for nothing: without them there is a fifth less to do.
    asked = request_hash(body.model_dump(mode="json", exclude=set(FREE), exclude_none=True))
    position = None
    if body.cursor is not None:
        position = service.pager.read(body.cursor, Kind.RECOMMENDATIONS, asked)
    query = _query(service, body, position)
    lost: list[Degraded] = []
    if body.user_id is not None:
        query, lost = await _of_reader(service, query, body.user_id)
        stages.mark("history")
    if (exploration := _exploration(service, body)) is not None:
        query = replace(query, draw=exploration.draw)
    result = service.recommender.recommend(query, stages)
    if lost:
        result = replace(result, degraded=[*lost, *result.degraded])
    service.telemetry.strategies.labels(result.strategy).inc()
    answer = page(service, result, body.include, kind=Kind.RECOMMENDATIONS, asked=asked)
    answer["request_id"] = _told(request, result, exploration)
    told = orjson.dumps(answer)
    stages.mark("answer")
    return told


async def ranked(request: Request, body: RankBody) -> bytes:
    """Answer `POST /v1/rank`."""
    service, stages = running(request), stages_of(request)
    result = service.recommender.rank(
        body.history, body.candidates, explain=body.explain, stages=stages
    )
    answer = orjson.dumps(_ranking(service, result))
    stages.mark("answer")
    return answer


# What the lane answers before the framework does.
QUICK: Mapping[str, Quick[Any]] = {
    "/v1/recommendations": Quick(RecommendationBody, recommended),
    "/v1/rank": Quick(RankBody, ranked),
}


async def _of_reader(
    service: Running, query: Wanted, user_id: str
) -> tuple[Wanted, list[Degraded]]:
    """Add to a query what is stored of a reader; say where that could not be had."""
    if service.settings.readers == "stateless":
        raise Unanswerable("this service stores no readers")
    known = await service.histories.of(user_id)
    if known is None:
        return query, [Degraded.HISTORY]
    return replace(query, history=known.history, seen=known.seen, hidden=known.hidden), []


def _exploration(service: Running, body: RecommendationBody) -> Exploration | None:
    own = service.settings.exploration
    return service.explorer.of(own if body.exploration is None else body.exploration)


def _told(request: Request, result: Answer, exploration: Exploration | None) -> str:
    """Return the request's id as feedback repeats it: with what was drawn, where that was so."""
    request_id: str = request.scope["request_id"].decode()
    if exploration is None:
        return request_id
    slots = [(one.facts.id, one.drawn) for one in result.articles if one.drawn is not None]
    return exploration.told(request_id, slots)


def _query(service: Running, body: RecommendationBody, position: Position | None) -> Wanted:
    half_life, diversity = body.freshness_half_life_h, body.diversity
    return Wanted(
        history=body.history,
        n=body.n,
        criteria=body.filter.criteria(),
        candidates=body.candidates,
        exclude=body.exclude_ids,
        exclude_seen=body.exclude_seen,
        half_life_s=half_life * 3_600 if half_life is not None else None,
        popularity_weight=body.popularity_weight,
        diversity=service.settings.diversity if diversity is None else diversity,
        per_topic=body.max_per_topic,
        per_source=body.max_per_source,
        collapse=body.collapse,
        explain=body.explain,
        position=position,
    )


def _ranking(service: Running, result: Ranking) -> dict[str, Any]:
    items: list[dict[str, Any]] = [
        {"id": i, "score": score, "rank": rank}
        for rank, (i, score) in enumerate(zip(result.ids, result.scores, strict=True), 1)
    ]
    for item, reasons in zip(items, result.reasons, strict=False):
        item["reasons"] = reasons
    return {"items": items, "missing": result.missing, **provenance(service, result)}
