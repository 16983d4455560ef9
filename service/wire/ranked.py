"""Ranked articles over HTTP: what is asked for, and what every such answer says."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from service.wire.base import MAX_N, Cursor, Filter, Ids, UserId, Wire
from service.wire.pages import Collapse, Include, Item, Page, Provenance


class RecommendationBody(Wire):
    """Whom to recommend what; no history asks for what is popular, then for what is new.

    Later pages may differ in `n`, `include` and `explain` alone.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"history": ["S0001", "S0002"], "n": 10}]}
    )

    history: Annotated[Ids, Field(description="clicked articles, oldest first")] = []
    user_id: Annotated[
        UserId | None, Field(description="the stored reader whose history counts; or `history`")
    ] = None
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
    exploration: Annotated[
        float | None,
        Field(ge=0, le=0.5, description="share of slots drawn at random; null: the service's own"),
    ] = None
    cursor: Cursor | None = None

    @field_validator("user_id")
    @classmethod
    def _or_history(cls, user_id: str | None, others: ValidationInfo) -> str | None:
        # Of the field, not of the whole: whoever sends none pays nothing.
        if user_id is not None and others.data.get("history"):
            raise PydanticCustomError("one_reader", "a reader is a history or a user id")
        return user_id


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
    """One recommended article, and why where that was asked.

    `propensity` is the probability of its choice given the slots before, where slots were explored.
    """

    reasons: Reasons | None = None
    propensity: float | None = None


class RecommendationAnswer(Page):
    """A page of recommended articles, best first; feedback on it repeats `request_id`."""

    items: list[RecommendedItem]
    request_id: str
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
