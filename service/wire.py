"""What goes over HTTP: request and response models, with the examples that OpenAPI shows."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from contract.article import Abstract, Article, ArticleId, Name, Title, Url
from service.snapshot import Criteria

MAX_IDS = 1_000
MAX_N = 200


def _only_text(value: object) -> object:
    # A string of digits would be read as epoch seconds or milliseconds, whichever seems likely.
    if not isinstance(value, str) or "-" not in value[1:]:
        raise PydanticCustomError("time", "a time is a string in RFC 3339")
    return value


# JSON has no times: text is the only form they come in, and numbers would be guessed at.
Time = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_only_text)]
Ids = Annotated[list[ArticleId], Field(max_length=MAX_IDS)]


class Wire(BaseModel):
    """Strict: no coercion, no unknown field, no NaN."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


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


class Filter(Wire):
    """Hard filters: an article passes when it meets every one that is given."""

    topics: Annotated[list[Name], Field(max_length=64)] = []
    source: Annotated[list[Name], Field(max_length=64)] = []
    language: Annotated[list[Name], Field(max_length=64)] = []
    published_after: Time | None = None

    def criteria(self) -> Criteria:
        """Return the filters in the service's own terms."""
        after = self.published_after
        return Criteria(
            topics=frozenset(self.topics),
            sources=frozenset(self.source),
            languages=frozenset(self.language),
            published_after=after.timestamp() if after is not None else None,
        )


class RecommendationBody(Wire):
    """Whom to recommend what; no history asks for what is popular, then for what is new."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"history": ["S0001", "S0002"], "n": 10}]}
    )

    history: Annotated[Ids, Field(description="clicked articles, oldest first")] = []
    n: Annotated[int, Field(ge=1, le=MAX_N)] = 10
    candidates: Annotated[Ids | None, Field(description="choose among these only")] = None
    filter: Filter = Filter()
    exclude_ids: Ids = []
    exclude_seen: bool = True
    freshness_half_life_h: Annotated[
        float | None,
        Field(ge=0.01, le=24 * 365, description="an article loses ln 2 per so many hours"),
    ] = None
    include: Annotated[
        list[Literal["title", "topic", "source"]],
        Field(max_length=3, description="fields of the articles to answer with"),
    ] = []


class RankBody(Wire):
    """A history, and the candidates to score for it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"history": ["S0001"], "candidates": ["S0002", "S0003"]}]}
    )

    history: Annotated[Ids, Field(description="clicked articles, oldest first")] = []
    candidates: Annotated[Ids, Field(min_length=1)]


class AnswerItem(BaseModel):
    """One article of an answer; scores rank within one answer and are not probabilities."""

    id: str
    score: float
    rank: int
    title: str | None = None
    topic: str | None = None
    source: str | None = None


class Answer(BaseModel):
    """What every ranked answer says of itself."""

    items: list[AnswerItem]
    strategy: Literal["personal", "popular", "latest", "none"]
    degraded: list[str]
    model: str
    namespace: str
    generation: int


class RecommendationAnswer(Answer):
    """Recommended articles, best first."""


class RankAnswer(Answer):
    """The candidates, best first, and the ids that are unknown or may not be shown."""

    missing: list[str]


class ArticleAnswer(ArticleBody):
    """A stored article."""

    id: str
    version: int
    state: Literal["live", "embargoed", "expired"]
    first_seen: AwareDatetime


class PublishAnswer(BaseModel):
    """The acknowledgement of a durable write."""

    id: str
    version: int
    changed: bool


class RejectedLine(BaseModel):
    """Why a line of a batch was not taken; the others were."""

    line: int
    code: str
    errors: list["FieldError"]


class BatchAnswer(BaseModel):
    """How many lines of a batch were written, were stored already, and were refused."""

    written: int
    unchanged: int
    rejected: list[RejectedLine]


class HealthAnswer(BaseModel):
    """Whether the process can do its work, and what keeps it from it."""

    status: Literal["ok", "not_ready"]
    reasons: list[str]


class FieldError(BaseModel):
    """Where a body breaks the schema, and which rule; never the input itself."""

    loc: list[str | int]
    type: str


class ErrorAnswer(BaseModel):
    """The one shape of every error."""

    code: str
    message: str
    errors: list[FieldError] = []
