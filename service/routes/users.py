"""Routes of readers: what is kept of one, and its erasure."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from service.bodies import JsonRoute
from service.readers import Event, Kind, Record
from service.routes.answers import documented, json_response, stages_of
from service.running import running
from service.wire.base import UserId
from service.wire.users import ErasedAnswer, ReaderAnswer

router = APIRouter(prefix="/v1", tags=["feedback"], route_class=JsonRoute)

Id = Annotated[
    UserId, Path(alias="id", description="`user_id` of the events", examples=["reader-1"])
]


@router.get(
    "/users/{id}",
    response_model=ReaderAnswer,
    responses=documented(404, 422, 503, unknown="reader_unknown"),
    summary="What is kept of a reader",
)
async def read(request: Request, user_id: Id) -> Response:
    """Answer with all that is kept; neither the id nor what it is kept under is repeated."""
    service = running(request)
    record = await service.records.of(user_id)
    stages_of(request).mark("read")
    return json_response(_answer(record, service.histories.most))


@router.delete(
    "/users/{id}",
    response_model=ErasedAnswer,
    responses=documented(422, 503, 507),
    summary="Erase a reader",
)
async def erase(request: Request, user_id: Id) -> Response:
    """Remove all that is kept, for good; where there is nothing (any more), that is 200 too."""
    erased = await running(request).records.forget(user_id)
    return json_response({"erased": erased})


def _answer(record: Record, most: int) -> dict[str, Any]:
    """Shape a record for the wire; `most` articles make a history."""
    read = record.history(len(record.read))
    return {
        "history": _dated(read[-most:], record.read),
        "seen": _dated(read, record.read),
        "hidden": _dated(sorted(record.hidden, key=lambda i: (record.hidden[i], i)), record.hidden),
        "events": [_event(event) for event in record.events],
    }


def _dated(ids: Iterable[str], times: Mapping[str, float]) -> list[dict[str, Any]]:
    return [{"id": article_id, "at": _time(times[article_id])} for article_id in ids]


def _event(event: Event) -> dict[str, Any]:
    shown = event.kind is Kind.IMPRESSION
    articles = {"items": event.ids} if shown else {"news_id": event.ids[0]}
    request = {"request_id": event.request} if event.request else {}
    return {"event_id": event.id, "type": event.kind, "at": _time(event.at), **articles, **request}


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
