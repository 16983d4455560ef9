"""Text specification: which text stands for an article, and when two texts are the same."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contract.text import TextSpec, canonical, fingerprint, is_blank
from tests.builders import an_article

ALL_FIELDS = TextSpec(fields=("topic", "subtopic", "title", "abstract"))
# What an article may hold: no lone surrogates, no control characters but white space.
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], include_characters="\t\n"), max_size=60
)


@given(st.text(max_size=5) | st.text(" \t\n\x00\x1f\x85\u2000\u3000\u0301", max_size=5))
def test_a_text_is_blank_when_its_canonical_form_is_empty(text: str) -> None:
    """Whatever blanks and control characters are in it."""
    assert is_blank(text) == (not canonical(text))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (("topic", "subtopic", "title"), "sports soccer : A title"),
        (("topic", "title"), "sports : A title"),
        (("title",), "A title"),
        (("topic", "subtopic", "title", "abstract"), "sports soccer : A title. An abstract"),
        (("abstract", "title"), "An abstract. A title"),
        (("topic",), "sports"),
    ],
)
def test_the_text_is_the_named_fields_in_order(fields: tuple[str, ...], expected: str) -> None:
    """Topics stand before a colon, title and abstract after it."""
    spec = TextSpec(fields=fields)
    assert spec.text(an_article(title="A title", abstract="An abstract")) == expected


@pytest.mark.parametrize(
    ("blank", "expected"),
    [
        ({"topic": ""}, "soccer : T. A"),
        ({"subtopic": " "}, "sports : T. A"),
        ({"topic": "", "subtopic": ""}, "T. A"),
        ({"title": ""}, "sports soccer : A"),
        ({"abstract": "\t"}, "sports soccer : T"),
        ({"title": "", "abstract": ""}, "sports soccer"),
        ({"topic": "", "subtopic": "", "title": "", "abstract": ""}, ""),
    ],
)
def test_blank_fields_leave_no_trace(blank: dict[str, str], expected: str) -> None:
    """Neither a colon nor a full stop stands for a field that is blank."""
    article = an_article(**{"title": "T", "abstract": "A", **blank})
    assert ALL_FIELDS.text(article) == expected


@given(topic=TEXTS, subtopic=TEXTS, title=TEXTS, abstract=TEXTS)
def test_the_topic_head_never_sees_the_topic(
    topic: str, subtopic: str, title: str, abstract: str
) -> None:
    """`topic_text` is the same whatever topic and subtopic are."""
    article = an_article(topic=topic, subtopic=subtopic, title=title, abstract=abstract)
    blank = an_article(topic="", subtopic="", title=title, abstract=abstract)
    assert ALL_FIELDS.topic_text(article) == ALL_FIELDS.text(blank)


@given(topic=TEXTS, title=TEXTS, abstract=TEXTS)
def test_twins_in_composed_and_decomposed_unicode_are_one_text(
    topic: str, title: str, abstract: str
) -> None:
    """NFC and NFD spellings of an article give one text and so share a vector."""
    spec = TextSpec(fields=ALL_FIELDS.fields, abstract_chars=7)
    nfc, nfd = (
        an_article(**{
            name: unicodedata.normalize(form, value)[:64]
            for name, value in (("topic", topic[:20]), ("title", title), ("abstract", abstract))
        })
        for form in ("NFC", "NFD")
    )  # fmt: skip
    if unicodedata.normalize("NFC", nfd.abstract) == nfc.abstract:
        assert fingerprint(spec.text(nfc)) == fingerprint(spec.text(nfd))


def test_an_abstract_is_cut_alike_in_both_spellings() -> None:
    """The cut counts characters of the canonical text, not of the spelling that came in."""
    spec = TextSpec(fields=("abstract",), abstract_chars=5)
    spellings = [unicodedata.normalize(form, "é" * 10) for form in ("NFC", "NFD")]
    assert {spec.text(an_article(abstract=text)) for text in spellings} == {"é" * 5}


@given(TEXTS)
def test_canonical_text_is_a_fixed_point(text: str) -> None:
    """Canonical text is composed, has single blanks and no control characters."""
    once = canonical(text)
    assert canonical(once) == once == unicodedata.normalize("NFC", once)
    assert not re.search(r"[\x00-\x1f\x7f]|  |^ | $", once)


@given(topic=TEXTS, title=TEXTS, abstract=TEXTS)
def test_an_articles_text_is_canonical(topic: str, title: str, abstract: str) -> None:
    """Putting the parts together does not undo what was done to each."""
    text = ALL_FIELDS.text(an_article(topic=topic, title=title, abstract=abstract))
    assert canonical(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  a \t b\r\nc ", "a b c"),
        ("a\x00b\x1bc", "a b c"),
        ("a\u00a0b\u2028c", "a b c"),
        ("cafe\u0301", "caf\u00e9"),
        ("", ""),
    ],
)
def test_white_space_of_any_kind_is_one_blank(text: str, expected: str) -> None:
    """Control characters, too, become blanks."""
    assert canonical(text) == expected


def test_the_abstract_is_cut() -> None:
    """At most `abstract_chars` characters of the abstract are in the text, none where it is 0."""
    article = an_article(title="T", abstract="one two three")
    for chars, expected in (
        (7, "T. one two"),
        (8, "T. one two"),
        (99, "T. one two three"),
        (0, "T"),
    ):
        spec = TextSpec(fields=("title", "abstract"), abstract_chars=chars)
        assert spec.text(article) == expected


def test_a_fingerprint_is_32_hex_digits_of_sha256() -> None:
    """The fingerprint is pinned: it is in every store."""
    assert fingerprint("") == "e3b0c44298fc1c149afbf4c8996fb924"
    assert re.fullmatch("[0-9a-f]{32}", fingerprint("Team wins"))
    assert fingerprint("Team wins") != fingerprint("Team win")


def test_the_default_specification_is_pinned() -> None:
    """Defaults are part of a vector space's identity and change with the format only."""
    assert TextSpec().model_dump() == {
        "fields": ("topic", "subtopic", "title"),
        "abstract_chars": 200,
        "max_tokens": 32,
        "history": 50,
    }


@pytest.mark.parametrize(
    "wrong",
    [{"fields": ("body",)}, {"abstract_chars": -1}, {"max_tokens": 3}, {"history": 0}, {"x": 1}],
)
def test_a_senseless_specification_is_refused(wrong: dict[str, object]) -> None:
    """Unknown fields and impossible limits are errors."""
    with pytest.raises(ValidationError):
        TextSpec(**wrong)
