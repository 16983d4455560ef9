"""What a stored reader has hidden or read never comes: not the article, and not a hidden story."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.answer import Empty, Strategy
from service.exploration import Explorer
from service.paging import Kind, Position
from service.ports import StoredArticle
from service.recommend import Query
from tests.service.fakes import HOUR, NOW, FakeClock, a_stored, a_take_down, a_vector
from tests.service.recommending import LIMITS, a_catalogue, a_recommender, at, ids, recommend

STORY = a_vector("story")
READERS: list[list[str]] = [["R"], []]


def a_teller(id: str, hours: float = 0, **fields: Any) -> StoredArticle:  # noqa: A002
    """Build an article that tells the story, published so many hours ago."""
    return a_stored(id, vector=STORY, published_at=at(NOW - hours * HOUR), **fields)


def others(count: int) -> list[StoredArticle]:
    """Build articles of stories of their own, the later ones older."""
    return [a_stored(f"N{i}", published_at=at(NOW - (100 + i) * HOUR)) for i in range(count)]


@pytest.mark.parametrize("history", READERS, ids=["personal", "latest"])
@pytest.mark.parametrize("collapse", [True, False])
def test_a_hidden_story_never_comes(history: list[str], collapse: bool) -> None:
    """Neither by itself nor beside another, for any strategy."""
    stored = [a_stored("R"), a_teller("A"), a_teller("B"), *others(3)]
    asked: dict[str, Any] = {"history": history, "collapse": collapse, "exclude": ["R"]}
    shown = recommend(*stored, **asked)
    assert {"A", "B"} & {i for one in shown.articles for i in (one.facts.id, *one.also)}
    answer = recommend(*stored, hidden=["A", "unknown"], **asked)
    assert sorted(ids(answer)) == ["N0", "N1", "N2"]
    assert not any(one.also for one in answer.articles)


@pytest.mark.parametrize(
    ("fields", "comes"),
    [
        ({"expires_at": at(NOW - HOUR)}, False),
        ({"embargo_until": at(NOW + HOUR)}, False),
        ({"published_at": None}, False),
        ({"published_at": at(NOW - 71 * HOUR)}, False),
        ({"published_at": at(NOW - 73 * HOUR)}, True),
        ({"vector": -STORY}, True),
    ],
    ids=str,
)
def test_a_story_is_what_it_is_on_a_page(fields: dict[str, Any], comes: bool) -> None:
    """Near in meaning, of the same days where both are known; the hidden one may be expired."""
    hidden = a_stored("H", **{"vector": STORY, "published_at": at(NOW), **fields})
    answer = recommend(hidden, a_teller("A"), *others(2), hidden=["H"], collapse=False)
    assert ("A" in ids(answer), "H" in ids(answer)) == (comes, False)


def test_a_copy_of_a_hidden_article_is_one_by_any_threshold() -> None:
    """Single precision may find less than 1 between them."""
    limits = replace(LIMITS, same_story=1.0)
    stored = [a_stored(f"{i}{n}", vector=a_vector(str(n))) for n in range(30) for i in "HA"]
    query = Query(hidden=[f"H{n}" for n in range(30)])
    assert a_recommender(a_catalogue(*stored), limits=limits).recommend(query).articles == []


def test_of_what_is_taken_down_no_story_is_known() -> None:
    """Others that told it come."""
    catalogue = a_catalogue(a_teller("H"), a_teller("A"))
    catalogue.apply([a_take_down("H")], NOW)
    assert ids(a_recommender(catalogue).recommend(Query(hidden=["H"]))) == ["A"]


@pytest.mark.parametrize("history", READERS, ids=["personal", "latest"])
def test_hidden_stories_take_no_places_of_others(history: list[str]) -> None:
    """However many articles tell them: R rows are left to choose from."""
    reader = a_stored("R", vector=STORY, published_at=at(NOW - 999 * HOUR))
    stored = [reader, *(a_teller(f"T{i}", i / 10) for i in range(60)), *others(20)]
    limits = replace(LIMITS, retrieved=12)
    query = Query(history=history, hidden=["T3"], n=5, exclude=["R"])
    answer = a_recommender(a_catalogue(*stored), limits=limits).recommend(query)
    assert len(answer.articles) == 5
    assert len(answer.left) == 7
    assert all(i.startswith("N") for i in (*ids(answer), *answer.left))


@pytest.mark.parametrize("history", READERS, ids=["personal", "latest"])
def test_what_is_hidden_or_read_between_pages_does_not_come(history: list[str]) -> None:
    """The story of it neither; where that is all there was the walk is over."""
    stored = [a_stored("R"), *(a_teller(f"T{i}", i) for i in range(3)), *others(4)]
    recommender = a_recommender(a_catalogue(*stored), FakeClock())
    query = Query(history=history, n=1, collapse=False, exclude=["R"])
    first = recommender.recommend(query)
    rest = [i for i in first.left if i.startswith("N")]
    later = replace(
        query, position=Position(Kind.RECOMMENDATIONS, b"", NOW, 1, first.left), n=9, hidden=["T0"]
    )
    assert ids(recommender.recommend(later)) == rest
    assert ids(recommender.recommend(replace(later, seen=rest[:1]))) == rest[1:]
    again = replace(later, seen=rest[:1], exclude_seen=False)
    assert ids(recommender.recommend(again)) == rest
    over = recommender.recommend(replace(later, seen=rest))
    assert (over.articles, over.empty, over.left) == ([], Empty.END, ())


def test_what_was_read_before_the_history_is_left_out_too() -> None:
    """Unless it is asked for; it says nothing of the reader."""
    stored = [a_stored(f"N{i}") for i in range(4)]
    asked: dict[str, Any] = {"history": ["N0"], "seen": ["N0", "N1", "unknown"]}
    assert sorted(ids(recommend(*stored, **asked))) == ["N2", "N3"]
    assert len(recommend(*stored, **asked, exclude_seen=False).articles) == 4
    alone = recommend(*stored, seen=["N1"])
    assert (len(alone.articles), alone.strategy, alone.degraded) == (3, Strategy.LATEST, [])


@pytest.mark.parametrize("query", [{"hidden": ["A"]}, {"seen": ["A", "B"]}], ids=str)
def test_an_answer_without_anything_else_is_excluded(query: dict[str, Any]) -> None:
    """Also of candidates; of none that pass it is still these."""
    stored = a_teller("A"), a_teller("B")
    assert recommend(*stored, **query).empty == Empty.EXCLUDED
    assert recommend(*stored, **query, candidates=["B"]).empty == Empty.EXCLUDED
    assert recommend(*stored, **query, candidates=["C"]).empty == Empty.CANDIDATES


@pytest.mark.parametrize("history", READERS, ids=["personal", "popular"])
def test_every_strategy_is_explored(history: list[str]) -> None:
    """Only what is not hidden is drawn, and the strategy is that of the best one."""
    exploration = Explorer(lambda: bytes(32), np.random.default_rng(1)).of(0.5)
    assert exploration is not None
    stored = [a_stored("R"), a_teller("A"), a_teller("B"), *others(4)]
    asked: dict[str, Any] = {"history": history, "exclude": ["R"], "n": 2, "hidden": ["A"]}
    answers = [
        recommend(*stored, popularity={"N3": 9.0}, draw=exploration.draw, **asked)
        for _ in range(50)
    ]
    assert {i for one in answers for i in ids(one)} == {f"N{i}" for i in range(4)}
    assert {one.strategy for one in answers} == {
        Strategy.PERSONAL if history else Strategy.POPULAR,
    }
    drawn = [one.drawn for answer in answers for one in answer.articles]
    assert {one.among for one in drawn if one is not None} == {3, 4}
    assert None not in drawn
