"""The nouns of the project: articles, impressions and arrays of vectors."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, StringConstraints
from pydantic_core import PydanticCustomError

Vectors: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]

# Ids become parts of store keys and URLs: no separator, brace or slash may be in one.
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

# No control characters but white space (a lone surrogate is no string to Pydantic at all).
PRINTABLE = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"

# A time is told in UTC, and counted in epoch seconds, which round up the last split second.
EARLIEST: Final = datetime(1, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def _of_some_year(time: datetime) -> datetime:
    # An offset may lead beyond the years that a datetime can hold.
    if not EARLIEST <= time <= LATEST:
        raise PydanticCustomError("time_range", "a time is of the years 1 to 9999 in UTC")
    return time


ArticleId: TypeAlias = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
Name: TypeAlias = Annotated[str, StringConstraints(max_length=64, pattern=PRINTABLE)]
Title: TypeAlias = Annotated[str, StringConstraints(max_length=1_000, pattern=PRINTABLE)]
Abstract: TypeAlias = Annotated[str, StringConstraints(max_length=10_000, pattern=PRINTABLE)]
Url: TypeAlias = Annotated[str, StringConstraints(max_length=2_000, pattern=PRINTABLE)]
Time: TypeAlias = Annotated[AwareDatetime, AfterValidator(_of_some_year)]


class Article(BaseModel):
    """One news article; blank strings mean unknown.

    Without `published_at` the time an article was first seen stands in for it, and the article
    earns no freshness (MIND has no times). Times are of the years 1 to 9999 in UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: ArticleId
    title: Title
    abstract: Abstract = ""
    topic: Name = ""
    subtopic: Name = ""
    source: Name = ""
    language: Name = ""
    url: Url = ""
    published_at: Time | None = None
    embargo_until: Time | None = None
    expires_at: Time | None = None


@dataclass(frozen=True, slots=True)
class Impression:
    """One display to one reader: `clicks[i]` says whether `candidates[i]` was clicked.

    `history` holds the articles the reader clicked before, oldest first.
    """

    id: str
    user_id: str
    time: datetime | None
    history: tuple[str, ...]
    candidates: tuple[str, ...]
    clicks: tuple[bool, ...]
