"""Ranked articles over HTTP: what is asked for, and what every such answer says."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.wire.base import MAX_N, Filter, Ids, Wire


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
