"""Teacher: a pretrained transformer by hub id or folder, or a small random one."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, BertConfig
from transformers.utils import logging as transformers_logging

from training.config import ModelConfig, RandomTeacherConfig
from training.errors import TeacherError
from training.model.architecture import (
    ATTENTION,
    Architecture,
    architecture_of,
    build_backbone,
)

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True)
class Teacher:
    """Hold a transformer with its architecture, its tokenizer.json and where it came from."""

    backbone: nn.Module
    architecture: Architecture
    tokenizer_json: bytes
    source: str

    @property
    def fingerprint(self) -> str:
        """Return hex digits that stand for the weights and the tokenizer."""
        digest = hashlib.sha256(self.tokenizer_json)
        for name, parameter in sorted(self.backbone.named_parameters()):
            digest.update(name.encode() + parameter.detach().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]


def load_teacher(source: str, model: ModelConfig, *, topics: int) -> Teacher:
    """Load the first `model.teacher_layers` layers of a hub id or local folder (0: all)."""
    changes = {
        "hidden_dropout_prob": model.dropout,
        "attention_probs_dropout_prob": model.dropout,
    }
    try:
        config = AutoConfig.from_pretrained(source, **changes)
        config.num_hidden_layers = _depth(config.num_hidden_layers, model.teacher_layers)
        architecture = architecture_of(
            config, dim=model.dim, query_width=model.query_width, topics=topics
        )
        backbone = _pretrained_backbone(source, config)
        tokenizer = AutoTokenizer.from_pretrained(source, use_fast=True)
    except (OSError, ValueError) as error:
        raise TeacherError(f"teacher {source!r}: {str(error).splitlines()[0]}") from error
    return Teacher(
        backbone,
        architecture,
        tokenizer.backend_tokenizer.to_str().encode(),
        short_name(source),
    )


def short_name(source: str) -> str:
    """Return a hub id as it is, and of a local folder the last two names."""
    # Its place is nobody's business; two names are enough to recognise it.
    path = Path(source)
    return "/".join(path.resolve().parts[-2:]) if path.exists() else source


def random_teacher(
    texts: Iterable[str],
    model: ModelConfig,
    shape: RandomTeacherConfig,
    *,
    topics: int,
    seed: int,
) -> Teacher:
    """Build a random BERT whose vocabulary comes from the texts; it needs no download."""
    tokenizer = train_tokenizer(texts, shape.vocabulary)
    config = BertConfig(
        num_hidden_layers=shape.layers,
        hidden_size=shape.hidden,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.hidden,
        vocab_size=tokenizer.get_vocab_size(),
        max_position_embeddings=128,
        hidden_dropout_prob=model.dropout,
    )
    architecture = architecture_of(
        config, dim=model.dim, query_width=model.query_width, topics=topics
    )
    torch.manual_seed(seed)
    return Teacher(
        build_backbone(architecture), architecture, tokenizer.to_str().encode(), "random"
    )


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Make a lower-casing WordPiece tokenizer of characters and the most frequent words.

    The trainer of `tokenizers` breaks ties differently in every process; a run must be repeatable.
    """
    normalizer = normalizers.BertNormalizer(lowercase=True)
    splitter = pre_tokenizers.BertPreTokenizer()
    words = Counter(
        word
        for text in texts
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))
    )
    letters = sorted({letter for word in words for letter in word})
    frequent = sorted(words, key=lambda word: (-words[word], word))
    pieces = [*SPECIAL_TOKENS, *letters, *(f"##{letter}" for letter in letters), *frequent]
    distinct = list(dict.fromkeys(pieces))[: max(vocabulary, len(SPECIAL_TOKENS))]
    ids = {piece: number for number, piece in enumerate(distinct)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))  # noqa: S106  (no password)
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"])
    )
    return tokenizer


def _depth(available: int, wanted: int) -> int:
    if wanted > available:
        raise TeacherError(f"model.teacher_layers = {wanted}, but the teacher has {available}")
    return wanted or available


def _pretrained_backbone(source: str, config: object) -> nn.Module:
    with _quiet():
        backbone: nn.Module = AutoModel.from_pretrained(
            source, config=config, add_pooling_layer=False, attn_implementation=ATTENTION
        )
    return backbone.float()


@contextmanager
def _quiet() -> Iterator[None]:
    # transformers lists every layer that is left out on purpose; that is no news to anyone here.
    # Any: these functions carry no types.
    talk: Any = transformers_logging
    verbosity = talk.get_verbosity()
    talk.set_verbosity_error()
    talk.disable_progress_bar()
    try:
        yield
    finally:
        talk.set_verbosity(verbosity)
        talk.enable_progress_bar()
