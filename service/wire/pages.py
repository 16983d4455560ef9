"""Pages of articles over HTTP: what each article tells, and what each page says of itself."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, Field

Included = Literal["title", "topic", "subtopic", "source", "language", "url", "published_at"]
Include = Annotated[
    list[Included], Field(max_length=7, description="fields of the articles to answer with")
]
Collapse = Annotated[bool, Field(description="one place for each story")]


class Item(BaseModel):
    """One article; `also` are the ids that tell the same story, where there are any.

    Scores rank within one page and are not probabilities.
    """

    id: str
    score: float
    rank: int
    also: list[str] | None = None
    title: str | None = None
    topic: str | None = None
    subtopic: str | None = None
    source: str | None = None
    language: str | None = None
    url: str | None = None
    published_at: AwareDatetime | None = None


class Provenance(BaseModel):
    """Which model made an answer, and why it is less than what was asked."""

    degraded: list[str]
    model: str
    namespace: str
    generation: int


class Page(Provenance):
    """`empty` says why a page has no articles, `next_cursor` is null at the end."""

    empty: Literal["catalogue", "filter", "excluded", "candidates", "end"] | None
    next_cursor: str | None
