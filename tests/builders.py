"""Build valid things for tests: defaults for all, override only what the test is about."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract import bundle as b
from contract.article import Article, Impression
from contract.encoder import BundleEncoder
from contract.golden import GoldenCase, make_golden
from contract.scoring import ClickModel
from contract.text import TextSpec

# Words of one topic have similar vectors, words of two topics nearly orthogonal ones.
WORDS: dict[str, tuple[str, ...]] = {
    "sports": ("sports", "team", "cup", "coach", "goal", "league", "match", "player", "season"),
    "politics": ("politics", "election", "senate", "vote", "minister", "law", "party", "campaign"),
    "finance": ("finance", "market", "stocks", "bank", "shares", "profit", "trade", "prices"),
    "health": ("health", "hospital", "vaccine", "doctor", "patient", "virus", "diet", "therapy"),
}
PLAIN_WORDS = ("the", "a", "of", "in", "on", "for", "new", "wins", "after", "and")
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
PUNCTUATION = ".,:;!?'\"-()"


def an_article(id: str = "N1", **fields: Any) -> Article:  # noqa: A002 (the field's own name)
    """Build an article about sports unless told otherwise."""
    defaults = {"title": "Team wins the cup", "topic": "sports", "subtopic": "soccer"}
    return Article(**{"id": id, **defaults, **fields})


def a_title(topic: str, number: int = 0) -> str:
    """Make a title of three words of a topic, another one for each number up to a few hundred."""
    words = WORDS[topic][1:]
    picked = (words[number % 7], words[number // 7 % 7], words[number // 49 % 7])
    return f"New {' '.join(picked)} {number}"


def a_catalogue(size: int, **fields: Any) -> list[Article]:
    """Build articles N0, N1, … whose topics take turns in the order of `WORDS`."""
    topics = list(WORDS)
    return [
        an_article(f"N{i}", topic=topic, subtopic="", title=a_title(topic, i), **fields)
        for i, topic in ((i, topics[i % len(topics)]) for i in range(size))
    ]


def golden_cases() -> list[GoldenCase]:
    """Make a reader with a history and one without, and more candidates than a top 10."""
    titles = [article.title for article in a_catalogue(24)]
    history = ["sports : Team wins the cup", "Coach on the new season"]
    return [
        {"history": history, "candidates": titles},
        {"history": [], "candidates": [*titles, "A law on the vaccine"]},
    ]


def an_impression(id: str = "1", **fields: Any) -> Impression:  # noqa: A002
    """Build an impression with one click and one skip; clicks default to the first candidate."""
    candidates = tuple(fields.pop("candidates", ("N2", "N3")))
    defaults: dict[str, Any] = {
        "user_id": "U1",
        "time": None,
        "history": ("N1",),
        "clicks": tuple(i == 0 for i in range(len(candidates))),
    }
    return Impression(id=id, candidates=candidates, **{**defaults, **fields})


@lru_cache
def a_tokenizer_json() -> bytes:
    """Build a lower-casing WordPiece tokenizer that knows `WORDS` and spells all other words."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    vocabulary = {token: i for i, token in enumerate(_vocabulary())}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer.to_str().encode()


def a_click_model(dim: int = 8, **numbers: Any) -> ClickModel:
    """Build a click model with a small content term."""
    content = 0.05 * np.random.default_rng(7).standard_normal(dim).astype(np.float32)
    defaults = {"scale": 5.0, "attention": 0.5, "temperature": 4.0, "content": content}
    return ClickModel(**{**defaults, **numbers})


def bundle_files(
    *,
    dim: int = 8,
    seed: int = 0,
    text: TextSpec | None = None,
    click_model: ClickModel | None = None,
    model_card: str = "# A tiny bundle for tests\n",
) -> dict[str, bytes]:
    """Make every file of a bundle; another `seed` is another vector space with the same topics."""
    from contract.bundle import canonical_json

    numbers = click_model or a_click_model(dim)
    files = {
        b.NEWS_ENCODER: a_news_encoder(dim, seed),
        b.USER_ENCODER: a_user_encoder(dim),
        b.CLICK_MODEL: numbers.to_json(),
        b.TOKENIZER: a_tokenizer_json(),
        b.TOPICS: canonical_json(list(WORDS)),
        b.MODEL_CARD: model_card.encode(),
    }
    encoder = BundleEncoder(_unwritten(files, dim, text or TextSpec()))
    return {**files, b.GOLDEN: make_golden(encoder, numbers, golden_cases())}


def a_bundle(
    path: Path,
    *,
    dim: int = 8,
    text: TextSpec | None = None,
    quality: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    **files: Any,
) -> b.Bundle:
    """Write a tiny valid bundle at `path`; other arguments are those of `bundle_files`.

    Same arguments, same bytes. Another `seed` gives another namespace; another `model_card` or
    `click_model` gives another model in the same namespace.
    """
    spec = text or TextSpec()
    told = {"quality": quality, "provenance": provenance}
    facts = bundle_facts(dim=dim, text=spec, **{name: said for name, said in told.items() if said})
    return b.write_bundle(path, bundle_files(dim=dim, text=spec, **files), facts)


def bundle_facts(**facts: Any) -> b.Facts:
    """Say of a bundle what its manifest says beside the files."""
    defaults = {
        "dim": 8,
        "layers": 1,
        "topics": len(WORDS),
        "text": TextSpec(),
        "quality": {"auc": 0.5},
        "provenance": {"built_by": "tests"},
    }
    return b.Facts(**{**defaults, **facts})


@lru_cache
def a_news_encoder(dim: int = 8, seed: int = 0) -> bytes:
    """Build a graph: look tokens up, take their masked mean, make it unit length; a topic head."""
    from onnx import TensorProto, helper

    table, topics = _embeddings(dim, seed)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["tokens"]),  # (B, T, D)
        *_masked_mean("tokens", "mean"),  # (B, D)
        helper.make_node("ReduceL2", ["mean"], ["norm"], axes=[1], keepdims=1),
        helper.make_node("Div", ["mean", "norm"], ["vector"]),
        helper.make_node("MatMul", ["vector", "topics"], ["topic_logits"]),
    ]
    return _graph(
        nodes,
        inputs={"ids": (TensorProto.INT64, ["B", "T"]), "mask": (TensorProto.INT64, ["B", "T"])},
        outputs={"vector": ["B", dim], "topic_logits": ["B", len(WORDS)]},
        constants={"table": table, "topics": topics.T * 4},
    )


@lru_cache
def a_user_encoder(dim: int = 8) -> bytes:
    """Build a graph: the masked mean of a history, zeros where nothing is unmasked."""
    from onnx import TensorProto

    return _graph(
        _masked_mean("history", "user"),
        inputs={
            "history": (TensorProto.FLOAT, ["B", "H", dim]),
            "mask": (TensorProto.BOOL, ["B", "H"]),
        },
        outputs={"user": ["B", dim]},
        constants={},
    )


def _vocabulary() -> list[str]:
    words = [word for topic in WORDS.values() for word in topic]
    pieces = [*LETTERS, *(f"##{letter}" for letter in LETTERS), *PUNCTUATION]
    return list(dict.fromkeys([*SPECIAL_TOKENS, *words, *PLAIN_WORDS, *pieces]))


def _embeddings(dim: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw the token table (V, D) and the topic directions (topics, D), turned by the seed."""
    random = np.random.default_rng(seed)
    turn = np.linalg.qr(random.standard_normal((dim, dim)))[0]  # (D, D)
    tokens = {token: row for row, token in enumerate(_vocabulary())}
    # Few, weak directions for what is no topic's word, so that topic words decide.
    table = 0.05 * random.standard_normal((len(tokens), dim))  # (V, D)
    for axis, words in enumerate(WORDS.values()):
        for word in words:
            table[tokens[word]] = np.eye(dim)[axis] + 0.1 * random.standard_normal(dim)
    # Without it the mean of a text of padding alone would have no direction.
    table[tokens["[CLS]"], -1] += 0.05
    topics = np.eye(len(WORDS), dim)
    return (table @ turn).astype(np.float32), (topics @ turn).astype(np.float32)


def _masked_mean(values: str, output: str) -> list[Any]:
    """List the nodes for (B, T, D) `values` and (B, T) `mask` -> (B, D) `output`."""
    from onnx import TensorProto, helper

    return [
        helper.make_node("Cast", ["mask"], ["weights"], to=TensorProto.FLOAT),  # (B, T)
        helper.make_node("Unsqueeze", ["weights", "last"], ["column"]),  # (B, T, 1)
        helper.make_node("Mul", [values, "column"], ["unmasked"]),  # (B, T, D)
        helper.make_node("ReduceSum", ["unmasked", "middle"], ["sum"], keepdims=0),  # (B, D)
        helper.make_node("ReduceSum", ["column", "middle"], ["count"], keepdims=0),  # (B, 1)
        helper.make_node("Max", ["count", "one"], ["divisor"]),
        helper.make_node("Div", ["sum", "divisor"], [output]),
    ]


def _graph(
    nodes: list[Any],
    *,
    inputs: dict[str, tuple[int, list[Any]]],
    outputs: dict[str, list[Any]],
    constants: dict[str, NDArray[np.float32]],
) -> bytes:
    from onnx import TensorProto, checker, helper, numpy_helper

    arrays: dict[str, Any] = {
        **constants,
        "last": np.array([2], dtype=np.int64),
        "middle": np.array([1], dtype=np.int64),
        "one": np.array(1, dtype=np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    raw: bytes = model.SerializeToString()
    return raw


def _unwritten(files: dict[str, bytes], dim: int, text: TextSpec) -> b.Bundle:
    manifest = b.Manifest(
        namespace="", dim=dim, layers=1, topics=len(WORDS), text=text, files={}, quality={},
        provenance={},
    )  # fmt: skip
    return b.Bundle(manifest=manifest, model="", files=files)
