"""The contents of a bundle: every file readable, and all of one shape."""

import json
from dataclasses import replace as changed
from typing import Any

import pytest

from contract.bundle import CLICK_MODEL, MODEL_CARD, NEWS_ENCODER, TOKENIZER, TOPICS, Bundle
from contract.bundle_errors import (
    BundleUnusable,
    CardMalformed,
    ClickModelMalformed,
    ClickModelMismatch,
    GraphMismatch,
    TokenizerMalformed,
    TokenizerMismatch,
    TopicsMalformed,
    TopicsMismatch,
)
from contract.contents import check_contents
from tests.builders import a_click_model, a_tokenizer_json


def with_file(bundle: Bundle, name: str, raw: bytes) -> Bundle:
    """Return the bundle with other bytes in one file."""
    return changed(bundle, files={**bundle.files, name: raw})


def refused(bundle: Bundle, refusal: type[BundleUnusable], file: str) -> str:
    """Return why the contents are refused, which they must be for that reason and that file."""
    with pytest.raises(BundleUnusable) as caught:
        check_contents(bundle)
    assert (type(caught.value), caught.value.file) == (refusal, file)
    return caught.value.problem


def test_a_sound_bundle_passes(bundle: Bundle) -> None:
    """What the tests below see refused is accepted before they touch it."""
    check_contents(bundle)


def test_a_card_that_is_no_text_is_refused(bundle: Bundle) -> None:
    """A person reads it."""
    refused(with_file(bundle, MODEL_CARD, b"caf\xe9"), CardMalformed, MODEL_CARD)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{}", b"null", b"[1]", b'["a"', b"\xff", b'[""]', b"[" * 10_000, b'["a","a","b","c"]',
     b'["a","b","c",null]', b'["\\ud800"]', json.dumps(["a" * 300]).encode()],
    ids=lambda raw: repr(raw[:20]),
)  # fmt: skip
def test_topics_that_are_no_list_of_names_are_refused(bundle: Bundle, raw: bytes) -> None:
    """Each once, and none blank."""
    refused(with_file(bundle, TOPICS, raw), TopicsMalformed, TOPICS)


@pytest.mark.parametrize("count", [0, 3, 5])
def test_topics_of_another_number_are_refused(bundle: Bundle, count: int) -> None:
    """The manifest says how many topic logits there are."""
    names = json.dumps([f"mind/{i}" for i in range(count)]).encode()
    problem = refused(with_file(bundle, TOPICS, names), TopicsMismatch, TOPICS)
    assert problem == f"{count} topics, the manifest says 4"


def test_a_manifest_of_other_topics_than_the_graph_is_refused(bundle: Bundle) -> None:
    """Topics and manifest may agree and both be wrong."""
    manifest = bundle.manifest.model_copy(update={"topics": 2})
    forged = changed(with_file(bundle, TOPICS, b'["a","b"]'), manifest=manifest)
    assert "topic_logits" in refused(forged, GraphMismatch, NEWS_ENCODER)


@pytest.mark.parametrize(
    "change",
    [
        {"scale": None},
        {"scale": "5"},
        {"scale": 0.0},
        {"scale": -1.0},
        {"temperature": float("nan")},
        {"attention": float("inf")},
        {"content": [1e300] * 8},
        {"content": "many"},
        {"content": None},
        {"bias": 1.0},
    ],
    ids=str,
)
def test_a_click_model_without_its_numbers_is_refused(
    bundle: Bundle, change: dict[str, Any]
) -> None:
    """All four, finite, the scale above 0 (retrieval divides by it), and no other."""
    numbers = {**json.loads(bundle.file(CLICK_MODEL)), **change}
    raw = json.dumps({name: value for name, value in numbers.items() if value is not None})
    problem = refused(
        with_file(bundle, CLICK_MODEL, raw.encode()), ClickModelMalformed, CLICK_MODEL
    )
    assert next(iter(change)) in problem


@pytest.mark.parametrize("raw", [b"", b"[]", b"\xff", b"[" * 10_000])
def test_a_click_model_that_is_no_object_is_refused(bundle: Bundle, raw: bytes) -> None:
    """Whatever JSON or other bytes there are."""
    refused(with_file(bundle, CLICK_MODEL, raw), ClickModelMalformed, CLICK_MODEL)


@pytest.mark.parametrize("dim", [1, 7, 9])
def test_a_click_model_of_another_dim_is_refused(bundle: Bundle, dim: int) -> None:
    """Its content term is as wide as a vector."""
    raw = a_click_model(dim).to_json()
    problem = refused(with_file(bundle, CLICK_MODEL, raw), ClickModelMismatch, CLICK_MODEL)
    assert problem == f"content: {dim} numbers, the manifest says 8"


SPECIAL = {"SpecialToken": {"id": "[CLS]", "type_id": 0}}
TEXT = {"Sequence": {"id": "A", "type_id": 0}}
MANY_SPECIALS = {
    "type": "TemplateProcessing",
    "single": [*[SPECIAL] * 40, TEXT],
    "pair": [TEXT, {"Sequence": {"id": "B", "type_id": 0}}],
    "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}},
}
WORDS_ONLY = {
    "type": "WordPiece",
    "vocab": {"[PAD]": 0},
    "unk_token": "[UNK]",
    "continuing_subword_prefix": "##",
    "max_input_chars_per_word": 100,
}
# The library panics on it, and a panic is no Exception.
PANIC = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model": None}, "ValueError"),
        ({"model": WORDS_ONLY}, "Missing [UNK] token"),
        ({"post_processor": MANY_SPECIALS}, "makes more than 32 tokens of a text"),
        ({"normalizer": PANIC}, "PanicException: Precompiled"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_tokenizer_that_does_not_tokenise_is_refused(
    bundle: Bundle, change: dict[str, Any], problem: str
) -> None:
    """Loading is not enough: it takes any text and keeps to the length."""
    raw = json.dumps({**json.loads(a_tokenizer_json()), **change}).encode()
    assert problem in refused(with_file(bundle, TOKENIZER, raw), TokenizerMalformed, TOKENIZER)


def test_a_tokenizer_that_knows_more_than_the_graph_is_refused(bundle: Bundle) -> None:
    """One rare word would otherwise fail its request, long after all checks."""
    facts = json.loads(a_tokenizer_json())
    rows = len(facts["model"]["vocab"])
    facts["model"]["vocab"]["rare"] = rows
    forged = with_file(bundle, TOKENIZER, json.dumps(facts).encode())
    problem = refused(forged, TokenizerMismatch, TOKENIZER)
    assert problem == f"token id {rows}, {NEWS_ENCODER} has {rows} rows"


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff", b"[" * 10_000])
def test_a_tokenizer_that_does_not_load_is_refused(bundle: Bundle, raw: bytes) -> None:
    """Whatever bytes there are."""
    refused(with_file(bundle, TOKENIZER, raw), TokenizerMalformed, TOKENIZER)
