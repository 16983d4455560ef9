"""A recommender on fakes, with the attention of a user encoder that has a favourite direction."""

from datetime import UTC, datetime
from typing import Any

from contract.article import Vectors
from service.answer import Answer
from service.catalogue import Catalogue
from service.popularity import PopularityUpdate
from service.ports import StoredArticle
from service.recommend import Limits, Query, Recommender
from service.retrieval import Retrieval
from service.scores import Scorer
from tests.builders import a_click_model
from tests.service.fakes import HOUR, FakeClock, NumpySearch, a_catalogue_with

CLICK_MODEL = a_click_model()
LIMITS = Limits(
    history=50,
    history_ttl_s=24 * HOUR,
    retrieved=300,
    same_story=0.96,
    same_story_s=72 * HOUR,
)


def at(now: float) -> datetime:
    """Turn epoch seconds into a time with a zone."""
    return datetime.fromtimestamp(now, UTC)


def logits_of(vectors: Vectors) -> Vectors:
    """Attend the more to an article the higher its first coordinate is: (N, D) -> (N,)."""
    return 3 * vectors[:, 0]


def a_catalogue(*stored: StoredArticle, **options: Any) -> Catalogue:
    """Build a catalogue of these articles with the attention of `logits_of`."""
    return a_catalogue_with(*stored, logits=logits_of, **options)


def a_recommender(
    catalogue: Catalogue,
    clock: FakeClock | None = None,
    *,
    search: Any = None,
    limits: Limits = LIMITS,
) -> Recommender:
    """Build a recommender on a catalogue, with NumPy search unless told otherwise."""
    return Recommender(
        lambda: catalogue.current,
        Scorer(CLICK_MODEL),
        Retrieval(search or NumpySearch()),
        limits,
        clock or FakeClock(),
    )


def ids(answer: Answer) -> list[str]:
    """List the ids of an answer, in order."""
    return [one.facts.id for one in answer.articles]


def recommend(
    *stored: StoredArticle, popularity: dict[str, float] | None = None, **query: Any
) -> Answer:
    """Answer one query on a catalogue of these articles."""
    catalogue = a_catalogue(*stored)
    catalogue.set_popularity(PopularityUpdate(popularity or {}))
    return a_recommender(catalogue).recommend(Query(**query))
