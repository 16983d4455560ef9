"""Contents: whether a bundle's files make one model, each readable and all of one shape.

Hashes say that files are those that were written; this asks whether they could have been a model,
which whoever can write the directory can spoil and sign again.
"""

from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from contract.bundle import (
    CLICK_MODEL,
    MODEL_CARD,
    NEWS_ENCODER,
    TOKENIZER,
    TOPICS,
    USER_ENCODER,
    Bundle,
)
from contract.bundle_errors import (
    CardMalformed,
    ClickModelMalformed,
    ClickModelMismatch,
    TokenizerMalformed,
    TokenizerMismatch,
    TopicsMalformed,
    TopicsMismatch,
    refusing,
)
from contract.graph_rules import Value, read_graph, require_interface
from contract.lines import place_and_problem
from contract.tokens import TextTokenizer

Name = Annotated[str, Field(min_length=1, max_length=256)]
TOPIC_NAMES = TypeAdapter(list[Name], config=ConfigDict(strict=True))
PROBES = ("", "Team wins the cup: 3-2 in Zürich!", "слово 世界 \u0301 🙂")


class _ClickModel(BaseModel):
    """The numbers of `contract.scoring.ClickModel` as they stand in the file."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    # Retrieval divides by the scale, and with a negative one it would find the worst.
    scale: float = Field(gt=0)
    attention: float
    temperature: float
    content: list[float]


def check_contents(bundle: Bundle) -> None:
    """Read every file but the golden answers; raise the BundleUnusable of what is wrong."""
    _check_card(bundle)
    _check_topics(bundle)
    _check_click_model(bundle)
    tokenizer = _checked_tokenizer(bundle)
    _check_graphs(bundle, tokenizer)


def _check_card(bundle: Bundle) -> None:
    with refusing(CardMalformed, MODEL_CARD):
        bundle.file(MODEL_CARD).decode()


def _check_topics(bundle: Bundle) -> None:
    try:
        names = TOPIC_NAMES.validate_json(bundle.file(TOPICS))
    except ValidationError as error:
        raise TopicsMalformed(TOPICS, place_and_problem(error)) from error
    if len(set(names)) < len(names):
        raise TopicsMalformed(TOPICS, "names a topic twice")
    expected = bundle.manifest.topics
    if len(names) != expected:
        raise TopicsMismatch(TOPICS, f"{len(names)} topics, the manifest says {expected}")


def _check_click_model(bundle: Bundle) -> None:
    try:
        numbers = _ClickModel.model_validate_json(bundle.file(CLICK_MODEL))
    except ValidationError as error:
        raise ClickModelMalformed(CLICK_MODEL, place_and_problem(error)) from error
    if not np.isfinite(_as_float32(numbers.content)).all():
        raise ClickModelMalformed(CLICK_MODEL, "content: a number too large for float32")
    dim = bundle.manifest.dim
    if len(numbers.content) != dim:
        raise ClickModelMismatch(
            CLICK_MODEL, f"content: {len(numbers.content)} numbers, the manifest says {dim}"
        )


def _as_float32(numbers: list[float]) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    with np.errstate(over="ignore"):
        return np.array(numbers).astype(np.float32)


def _checked_tokenizer(bundle: Bundle) -> TextTokenizer:
    longest = bundle.text.max_tokens
    with refusing(TokenizerMalformed, TOKENIZER):
        tokenizer = TextTokenizer(bundle.file(TOKENIZER), longest)
        rows = tokenizer.rows([*PROBES, "x " * longest])
    if max(map(len, rows)) > longest:
        raise TokenizerMalformed(TOKENIZER, f"makes more than {longest} tokens of a text")
    return tokenizer


def _check_graphs(bundle: Bundle, tokenizer: TextTokenizer) -> None:
    dim, topics = bundle.manifest.dim, bundle.manifest.topics
    tokens, read = ("batch", "length"), ("batch", "clicks")
    news_encoder = read_graph(NEWS_ENCODER, bundle.file(NEWS_ENCODER))
    require_interface(
        NEWS_ENCODER,
        news_encoder,
        inputs={"ids": Value("int64", tokens), "mask": Value("int64", tokens)},
        outputs={
            "vector": Value("float32", ("batch", dim)),
            "topic_logits": Value("float32", ("batch", topics)),
        },
    )
    largest, rows = tokenizer.largest_id, news_encoder.rows.get("ids")
    if rows is not None and largest >= rows:
        raise TokenizerMismatch(TOKENIZER, f"token id {largest}, {NEWS_ENCODER} has {rows} rows")
    require_interface(
        USER_ENCODER,
        read_graph(USER_ENCODER, bundle.file(USER_ENCODER)),
        inputs={"history": Value("float32", (*read, dim)), "mask": Value("bool", read)},
        outputs={"user": Value("float32", ("batch", dim))},
    )
