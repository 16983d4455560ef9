"""Wire models are strict: no coercion, no unknown field, times as text with a zone."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from service.criteria import Criteria
from service.wire.articles import ArticleBody, BatchLine
from service.wire.base import MAX_IDS, MAX_N, Filter, Wire
from service.wire.ranked import RankBody, RecommendationBody
from tests.builders import an_article

BODIES = [ArticleBody, BatchLine, RankBody, RecommendationBody]


def refused(model: type[BaseModel], value: Any) -> list[str]:
    """List the rules that a value breaks."""
    with pytest.raises(ValidationError) as error:
        model.model_validate(value)
    return [one["type"] for one in error.value.errors()]


@pytest.mark.parametrize("model", [ArticleBody, RecommendationBody, RankBody])
def test_the_examples_of_a_body_are_valid(model: type[Wire]) -> None:
    """What OpenAPI shows works."""
    examples = model.model_config["json_schema_extra"]["examples"]  # type: ignore[index,call-overload]
    assert all(model.model_validate(example) for example in examples)


@pytest.mark.parametrize("text", ["2026-11-20T08:30:00Z", "2026-11-20T10:30:00.000+02:00"])
def test_a_time_is_text_with_a_zone(text: str) -> None:
    """RFC 3339, any offset."""
    body = ArticleBody(title="A", published_at=text)  # type: ignore[arg-type]
    assert body.published_at == datetime(2026, 11, 20, 8, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        1_700_000_000, 1.5, True, "1700000000", "-1700000000", "1.5", "", "now", "nan",
        "2026-11-20", "2026-11-20T08:30:00", "2026-13-20T08:30:00Z", "2026-02-30T08:30:00Z", [], {},
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["published_at", "embargo_until", "expires_at"])
def test_no_other_time_is_guessed_at(name: str, value: Any) -> None:
    """Numbers, numbers in text, times without a zone and dates that do not exist."""
    assert len(refused(ArticleBody, {"title": "A", name: value})) == 1


@pytest.mark.parametrize("value", ["5", 5.0, True, 0, MAX_N + 1, None, [], "1e1"])
def test_a_number_is_a_number_within_bounds(value: Any) -> None:
    """Nothing is coerced."""
    assert len(refused(RecommendationBody, {"n": value})) == 1


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 24 * 365 + 1, "1"])
def test_a_half_life_is_positive_and_finite(value: Any) -> None:
    """At most a year of hours."""
    assert len(refused(RecommendationBody, {"freshness_half_life_h": value})) == 1
    assert RecommendationBody(freshness_half_life_h=1).freshness_half_life_h == 1.0


@pytest.mark.parametrize("name", ["history", "candidates", "exclude_ids"])
def test_lists_of_ids_are_bounded_and_hold_ids_only(name: str) -> None:
    """A thousand ids, each safe in keys and URLs."""
    assert RecommendationBody.model_validate({name: ["N1"] * MAX_IDS})
    assert refused(RecommendationBody, {name: ["N1"] * (MAX_IDS + 1)}) == ["too_long"]
    for wrong in ("", "a b", "../a", "{a}", "a" * 65, "-a", "ä", 7, None):
        assert len(refused(RecommendationBody, {name: [wrong]})) == 1
    assert refused(RecommendationBody, {name: "N1"}) == ["list_type"]


@pytest.mark.parametrize("model", BODIES)
def test_an_unknown_field_is_refused(model: type[Wire]) -> None:
    """A typing error must not pass in silence."""
    assert "extra_forbidden" in refused(model, {"colour": "red"})


def test_texts_are_bounded_and_printable() -> None:
    """A title is needed; control characters are in no text."""
    assert refused(ArticleBody, {"title": ""}) == ["string_too_short"]
    assert refused(ArticleBody, {"title": "a" * 1_001}) == ["string_too_long"]
    assert refused(ArticleBody, {"title": "a\x00b"}) == ["string_pattern_mismatch"]
    assert refused(ArticleBody, {"title": "A", "topic": "t" * 65}) == ["string_too_long"]
    assert refused(ArticleBody, {"abstract": "no title"}) == ["missing"]


def test_candidates_to_rank_are_needed() -> None:
    """An empty list is no request."""
    assert refused(RankBody, {"history": ["N1"]}) == ["missing"]
    assert refused(RankBody, {"candidates": []}) == ["too_short"]


def test_a_body_becomes_its_article() -> None:
    """Every field arrives, under the id of the path or of the line."""
    whole = an_article(
        "N1", abstract="b", source="c", language="en", url="https://example.org",
        published_at="2026-01-01T00:00:00Z", embargo_until="2026-01-02T00:00:00Z",
        expires_at="2026-01-03T00:00:00Z",
    )  # fmt: skip
    fields = whole.model_dump(mode="json", exclude={"id"})
    assert ArticleBody.model_validate(fields).article("N1") == whole
    line = BatchLine.model_validate({"id": "N1", **fields})
    assert line.article(line.id) == whole


def test_filters_become_criteria() -> None:
    """Times in epoch seconds; what is not given admits everything."""
    given = Filter.model_validate(
        {"topics": ["a", "a"], "source": ["b"], "published_after": "1970-01-01T00:01:00Z"}
    )
    assert given.criteria() == Criteria(frozenset({"a"}), frozenset({"b"}), frozenset(), 60.0)
    assert Filter().criteria() == Criteria()
