"""Feedback over HTTP: events of readers, and what became of them."""

from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, Field, GetPydanticSchema, StringConstraints, WithJsonSchema
from pydantic.types import FailFast
from pydantic_core import core_schema

from contract.article import EARLIEST, LATEST, ArticleId
from service.wire.base import FieldError, UserId, Wire

MAX_SHOWN: Final = 200
_WORD: Final = r"^[A-Za-z0-9._:@+=~|-]+$"
_RFC_3339: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)

EventId = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=_WORD)]
RequestId = Annotated[str, StringConstraints(min_length=1, max_length=2_048, pattern=_WORD)]
# What a Time of other bodies is, decided by the core alone: thousands of events come in a second.
At = Annotated[
    datetime,
    GetPydanticSchema(
        lambda _source, _handler: core_schema.chain_schema(
            [
                core_schema.str_schema(strict=True, pattern=_RFC_3339),
                core_schema.datetime_schema(
                    strict=False, tz_constraint="aware", ge=EARLIEST, le=LATEST
                ),
            ]
        )
    ),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
# One broken id says enough: the others would only make the answer large.
Shown = Annotated[list[ArticleId], Field(min_length=1, max_length=MAX_SHOWN), FailFast()]


class _EventBody(Wire):
    """What all events have."""

    event_id: Annotated[EventId, Field(description="the same event again is no other event")]
    user_id: UserId
    request_id: Annotated[
        RequestId | None, Field(description="of the answer that recommended the articles")
    ] = None
    at: At


class ActionBody(_EventBody):
    """A reader clicked on an article, read it, or does not want to see it."""

    type: Literal["click", "read", "hide"]
    news_id: ArticleId


class ImpressionBody(_EventBody):
    """A reader was shown articles, in this order."""

    type: Literal["impression"]
    items: Shown


EventBody: TypeAlias = Annotated[ActionBody | ImpressionBody, Field(discriminator="type")]
EVENTS_SCHEMA: Final = {
    "type": "array",
    "items": {"oneOf": [ActionBody.model_json_schema(), ImpressionBody.model_json_schema()]},
}
EXAMPLE: Final = {
    "event_id": "e-1",
    "type": "click",
    "user_id": "reader-1",
    "news_id": "S0001",
    "at": "2026-11-20T08:30:00Z",
}


class RejectedEvent(BaseModel):
    """Why an event was not taken; the others were."""

    index: int
    code: Literal["unreadable", "invalid", "too_old", "in_the_future"]
    errors: list[FieldError]


class FeedbackAnswer(BaseModel):
    """How many events were taken, were known already, and were refused."""

    accepted: int
    duplicates: int
    rejected: list[RejectedEvent]
