"""Columns: names become codes, rows are copied whole, what has no code is matched by nothing."""

from datetime import UTC, datetime

import numpy as np
import pytest

from service.columns import COMPARED, OTHER, Codes, Columns, Facts, Times
from tests.builders import an_article
from tests.service.fakes import DIM, NOW, a_vector


def some_codes(*names: str) -> Codes:
    """Build the codes of one name a row."""
    codes = Codes(np.empty(len(names), np.uint16))
    for n, name in enumerate(names):
        codes.write(n, name)
    return codes


def a_row(columns: Columns, id: str, **fields: str) -> int:  # noqa: A002 (the field's own name)
    """Append one article."""
    article = an_article(id, **fields)
    vector, terms = a_vector(id), id.encode()
    return columns.append(Facts.of(article, 1), Times.of(article, NOW), vector, terms)


@pytest.mark.parametrize("wanted", [0, 1, 2, COMPARED, COMPARED + 1, 40])
def test_rows_are_found_by_any_number_of_names(wanted: int) -> None:
    """Few names are compared one by one, many are looked up: the answer is the same."""
    numbers = np.random.default_rng(wanted).integers(0, 50, 500).tolist()
    codes = some_codes(*(f"name {number}" for number in numbers))
    names = frozenset(f"name {number}" for number in range(wanted))
    assert codes.among(names, 500).tolist() == [number < wanted for number in numbers]
    assert codes.among(names, 7).tolist() == [number < wanted for number in numbers[:7]]


def test_a_name_is_matched_exactly_and_an_unknown_one_matches_nothing() -> None:
    """Names are not folded, and the empty name is a name."""
    codes = some_codes("Wire", "wire", "")
    assert codes.among(frozenset({"wire"}), 3).tolist() == [False, True, False]
    assert codes.among(frozenset({""}), 3).tolist() == [False, False, True]
    assert not codes.among(frozenset({"WIRE"}), 3).any()
    assert not codes.among(frozenset(f"unknown {n}" for n in range(40)), 3).any()


def test_names_beyond_the_last_code_are_held_but_matched_by_no_filter() -> None:
    """65,535 names have codes; articles of further names are shown, only not found by them."""
    names = [f"name {n}" for n in range(OTHER)]
    codes = some_codes(*names, "one too many", "two too many", "name 7")
    assert codes.is_full
    assert codes.values[-3:].tolist() == [OTHER, OTHER, 7]
    many = frozenset({"one too many", "two too many", *names[:COMPARED]})
    assert np.flatnonzero(codes.among(many, OTHER + 2)).tolist() == list(range(COMPARED))
    assert np.flatnonzero(codes.among(frozenset(names), OTHER + 2)).tolist() == list(range(OTHER))
    assert not codes.among(frozenset({"one too many"}), OTHER + 3).any()


def test_a_merge_gives_codes_to_names_that_had_none() -> None:
    """Names that no row bears any more do not keep others out for ever."""
    columns = Columns.empty(2, DIM)
    for n in range(OTHER):
        columns.sources.names[f"gone {n}"] = n
    a_row(columns, "N1", source="gone 3")
    a_row(columns, "N2", source="new")
    assert not columns.sources.among(frozenset({"new"}), 2).any()
    merged = columns.taken(np.array([0, 1]), room=0)
    assert merged.sources.among(frozenset({"new"}), 2).tolist() == [False, True]
    assert merged.sources.among(frozenset({"gone 3"}), 2).tolist() == [True, False]
    assert len(merged.sources.names) == 2


def test_taken_rows_are_whole_and_leave_the_old_columns_alone() -> None:
    """Every column follows its row, and what is written to the copy is not seen in the original."""
    columns = Columns.empty(4, DIM)
    for n, topic in enumerate(("sports", "politics", "health")):
        a_row(columns, f"N{n}", topic=topic)
    columns.logits[:3] = [0.5, 1.5, 2.5]
    taken = columns.taken(np.array([2, 0]), room=1)
    assert [facts.id for facts in taken.facts] == ["N2", "N0"]
    assert taken.terms == [b"N2", b"N0"]
    assert taken.vectors[:2].tolist() == [a_vector("N2").tolist(), a_vector("N0").tolist()]
    assert taken.logits.tolist() == [2.5, 0.5, 0.0]
    assert taken.topics.among(frozenset({"sports"}), 2).tolist() == [False, True]
    assert (taken.room, a_row(taken, "N9", topic="finance"), taken.room) == (1, 2, 0)
    assert "finance" not in columns.topics.names
    assert len(columns.facts) == len(columns.terms) == 3


def test_rows_that_are_cut_are_written_anew() -> None:
    """After a cut the next row takes the place of the first one forgotten."""
    columns = Columns.empty(3, DIM)
    for n in range(3):
        a_row(columns, f"N{n}")
    columns.cut(1)
    assert (columns.room, a_row(columns, "N9")) == (2, 1)
    assert [facts.id for facts in columns.facts] == ["N0", "N9"]
    assert columns.terms == [b"N0", b"N9"]


def test_facts_are_what_answers_say() -> None:
    """The abstract is left to the store."""
    article = an_article("N1", source="wire", language="en", url="https://example.org/n1")
    facts = Facts.of(article, version=3)
    assert facts == Facts(
        "N1", 3, article.title, "sports", "soccer", "wire", "en", "https://example.org/n1"
    )


def test_an_article_without_times_was_published_when_it_was_first_seen() -> None:
    """It has neither embargo nor expiry, and says that its time is unknown."""
    assert Times.of(an_article("N1"), NOW) == Times(NOW, True, -np.inf, np.inf)
    at = datetime.fromtimestamp(NOW + 1, UTC)
    stated = an_article("N1", published_at=at, embargo_until=at, expires_at=at)
    assert Times.of(stated, NOW) == Times(NOW + 1, False, NOW + 1, NOW + 1)
