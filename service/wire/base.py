"""What all wire models share: strictness, times, ids, filters, errors."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from contract.article import ArticleId, Name
from contract.article import Time as AnyTime
from service.criteria import Criteria
from service.paging import MAX_CHARS

MAX_IDS = 1_000
MAX_N = 200


def _only_text(value: object) -> object:
    # A string of digits would be read as epoch seconds or milliseconds, whichever seems likely.
    if not isinstance(value, str) or "-" not in value[1:]:
        raise PydanticCustomError("time", "a time is a string in RFC 3339")
    return value


# JSON has no times: text is the only form they come in, and numbers would be guessed at.
Time = Annotated[AnyTime, Field(strict=False), BeforeValidator(_only_text)]
Ids = Annotated[list[ArticleId], Field(max_length=MAX_IDS)]
# What the publisher calls a reader; letters of e-mail addresses and URNs, no separator of paths.
# Clients take `.` and `..` in a path for folders, so no dot comes first.
_READER: Final = r"^[A-Za-z0-9_:@+=~|-][A-Za-z0-9._:@+=~|-]*$"
UserId = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=_READER)]
# What else makes a cursor is said when it is read: it is refused then, with the reason.
Cursor = Annotated[
    str,
    Field(min_length=1, max_length=MAX_CHARS, description="`next_cursor` of the page before"),
]


class Wire(BaseModel):
    """Strict: no coercion, no unknown field, no NaN."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


class Filter(Wire):
    """Hard filters: an article passes when it meets every one that is given."""

    topics: Annotated[list[Name], Field(max_length=64)] = []
    source: Annotated[list[Name], Field(max_length=64)] = []
    language: Annotated[list[Name], Field(max_length=64)] = []
    published_after: Time | None = None

    def criteria(self) -> Criteria:
        """Return the filters in the service's own terms."""
        return Criteria.of(self.topics, self.source, self.language, self.published_after)


class FieldError(BaseModel):
    """Where a body breaks the schema, and which rule; never the input itself."""

    loc: list[str | int]
    type: str


class ErrorAnswer(BaseModel):
    """The one shape of every error."""

    code: str
    message: str
    errors: list[FieldError] = []


class HealthAnswer(BaseModel):
    """Whether the process can do its work, and what keeps it from it."""

    status: Literal["ok", "not_ready"]
    reasons: list[str]
