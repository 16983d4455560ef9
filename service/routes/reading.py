"""Routes that answer readers: recommendations, rank."""

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from service.bodies import JsonRoute
from service.paging import Kind, Position, request_hash
from service.recommend import Query as Wanted
from service.recommend import Ranking
from service.routes.answers import documented, json_bytes, stages_of
from service.routes.lane import Quick
from service.routes.pages import page, provenance
from service.running import Running, running
from service.stages import Stages
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
    articles than there are.
    """
    return json_bytes(recommended(running(request), body, stages_of(request)))


@router.post(
    "/rank",
    response_model=RankAnswer,
    responses=documented(400, 413, 415, 422, 503),
    summary="Score exactly the given candidates for a history",
)
async def rank(request: Request, body: RankBody) -> Response:
    """Score candidates by the click model alone; ids unknown or not shown are in `missing`."""
    return json_bytes(ranked(running(request), body, stages_of(request)))


def recommended(service: Running, body: RecommendationBody, stages: Stages) -> bytes:
    """Answer `POST /v1/recommendations`."""
    asked = request_hash(body.model_dump(mode="json", exclude=set(FREE)))
    position = None
    if body.cursor is not None:
        position = service.pager.read(body.cursor, Kind.RECOMMENDATIONS, asked)
    result = service.recommender.recommend(_query(service, body, position), stages)
    service.telemetry.strategies.labels(result.strategy).inc()
    kind = Kind.RECOMMENDATIONS
    answer = orjson.dumps(page(service, result, body.include, kind=kind, asked=asked))
    stages.mark("answer")
    return answer


def ranked(service: Running, body: RankBody, stages: Stages) -> bytes:
    """Answer `POST /v1/rank`."""
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
