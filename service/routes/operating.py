"""Routes for operators: liveness, readiness, metrics."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.routes.answers import json_response
from service.running import Running
from service.wire.base import HealthAnswer

router = APIRouter(tags=["operating"])


@router.get("/health/live", response_model=HealthAnswer, summary="Does the event loop answer?")
async def live() -> Response:
    """Answer 200 as long as the process can; no dependency is asked."""
    return json_response({"status": "ok", "reasons": []})


@router.get(
    "/health/ready",
    response_model=HealthAnswer,
    responses={503: {"model": HealthAnswer, "description": "Not ready, and why."}},
    summary="May traffic be sent here?",
)
async def ready(request: Request) -> Response:
    """Answer 200 once a verified model and a snapshot are loaded; a later outage is no reason."""
    service: Running = request.app.state.running
    reasons = service.hindrances()
    status = "not_ready" if reasons else "ok"
    return json_response({"status": status, "reasons": reasons}, 503 if reasons else 200)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    summary="Prometheus metrics of this process",
)
async def metrics(request: Request) -> Response:
    """Answer in Prometheus' text format."""
    service: Running = request.app.state.running
    return Response(service.telemetry.page(), media_type=CONTENT_TYPE_LATEST)
