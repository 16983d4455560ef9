"""Routes that answer readers: recommendations, rank, latest."""

from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response

from contract.article import Name
from service.bodies import JsonRoute
from service.criteria import Criteria
from service.recommend import Degraded
from service.recommend import Query as Wanted
from service.routes.answers import (
    documented,
    json_bytes,
    json_response,
    ranking,
    recommendation,
    stages_of,
)
from service.routes.lane import Quick
from service.running import Running, running
from service.stages import Stages
from service.wire.base import MAX_N
from service.wire.ranked import RankAnswer, RankBody, RecommendationAnswer, RecommendationBody

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


@router.get(
    "/latest",
    response_model=RecommendationAnswer,
    responses=documented(422, 503),
    summary="The newest articles",
)
async def latest(
    request: Request,
    n: Annotated[int, Query(ge=1, le=MAX_N)] = 10,
    topic: Annotated[list[Name], Query(max_length=64)] = [],  # noqa: B006 - FastAPI copies it
) -> Response:
    """Answer with the newest articles; each score is a time in epoch seconds."""
    service = running(request)
    result = service.recommender.latest(Criteria(topics=frozenset(topic)), n)
    stages_of(request).mark("rank")
    return json_response(_noting_staleness(recommendation(result, ()), service))


def recommended(service: Running, body: RecommendationBody, stages: Stages) -> bytes:
    """Answer `POST /v1/recommendations`."""
    half_life = body.freshness_half_life_h
    wanted = Wanted(
        history=body.history,
        n=body.n,
        criteria=body.filter.criteria(),
        candidates=body.candidates,
        exclude=body.exclude_ids,
        exclude_seen=body.exclude_seen,
        freshness_half_life_s=half_life * 3_600 if half_life is not None else None,
    )
    result = service.recommender.recommend(wanted)
    stages.mark("rank")
    service.telemetry.strategies.labels(result.strategy).inc()
    answer = orjson.dumps(_noting_staleness(recommendation(result, body.include), service))
    stages.mark("answer")
    return answer


def ranked(service: Running, body: RankBody, stages: Stages) -> bytes:
    """Answer `POST /v1/rank`."""
    result = service.recommender.rank(body.history, body.candidates)
    stages.mark("rank")
    answer = orjson.dumps(_noting_staleness(ranking(result), service))
    stages.mark("answer")
    return answer


# What the lane answers before the framework does.
QUICK: Mapping[str, Quick[Any]] = {
    "/v1/recommendations": Quick(RecommendationBody, recommended),
    "/v1/rank": Quick(RankBody, ranked),
}


def _noting_staleness(answer: dict[str, object], service: Running) -> dict[str, object]:
    if service.follower.is_behind:
        answer["degraded"] = [*answer["degraded"], Degraded.STALE]  # type: ignore[misc]
    return answer
