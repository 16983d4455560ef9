"""Latest, trending, similar: what is in them, in which order, page by page."""

from dataclasses import replace
from math import log
from typing import Any

import pytest

from service.answer import Answer, Empty, Strategy
from service.catalogue import Catalogue
from service.criteria import Criteria
from service.diversify import Variety
from service.errors import ArticleUnknown
from service.lists import Lists, Wanted
from service.paging import Kind, Position
from service.popularity import PopularityUpdate
from service.ports import StoredArticle
from service.retrieval import Retrieval
from tests.service.fakes import (
    HOUR,
    NOW,
    FakeClock,
    NumpySearch,
    a_catalogue_with,
    a_stored,
    a_take_down,
    a_vector,
)
from tests.service.recommending import at, ids

SPORTS = Criteria(topics=frozenset({"sports"}))
LISTS = ("latest", "trending", "similar")


def some_lists(catalogue: Catalogue, clock: FakeClock | None = None, retrieved: int = 300) -> Lists:
    """Build the lists of a catalogue; one story is what has nearly one vector within a day."""
    return Lists(
        lambda: catalogue.current,
        Retrieval(NumpySearch()),
        clock=clock or FakeClock(),
        retrieved=retrieved,
        stories=Variety(same_story=0.99, window_s=24 * HOUR),
    )


def lists_of(*stored: StoredArticle, **options: Any) -> Lists:
    """Build the lists of these articles."""
    return some_lists(a_catalogue_with(*stored), **options)


def an_hour_old(id: str, hours: float = 1, **fields: Any) -> StoredArticle:  # noqa: A002
    """Build an article published so many hours ago."""
    return a_stored(id, published_at=at(NOW - hours * HOUR), **fields)


def asked(lists: Lists, name: str, wanted: Wanted, article_id: str = "N0") -> Answer:
    """Ask for a page of the list of that name."""
    if name == "similar":
        return lists.similar(article_id, wanted)
    answer: Answer = getattr(lists, name)(wanted)
    return answer


def next_page(answer: Answer, **fields: Any) -> Wanted:
    """Ask for what a page has left."""
    position = Position(Kind.LATEST, b"", answer.at, answer.shown, answer.left)
    return Wanted(**fields, position=position)


# --- latest -------------------------------------------------------------------------------------


def test_the_latest_are_newest_first_and_ties_go_by_id() -> None:
    """The score is the time; without one an article counts from when it was first seen."""
    lists = lists_of(
        an_hour_old("N1", 3),
        an_hour_old("N3", 2),
        an_hour_old("N2", 2),
        a_stored("N4", first_seen=NOW - HOUR),
    )
    answer = lists.latest(Wanted())
    assert ids(answer) == ["N4", "N2", "N3", "N1"]
    assert [one.score for one in answer.articles] == [NOW - h * HOUR for h in (1, 2, 2, 3)]
    assert [one.rank for one in answer.articles] == [1, 2, 3, 4]
    assert [one.published for one in answer.articles] == [None] + [
        NOW - h * HOUR for h in (2, 2, 3)
    ]
    assert (answer.strategy, answer.empty, answer.left) == (Strategy.LATEST, None, ())


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_filtered_before_it_is_cut(name: str) -> None:
    """Every filter holds, and leaves no fewer articles than there are."""
    stored = [an_hour_old(f"N{i}", i, topic="politics") for i in range(30)]
    stored += [
        an_hour_old("A", 40, source="wire", language="de"),
        an_hour_old("B", 41, source="desk", language="de"),
        an_hour_old("C", 42, source="wire", language="en"),
        a_stored("D", source="wire", language="de"),
        an_hour_old("E", 90, source="wire", language="de"),
        an_hour_old("F", 40, source="wire", language="de", expires_at=at(NOW)),
        an_hour_old("G", 40, source="wire", language="de", embargo_until=at(NOW + 1)),
    ]
    criteria = Criteria(
        frozenset({"sports"}), frozenset({"wire"}), frozenset({"de"}), NOW - 50 * HOUR
    )
    lists = lists_of(*stored, retrieved=5)
    assert ids(asked(lists, name, Wanted(n=3, criteria=criteria))) == ["A"]
    assert len(ids(asked(lists, name, Wanted(n=20)))) == 20


# --- trending -----------------------------------------------------------------------------------


def test_trending_is_the_most_clicked_and_then_the_newest() -> None:
    """The score is the weight of the clicks, 0 without any."""
    catalogue = a_catalogue_with(*(an_hour_old(f"N{i}", 10 - i) for i in range(5)))
    catalogue.set_popularity(
        PopularityUpdate({"N0": log(2), "N2": log(7), "N1": log(2), "unknown": 9.0})
    )
    answer = some_lists(catalogue).trending(Wanted())
    assert ids(answer) == ["N2", "N0", "N1", "N4", "N3"]
    assert [one.score for one in answer.articles] == pytest.approx([7, 2, 2, 0, 0])
    assert answer.strategy is Strategy.POPULAR
    assert ids(some_lists(catalogue).trending(Wanted(n=2))) == ["N2", "N0"]


def test_without_clicks_trending_is_the_newest_and_says_so() -> None:
    """No answer is empty for want of feedback."""
    answer = lists_of(an_hour_old("N1", 2), an_hour_old("N2", 1)).trending(Wanted())
    assert (ids(answer), answer.strategy) == (["N2", "N1"], Strategy.LATEST)


# --- similar ------------------------------------------------------------------------------------


def test_the_nearest_come_first_and_never_the_article_itself() -> None:
    """The score is the cosine."""
    stored = [a_stored(f"N{i}") for i in range(40)]
    answer = lists_of(*stored).similar("N7", Wanted(n=39, collapse=False))
    cosines = {s.id: float(s.vector @ stored[7].vector) for s in stored}  # type: ignore[operator]
    del cosines["N7"]
    assert ids(answer) == sorted(cosines, key=lambda i: -cosines[i])
    assert [one.score for one in answer.articles] == pytest.approx(
        sorted(cosines.values(), reverse=True), abs=1e-6
    )
    assert answer.strategy is Strategy.SIMILAR


def test_articles_of_one_text_tie_and_go_by_id() -> None:
    """However single precision rounds each of them."""
    stored = [a_stored(f"N{i:02}", vector=a_vector(str(i % 2))) for i in range(60)]
    answer = lists_of(a_stored("X", vector=a_vector("x")), *stored).similar(
        "X", Wanted(n=60, collapse=False)
    )
    first, second = ids(answer)[:30], ids(answer)[30:]
    assert (first, second) == (sorted(first), sorted(second))


def test_two_articles_of_one_text_have_a_cosine_of_one() -> None:
    """Exactly, however single precision rounds their vector."""
    for seed in map(str, range(20)):
        lists = lists_of(*(a_stored(f"N{i}", vector=a_vector(seed)) for i in range(3)))
        answer = lists.similar("N0", Wanted(collapse=False))
        assert [one.score for one in answer.articles] == [1.0, 1.0]


@pytest.mark.parametrize("article_id", ["unknown", "down", "early"])
def test_nothing_is_similar_to_what_may_not_be_known_of(article_id: str) -> None:
    """Unknown, taken down, under embargo."""
    catalogue = a_catalogue_with(
        a_stored("N1"), a_stored("down"), a_stored("early", embargo_until=at(NOW + 1))
    )
    catalogue.apply([a_take_down("down")], NOW)
    clock = FakeClock()
    with pytest.raises(ArticleUnknown):
        some_lists(catalogue, clock).similar(article_id, Wanted())
    clock.now += 1
    if article_id == "early":
        assert ids(some_lists(catalogue, clock).similar(article_id, Wanted())) == ["N1"]


def test_an_expired_article_still_has_similar_ones() -> None:
    """Its readers are still on its page; the expired are not among the answers."""
    lists = lists_of(a_stored("old", expires_at=at(NOW)), a_stored("N1"))
    assert ids(lists.similar("old", Wanted())) == ["N1"]
    assert lists.similar("N1", Wanted()).empty is Empty.EXCLUDED


# --- stories ------------------------------------------------------------------------------------


def of_stories() -> list[StoredArticle]:
    """Build six articles of three stories, two each; the third story is a week apart."""
    hours = {"A1": 1, "A2": 2, "B1": 3, "B2": 4, "C1": 5, "C2": 173}
    return [an_hour_old(i, h, vector=a_vector(i[0])) for i, h in hours.items()]


@pytest.mark.parametrize("name", ["latest", "trending"])
def test_one_story_has_one_place(name: str) -> None:
    """Its other articles are in `also`, and on no later page."""
    lists = lists_of(*of_stories())
    answer = asked(lists, name, Wanted(n=2))
    assert [(one.facts.id, one.also) for one in answer.articles] == [
        ("A1", ("A2",)),
        ("B1", ("B2",)),
    ]
    assert answer.left == ("C1", "C2")


def test_stories_are_collapsed_only_where_asked() -> None:
    """`collapse` off gives every article a place."""
    answer = lists_of(*of_stories()).latest(Wanted(collapse=False))
    assert ids(answer) == ["A1", "A2", "B1", "B2", "C1", "C2"]


def test_the_story_of_the_article_itself_is_similar_to_it() -> None:
    """What readers most want beside an article is not collapsed into it."""
    answer = lists_of(*of_stories()).similar("A1", Wanted(n=1))
    assert ids(answer) == ["A2"]
    assert answer.articles[0].score == pytest.approx(1)


# --- pages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("collapse", [True, False])
def test_the_pages_together_are_the_one_long_list(name: str, collapse: bool) -> None:
    """In ids, order, ranks and scores, whatever the sizes of the pages."""
    catalogue = a_catalogue_with(*(an_hour_old(f"N{i}", i) for i in range(40)), *of_stories())
    catalogue.set_popularity(PopularityUpdate({f"N{i}": i / 7 for i in range(0, 40, 3)}))
    lists = some_lists(catalogue)
    whole = asked(lists, name, Wanted(n=200, collapse=collapse))
    wanted, found, sizes = Wanted(n=1, collapse=collapse), [], [1, 2, 7, 3, 200]
    for size in sizes:
        answer = asked(lists, name, replace(wanted, n=size))
        found += answer.articles
        wanted = next_page(answer, collapse=collapse)
    assert found == whole.articles
    assert (answer.left, answer.shown) == ((), len(found))


@pytest.mark.parametrize("name", LISTS)
def test_a_walk_ends_after_the_first_rows(name: str) -> None:
    """A cursor holds R articles at most; the first page at least what it was asked for."""
    lists = lists_of(*(a_stored(f"N{i}") for i in range(50)), retrieved=12)
    answer = asked(lists, name, Wanted(n=10, collapse=False))
    assert len(answer.left) == 2
    assert len(ids(asked(lists, name, Wanted(n=30)))) + len(answer.left) > 30


@pytest.mark.parametrize("name", LISTS)
def test_what_changed_keeps_its_place_and_what_came_is_not_in_the_walk(name: str) -> None:
    """A later page shows the article as it now is, where it stood, with its score of now."""
    catalogue = a_catalogue_with(*(an_hour_old(f"N{i}", i) for i in range(9)))
    lists = some_lists(catalogue)
    answer = asked(lists, name, Wanted(n=2, collapse=False))
    last, changed, gone = answer.left[-1], answer.left[2], answer.left[1]
    catalogue.apply(
        [
            a_stored(changed, version=2, title="Changed", published_at=at(NOW)),
            a_stored("N99", published_at=at(NOW)),
            a_take_down(gone),
        ],
        NOW,
    )
    catalogue.set_popularity(PopularityUpdate({last: 5.0}))
    then = asked(lists, name, next_page(answer, n=200, collapse=False))
    assert tuple(ids(then)) == tuple(i for i in answer.left if i != gone)
    assert [one.rank for one in then.articles] == list(range(3, 3 + len(then.articles)))
    assert then.articles[1].facts.title == "Changed"
    assert (then.at, then.shown) == (answer.at, 2 + len(then.articles))
    if name == "trending":
        assert then.articles[-1].score > then.articles[0].score


# --- nothing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["latest", "trending"])
def test_an_empty_list_says_why(name: str) -> None:
    """No article at all, none that passes, or the end of a walk."""
    empty = asked(lists_of(), name, Wanted())
    assert (empty.strategy, empty.empty) == (Strategy.NONE, Empty.CATALOGUE)
    gone = lists_of(a_stored("N1", expires_at=at(NOW)))
    assert asked(gone, name, Wanted()).empty is Empty.CATALOGUE
    politics = lists_of(a_stored("N1", topic="politics"))
    assert asked(politics, name, Wanted(criteria=SPORTS)).empty is Empty.FILTER
    position = Position(Kind.LATEST, b"", NOW - HOUR, 7, ("N2", "N3"))
    ended = asked(politics, name, Wanted(position=position))
    assert (ended.empty, ended.left, ended.shown) == (Empty.END, (), 7)


def test_similar_says_why_there_is_nothing() -> None:
    """The filter, or that there is no other article."""
    lists = lists_of(a_stored("N1"), a_stored("N2", topic="politics"))
    assert lists.similar("N1", Wanted(criteria=SPORTS)).empty is Empty.EXCLUDED
    none = Criteria(topics=frozenset({"finance"}))
    assert lists.similar("N1", Wanted(criteria=none)).empty is Empty.FILTER
