"""The nouns of the project: articles, impressions and arrays of vectors."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import AwareDatetime, BaseModel, ConfigDict, StringConstraints

Vectors: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]

# Ids become parts of store keys and URLs: no separator, brace or slash may be in one.
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

# No control characters but white space (a lone surrogate is no string to Pydantic at all).
PRINTABLE = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"

ArticleId: TypeAlias = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
Name: TypeAlias = Annotated[str, StringConstraints(max_length=64, pattern=PRINTABLE)]
Title: TypeAlias = Annotated[str, StringConstraints(max_length=1_000, pattern=PRINTABLE)]
Abstract: TypeAlias = Annotated[str, StringConstraints(max_length=10_000, pattern=PRINTABLE)]
Url: TypeAlias = Annotated[str, StringConstraints(max_length=2_000, pattern=PRINTABLE)]


class Article(BaseModel):
    """One news article; blank strings mean unknown.

    Without `published_at` the time an article was first seen stands in for it, and the article
    earns no freshness (MIND has no times).
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
    published_at: AwareDatetime | None = None
    embargo_until: AwareDatetime | None = None
    expires_at: AwareDatetime | None = None


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
