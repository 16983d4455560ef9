"""Tiny training material: 60 invented texts, rows of all three tasks, settings without chance."""

import copy
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

from contract.tokens import TextTokenizer
from training.batches import Batch, ClickRow, QueryRow, TaskRows, TopicTexts, epoch_batches
from training.config import Config, parse_config
from training.distill import TrainingData, step_sizes
from training.model import TeacherStudent
from training.teacher import train_tokenizer
from training.token_table import TokenTable

WORDS = ("goal", "match", "coach", "vote", "law", "senate", "film", "star", "song", "rain", "storm")

SETTINGS: dict[str, Any] = {
    "text": {"max_tokens": 12},
    "tasks": {"recommendation": 1.0, "topics": 1.0, "search": 1.0},
    "model": {"student_layers": 2, "dim": 8, "query_width": 4, "dropout": 0.0},
    "distillation": {
        "rows_per_step": 6,
        "topic_texts_per_step": 6,
        "queries_per_step": 4,
        "momentum": 0.0,
    },
    "run": {"threads": 1},
}

# Two taxonomies of two topics: numbers 0 and 1 belong to the first, 2 and 3 to the second.
MEMBERS = np.array([[1, 1, 0, 0], [0, 0, 1, 1]], dtype=bool)
NO_TOPICS = TopicTexts(*np.zeros((3, 0), np.int64), MEMBERS)


PRETRAINED_SIZES = {
    "num_hidden_layers": 2,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 60,
    "max_position_embeddings": 40,
}
PRETRAINED_TEXTS = ("rain and storm", "goal and match")


def a_config(**tables: Any) -> Config:
    """Return settings that differ from `SETTINGS` in the given tables."""
    return parse_config(_merged(SETTINGS, tables))


def a_distillation(**settings: Any) -> Config:
    """Return settings that differ in the table [distillation] alone."""
    return a_config(distillation=settings)


def only_weights(**weights: float) -> dict[str, float]:
    """Return loss weights of which only the given ones are not 0."""
    return {**dict.fromkeys(("gold", "distill", "embedding", "hidden", "pooled"), 0.0), **weights}


@lru_cache
def tiny_texts() -> tuple[str, ...]:
    """Return 60 distinct texts of 2 to 8 words: 30 articles, 20 with a topic, 10 queries."""
    random = np.random.default_rng(0)
    drawn = (" ".join(random.choice(WORDS, size=random.integers(2, 9))) for _ in range(200))
    return tuple(dict.fromkeys(drawn))[:60]


@lru_cache
def tiny_tokenizer_json() -> bytes:
    """Return a tokenizer with one token for each word."""
    return bytes(train_tokenizer(tiny_texts(), 50).to_str().encode())


def tiny_tokenizer() -> TextTokenizer:
    """Return the tokenizer, cut at twelve tokens."""
    return TextTokenizer(tiny_tokenizer_json(), 12)


@lru_cache
def tiny_data() -> TrainingData:
    """Return 20 clicks, 20 labelled texts of two taxonomies and 10 queries."""
    random = np.random.default_rng(1)
    clicks = []
    for _ in range(20):
        click, *others = random.permutation(30).tolist()
        clicks.append(ClickRow(tuple(others[: random.integers(0, 5)]), click, tuple(others[5:10])))
    taxonomies = np.repeat([0, 1], [14, 6])
    topics = TopicTexts(
        np.arange(30, 50), random.integers(0, 2, 20) + 2 * taxonomies, taxonomies, MEMBERS
    )
    # Neighbours share an article, so that a batch holds articles relevant to two of its queries.
    queries = [QueryRow(50 + i, (i, (i + 1) % 10)) for i in range(10)]
    return TrainingData(
        TokenTable(tiny_texts(), tiny_tokenizer()), TaskRows(clicks, topics, queries)
    )


def tiny_clicks(count: int = 20) -> TrainingData:
    """Return the first clicks alone: no other task has rows."""
    data = tiny_data()
    return TrainingData(data.texts, TaskRows(data.rows.clicks[:count], NO_TOPICS, ()))


def a_batch(config: Config, *, epoch: int = 1) -> Batch:
    """Return the first batch of an epoch."""
    return next(
        epoch_batches(
            tiny_data().rows,
            step_sizes(config),
            seed=config.run.seed,
            epoch=epoch,
            distinct=config.distillation.central_encoding,
        )
    )


def unsettled(pair: TeacherStudent) -> TeacherStudent:
    """Move everything away from its starting point, where some gradients are zero by design."""
    for parameter in pair.parameters():
        noise = nn.init.normal_(parameter.detach().clone(), std=0.2)
        parameter.data.add_(noise)
    return pair


def snapshot(module: nn.Module) -> dict[str, Any]:
    """Return a copy of every parameter by name."""
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


def moved(module: nn.Module, before: Mapping[str, Any]) -> set[str]:
    """Name the parameters that differ from a snapshot."""
    return {n for n, p in module.named_parameters() if not p.detach().equal(before[n])}


def save_pretrained(folder: Path, family: str) -> nn.Module:
    """Write a random checkpoint as the hub would give it."""
    configs: dict[str, PretrainedConfig] = {
        "bert": BertConfig(**PRETRAINED_SIZES),
        "roberta": RobertaConfig(**PRETRAINED_SIZES, pad_token_id=1, type_vocab_size=1),
    }
    model = {"bert": BertModel, "roberta": RobertaModel}[family](configs[family])
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=train_tokenizer(PRETRAINED_TEXTS, 60)).save_pretrained(
        folder
    )
    return model.eval()


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = copy.deepcopy(dict(base))
    for key, value in changes.items():
        known = merged.get(key)
        is_table = isinstance(known, dict) and isinstance(value, Mapping)
        merged[key] = _merged(known, value) if is_table else value
    return merged
