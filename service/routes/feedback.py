"""The route that takes events of readers, as a JSON list or one a line."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from itertools import islice
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Response
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError
from pydantic.types import FailFast

from service.bodies import EitherRequest, EitherRoute, parse
from service.errors import BodyTooLarge, Unanswerable, UnreadableBody
from service.feedback import Sent
from service.problems import field_errors
from service.readers import Event, Kind, Verdict
from service.routes.answers import documented, json_response, stages_of
from service.running import running
from service.wire.feedback import (
    EVENTS_SCHEMA,
    EXAMPLE,
    ActionBody,
    EventBody,
    FeedbackAnswer,
    ImpressionBody,
)

MAX_EVENTS: Final = 10_000
# Events and bytes that are read before others are let onto the event loop: less than 2 ms of work.
AT_ONCE, BYTES_AT_ONCE = 32, 64 * 1024
# An event has fewer fields than that: more are not looked at one by one.
MAX_FIELDS: Final = 16

_ONE = TypeAdapter[ActionBody | ImpressionBody](EventBody)
_SOME = TypeAdapter[list[ActionBody | ImpressionBody]](Annotated[list[EventBody], FailFast()])

router = APIRouter(prefix="/v1", tags=["feedback"], route_class=EitherRoute)


@router.post(
    "/feedback",
    response_model=FeedbackAnswer,
    responses=documented(400, 413, 415, 422, 503, 507),
    summary="Tell what readers were shown and did",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {**EVENTS_SCHEMA, "maxItems": MAX_EVENTS},
                    "example": [EXAMPLE],
                },
                "application/x-ndjson": {
                    "schema": {"type": "string"},
                    "example": orjson.dumps(EXAMPLE).decode() + "\n",
                },
            },
        }
    },
)
async def feedback(request: EitherRequest) -> Response:
    """Acknowledge once events are stored; each counts once, however often it is sent.

    An event that cannot be taken is named by its place, from 0 (of lines blank ones count too).
    """
    service = running(request)
    if service.settings.readers == "stateless":
        raise Unanswerable("this service keeps nothing of readers")
    found = _Found()
    for part in await _parts(request, found):
        found.add(part)
        await asyncio.sleep(0)
    stages_of(request).mark("body")
    verdicts = await service.feedback.take(found.sent)
    stages_of(request).mark("feedback")
    return json_response(found.answer(verdicts))


# Places in a request, and what stands there.
_Part = Sequence[tuple[int, object]]


@dataclass(frozen=True, slots=True)
class _Found:
    """The events of a request with their places, and what is wrong with the others."""

    sent: list[Sent] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)

    def add(self, part: _Part) -> None:
        """Take events together, and one by one where anything is wrong with one of them."""
        part = [one for one in part if self._is_small(*one)]
        try:
            bodies = _SOME.validate_python([value for _, value in part])
        except ValidationError:
            for place, value in part:
                self._add_one(place, value)
            return
        for (place, _), body in zip(part, bodies, strict=True):
            self._take(place, body)

    def reject(self, place: int, code: str, errors: Sequence[dict[str, object]] = ()) -> None:
        """Say what is wrong with an event."""
        self.rejected.append({"index": place, "code": code, "errors": list(errors)})

    def answer(self, verdicts: Sequence[Verdict]) -> dict[str, Any]:
        """Say what became of all events, those refused in their order."""
        for place, verdict in zip(self.places, verdicts, strict=True):
            if verdict not in {Verdict.ACCEPTED, Verdict.DUPLICATE}:
                self.reject(place, verdict)
        counts = Counter(verdicts)
        return {
            "accepted": counts[Verdict.ACCEPTED],
            "duplicates": counts[Verdict.DUPLICATE],
            "rejected": sorted(self.rejected, key=lambda one: one["index"]),
        }

    def _is_small(self, place: int, value: object) -> bool:
        if isinstance(value, dict) and len(value) > MAX_FIELDS:
            self.reject(place, "invalid", [{"loc": [], "type": "extra_forbidden"}])
            return False
        return True

    def _add_one(self, place: int, value: object) -> None:
        try:
            self._take(place, _ONE.validate_python(value))
        except ValidationError as error:
            # The type, which leads each place, is which of the two schemas was broken.
            told = [{**one, "loc": one["loc"][1:]} for one in error.errors()]
            self.reject(place, "invalid", field_errors(RequestValidationError(told)))

    def _take(self, place: int, body: ActionBody | ImpressionBody) -> None:
        ids = tuple(body.items) if isinstance(body, ImpressionBody) else (body.news_id,)
        kind, at = Kind(body.type), body.at.timestamp()
        event = Event(kind, body.event_id, at, ids, body.request_id or "")
        self.sent.append(Sent(body.user_id, event))
        self.places.append(place)


async def _parts(request: EitherRequest, found: _Found) -> Iterator[_Part]:
    """Return the values of a body in parts that are read in turn."""
    if request.has_lines:
        most = request.app.state.settings.max_body_bytes
        return map(partial(_values, found, most), _lines(await request.body()))
    values = await request.json()
    if not isinstance(values, list):
        raise RequestValidationError([{"loc": ("body",), "type": "list_type"}])
    if len(values) > MAX_EVENTS:
        raise BodyTooLarge(f"a request has at most {MAX_EVENTS} events")
    numbered = enumerate(values)
    return iter(lambda: list(islice(numbered, AT_ONCE)), [])


def _lines(raw: bytes) -> Iterator[list[tuple[int, bytes]]]:
    part, size = list[tuple[int, bytes]](), 0
    for place, line in enumerate(BytesIO(raw)):
        if place == MAX_EVENTS:
            raise BodyTooLarge(f"a request has at most {MAX_EVENTS} lines")
        part.append((place, line))
        size += len(line)
        if len(part) == AT_ONCE or size > BYTES_AT_ONCE:
            yield part
            part, size = [], 0
    yield part


def _values(found: _Found, most_bytes: int, lines: Sequence[tuple[int, bytes]]) -> _Part:
    """Parse lines, of which each may be as long as a JSON body."""
    values = list[tuple[int, object]]()
    for place, line in lines:
        if len(line) > most_bytes:
            found.reject(place, "invalid", [{"loc": [], "type": "bytes_too_long"}])
        elif line.strip():
            try:
                values.append((place, parse(line)))
            except UnreadableBody:
                found.reject(place, "unreadable")
    return values
