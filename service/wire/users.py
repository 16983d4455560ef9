"""Readers over HTTP: what is kept of one, and that it was erased."""

from typing import Literal

from pydantic import AwareDatetime, BaseModel


class Dated(BaseModel):
    """An article, and when the reader last had to do with it."""

    id: str
    at: AwareDatetime


class KeptEvent(BaseModel):
    """An event as it was sent; `items` of an impression, of all others `news_id`."""

    event_id: str
    type: Literal["impression", "click", "read", "hide"]
    at: AwareDatetime
    news_id: str | None = None
    items: list[str] | None = None
    request_id: str | None = None


class ReaderAnswer(BaseModel):
    """All that is kept of a reader, each list oldest first; `history` is the end of `seen`."""

    history: list[Dated]
    seen: list[Dated]
    hidden: list[Dated]
    events: list[KeptEvent]


class ErasedAnswer(BaseModel):
    """Whether there was anything to erase; now there is not."""

    erased: bool
