"""The lexicon: words become codes that never change, as bm25s would cut the text."""

from typing import Any

import bm25s
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.text import canonical
from service.lexicon import MAX_WORDS, STOP_WORDS, Lexicon, words
from tests.builders import an_article


def codes_of(lexicon: Lexicon, **fields: Any) -> list[int]:
    """Return the codes that an article of these fields gets."""
    return np.frombuffer(lexicon.terms(an_article(**fields)), np.int32).tolist()


@given(st.text(max_size=200))
def test_words_are_those_of_bm25s(text: str) -> None:
    """The lexical baseline and the search of the service look for the same."""
    clean = canonical(text)
    (expected,) = bm25s.tokenize([clean], return_ids=False, show_progress=False)
    assert words(text) == expected[:MAX_WORDS]


def test_stop_words_are_those_of_bm25s() -> None:
    """None is missing, none is left."""
    assert frozenset(bm25s.stopwords.STOPWORDS_EN) == STOP_WORDS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Cup, the cup!", ["cup", "cup"]),
        ("Cafe\u0301 CAFÉ", ["café", "café"]),
        ("a\x00b line\nbreak", ["line", "break"]),
        ("won 3-0 in 2026", ["won", "2026"]),
        ("to be or not to be", []),
        ("", []),
    ],
)
def test_words_are_canonical_and_in_lower_case(text: str, expected: list[str]) -> None:
    """Spellings of one word are one word; stop words and single characters are none."""
    assert words(text) == expected


def test_a_text_has_a_bounded_number_of_words() -> None:
    """Stop words do not count towards it, and whatever comes later is not seen."""
    many = " ".join(f"the w{i}" for i in range(3 * MAX_WORDS))
    assert words(many) == [f"w{i}" for i in range(MAX_WORDS)]
    assert len(Lexicon().terms(an_article(abstract=many))) == 4 * MAX_WORDS


def test_an_articles_words_are_those_of_title_and_abstract() -> None:
    """In order, repetitions included; topic and source are filters, not words."""
    lexicon = Lexicon()
    found = codes_of(lexicon, title="Cup final", abstract="The cup", topic="sports", source="AP")
    assert found == lexicon.codes("cup final cup").tolist() == [0, 1, 0]
    assert len(lexicon) == 2


def test_codes_are_append_only() -> None:
    """Whatever comes later, a word keeps its code."""
    lexicon = Lexicon()
    before = codes_of(lexicon, title="Team wins cup")
    codes_of(lexicon, title="A new team in town")
    assert codes_of(lexicon, title="Team wins cup") == before


def test_a_query_adds_no_words() -> None:
    """What readers type must not fill the memory; words that no article has are left out."""
    lexicon = Lexicon()
    codes_of(lexicon, title="Cup final")
    assert lexicon.codes("unheard final unheard").tolist() == [1]
    assert lexicon.codes("").dtype == np.int32
    assert len(lexicon) == 2


def test_words_get_back_the_codes_that_they_had() -> None:
    """New words go on from there; words that have codes keep them."""
    lexicon, heir = Lexicon(), Lexicon()
    codes_of(lexicon, title="Cup final", abstract="Rain")
    heir.restore(lexicon.known())
    assert codes_of(heir, title="Rain final snow", abstract="") == [2, 1, 3]
    with pytest.raises(ValueError, match="keep"):
        heir.restore(["other"])
