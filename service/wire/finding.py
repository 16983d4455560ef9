"""Search over HTTP: what is looked for, and what was found."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from contract.text import is_blank
from service.wire.base import MAX_N, Cursor, Filter, Ids, Wire
from service.wire.pages import Collapse, Include, Item, Page


def _some_text(text: str) -> str:
    if is_blank(text):
        raise PydanticCustomError("blank", "white space and control characters say nothing")
    return text


# Control characters are read as blanks, as they are wherever text is encoded.
Said = Annotated[str, AfterValidator(_some_text)]


class SearchBody(Wire):
    """What to look for, and how; later pages may differ in `n`, `include` and `explain` alone."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"query": "tidal power", "n": 5, "include": ["title"]}]}
    )

    query: Annotated[Said, Field(min_length=1, max_length=1_000)]
    mode: Annotated[
        Literal["hybrid", "dense", "bm25"],
        Field(description="by the query's vector, by its words, or by the ranks of both"),
    ] = "hybrid"
    n: Annotated[int, Field(ge=1, le=MAX_N)] = 10
    filter: Filter = Filter()
    exclude_ids: Ids = []
    collapse: Collapse = True
    include: Include = []
    explain: bool = False
    timeout_ms: Annotated[
        int, Field(ge=10, le=10_000, description="how long to wait for the query's vector")
    ] = 1_000
    cursor: Cursor | None = None


class ByVector(BaseModel):
    """Where an article stands by its vector."""

    rank: int
    cosine: float


class ByWords(BaseModel):
    """Where an article stands by its words."""

    rank: int
    score: float


class Places(BaseModel):
    """Where an article stands on each list; null where it is not among the best R."""

    dense: ByVector | None
    bm25: ByWords | None


class SearchItem(Item):
    """One article that was found, and why where that was asked."""

    reasons: Places | None = None


class SearchAnswer(Page):
    """A page of what was found; the strategy is the mode that was used."""

    items: list[SearchItem]
    strategy: Literal["hybrid", "dense", "bm25", "none"]
