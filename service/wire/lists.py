"""Lists over HTTP: what a query string may say, and pages of the catalogue."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from contract.article import Name
from service.criteria import Criteria
from service.wire.articles import ArticleAnswer
from service.wire.base import MAX_N, Cursor, Time
from service.wire.pages import Collapse, Include, Item, Page

MAX_LISTED = 500
Names = Annotated[list[Name], Field(max_length=64)]


class Query(BaseModel):
    """A query string: text is read as what it stands for, an unknown name is refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    cursor: Cursor | None = None


class ListQuery(Query):
    """Which articles a list is of; later pages may differ in `n` and `include` alone."""

    n: Annotated[int, Field(ge=1, le=MAX_N)] = 10
    topic: Names = []
    source: Names = []
    language: Names = []
    published_after: Time | None = None
    collapse: Collapse = True
    include: Include = []

    def criteria(self) -> Criteria:
        """Return the filters in the service's own terms."""
        return Criteria.of(self.topic, self.source, self.language, self.published_after)


class CatalogueQuery(Query):
    """How much of the catalogue to read."""

    limit: Annotated[int, Field(ge=1, le=MAX_LISTED)] = 100


class ListAnswer(Page):
    """A page of a list."""

    items: list[Item]
    strategy: Literal["popular", "latest", "similar", "none"]


class CatalogueAnswer(BaseModel):
    """Articles in the order of their ids; `next_cursor` is null on the last page."""

    items: list[ArticleAnswer]
    next_cursor: str | None
