"""Articles over HTTP: published, acknowledged, read back."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from contract.article import Abstract, Article, ArticleId, Name, Title, Url
from service.wire.base import FieldError, Time, Wire


class ArticleBody(Wire):
    """An article to publish; the id is in the path."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "title": "Harbour city opens its first tidal power station",
                    "abstract": "Turbines under the old pier will light 9,000 homes.",
                    "topic": "science",
                    "published_at": "2026-11-20T08:30:00Z",
                }
            ]
        },
    )

    title: Annotated[Title, Field(min_length=1)]
    abstract: Abstract = ""
    topic: Name = ""
    subtopic: Name = ""
    source: Name = ""
    language: Name = ""
    url: Url = ""
    published_at: Time | None = None
    embargo_until: Time | None = None
    expires_at: Time | None = None

    def article(self, article_id: str) -> Article:
        """Return the article that this body describes."""
        return Article(id=article_id, **self.model_dump(exclude={"id"}))


class BatchLine(ArticleBody):
    """One line of an NDJSON batch: an article with its id."""

    id: ArticleId


class ArticleAnswer(ArticleBody):
    """A stored article."""

    id: str
    version: int
    state: Literal["live", "embargoed", "expired"]
    first_seen: AwareDatetime
    time_unknown: bool


class PublishAnswer(BaseModel):
    """The acknowledgement of a durable write."""

    id: str
    version: int
    changed: bool


class RejectedLine(BaseModel):
    """Why a line of a batch was not taken; the others were."""

    line: int
    code: str
    errors: list[FieldError]


class BatchAnswer(BaseModel):
    """How many lines of a batch were written, were stored already, and were refused."""

    written: int
    unchanged: int
    rejected: list[RejectedLine]
