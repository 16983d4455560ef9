"""Articles and impressions: what an id, a text and a time may be."""

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from tests.builders import an_article, an_impression


@pytest.mark.parametrize("article_id", ["N1", "a", "9", "A.b_c-1", "N" * 64])
def test_an_id_is_letters_digits_dots_dashes_underscores(article_id: str) -> None:
    """An id starts with a letter or digit and has at most 64 characters."""
    assert an_article(article_id).id == article_id


@pytest.mark.parametrize(
    "article_id",
    [
        "",
        "-N1",
        ".N1",
        "..",
        "a:b",
        "{a}",
        "a/b",
        "a*",
        "N 1",
        "N1\n",
        "é",
        "N\u200f1",
        "😀",
        "N" * 65,
    ],
)
def test_an_id_that_could_be_read_as_something_else_is_refused(article_id: str) -> None:
    """Ids become parts of keys and URLs, so nothing that separates parts may be in one."""
    with pytest.raises(ValidationError, match="id"):
        an_article(article_id)


@pytest.mark.parametrize(
    ("field", "limit"),
    [
        ("title", 1_000),
        ("abstract", 10_000),
        ("topic", 64),
        ("subtopic", 64),
        ("source", 64),
        ("language", 64),
        ("url", 2_000),
    ],
)
def test_every_text_has_a_limit(field: str, limit: int) -> None:
    """The limit itself is allowed, one character more is refused."""
    assert len(getattr(an_article(**{field: "x" * limit}), field)) == limit
    with pytest.raises(ValidationError, match=field):
        an_article(**{field: "x" * (limit + 1)})


@pytest.mark.parametrize("character", ["\x00", "\x08", "\x0b", "\x1b", "\x7f", "\ud800"])
@pytest.mark.parametrize("field", ["title", "abstract", "topic", "url"])
def test_control_characters_and_lone_surrogates_are_refused(field: str, character: str) -> None:
    """No text holds what no terminal, log or encoding can carry."""
    with pytest.raises(ValidationError, match=field):
        an_article(**{field: f"a{character}b"})


def test_white_space_and_any_script_are_kept() -> None:
    """A title is stored as it was published."""
    title = "Quote “x”\tand\nline, café, 漢字 😀 \u202babc"
    assert an_article(title=title).title == title


def test_only_id_and_title_are_needed() -> None:
    """Everything else is blank, which means unknown."""
    article = type(an_article())(id="N1", title="")
    assert article.model_dump(exclude={"id", "title"}) == {
        **dict.fromkeys(("abstract", "topic", "subtopic", "source", "language", "url"), ""),
        **dict.fromkeys(("published_at", "embargo_until", "expires_at")),
    }


@pytest.mark.parametrize("field", ["published_at", "embargo_until", "expires_at"])
def test_times_have_a_zone(field: str) -> None:
    """A time without a zone is refused, since nobody could compare it."""
    aware = datetime(2024, 2, 29, tzinfo=UTC)
    assert getattr(an_article(**{field: aware}), field) == aware
    with pytest.raises(ValidationError, match=field):
        an_article(**{field: datetime(2024, 2, 29)})  # noqa: DTZ001 (that is the point)


@pytest.mark.parametrize("field", ["published_at", "embargo_until", "expires_at"])
@pytest.mark.parametrize("wall", [datetime.min, datetime.max.replace(microsecond=0)])  # noqa: DTZ901
def test_times_are_of_the_years_1_to_9999_in_utc(field: str, wall: datetime) -> None:
    """The first and the last second are times; where UTC has no such year, none is."""
    assert getattr(an_article(**{field: wall.replace(tzinfo=UTC)}), field) is not None
    side = 14 if wall.year == 1 else -14
    for zone in (side, side / 14 / 3600):  # by hours, by one second
        beyond = wall.replace(tzinfo=timezone(timedelta(hours=zone)))
        with pytest.raises(ValidationError, match=f"{field}\n  a time is of the years 1 to 9999"):
            an_article(**{field: beyond})


def test_the_last_split_second_is_refused() -> None:
    """In epoch seconds it would be rounded up to the year 10000."""
    with pytest.raises(ValidationError, match="published_at"):
        an_article(published_at=datetime.max.replace(tzinfo=UTC))


def test_an_unknown_field_is_refused() -> None:
    """A misspelt field is an error rather than lost."""
    with pytest.raises(ValidationError, match="tittle"):
        an_article(tittle="x")


def test_articles_and_impressions_do_not_change() -> None:
    """Both are frozen, so that they can be shared between threads."""
    with pytest.raises(ValidationError, match="frozen"):
        an_article().title = "y"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        an_impression().id = "2"  # type: ignore[misc]
