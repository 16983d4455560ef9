"""Ranked articles over HTTP: what is asked for, and what every such answer says."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.wire.base import MAX_N, Cursor, Filter, Ids, Wire
from service.wire.pages import Collapse, Include, Item, Page, Provenance


class RecommendationBody(Wire):
    """Whom to recommend what; no history asks for what is popular, then for what is new.

    Later pages may differ in `n`, `include` and `explain` alone.
    """

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
    popularity_weight: Annotated[
        float, Field(ge=0, le=10, description="score units per e-fold of clicks")
    ] = 0.0
    diversity: Annotated[
        float | None,
        Field(ge=0, le=1, description="weight of novelty against score; null: the service's own"),
    ] = None
    max_per_topic: Annotated[int | None, Field(ge=1, le=MAX_N)] = None
    max_per_source: Annotated[int | None, Field(ge=1, le=MAX_N)] = None
    collapse: Collapse = True
    include: Include = []
    explain: bool = False
    cursor: Cursor | None = None


class RankBody(Wire):
    """A history, and the candidates to score for it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"history": ["S0001"], "candidates": ["S0002", "S0003"]}]}
    )

    history: Annotated[Ids, Field(description="clicked articles, oldest first")] = []
    candidates: Annotated[Ids, Field(min_length=1)]
    explain: bool = False


class Read(BaseModel):
    """An article of the history, and what a score owes to it."""

    id: str
    weight: float


class Reasons(BaseModel):
    """Why an article has its score: the history's main articles, and parts that sum to it."""

    history: list[Read]
    parts: dict[str, float]


class RecommendedItem(Item):
    """One recommended article, and why where that was asked."""

    reasons: Reasons | None = None


class RecommendationAnswer(Page):
    """A page of recommended articles, best first."""

    items: list[RecommendedItem]
    strategy: Literal["personal", "popular", "latest", "none"]


class RankedItem(BaseModel):
    """One candidate, and why where that was asked."""

    id: str
    score: float
    rank: int
    reasons: Reasons | None = None


class RankAnswer(Provenance):
    """The candidates, best first, and the ids that are unknown or may not be shown."""

    items: list[RankedItem]
    strategy: Literal["personal", "none"]
    missing: list[str]
