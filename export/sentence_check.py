"""Sentence check: a folder read back without sentence-transformers, against the checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from contract.article import Vectors
from export.errors import VectorsDiffer
from export.reference import TorchReference
from training.checkpoint import StudentCheckpoint

LEAST_COSINE = 0.9999
BATCH_SIZES = (1, 4, 32)
# Nothing, one word, scripts, combining marks, signs, what tokenizers hold to be their own; the last
# is longer than any text is cut at.
TEXTS = (
    "",
    "goal",
    "Senate passes budget after all-night session",
    "sports football_nfl : Underdogs win the cup. A late goal decided it, and 40,000 fans cheered.",
    "Émigré café owners öffnen wieder: 50 % mehr Gäste — “a miracle”",
    "Cafe\u0301 and café are spelt in two ways",
    "東京で大雨、電車が止まる",
    "Выборы прошли спокойно",
    "انتخابات اليوم",
    "🏆🏆 OMG!!! :) #winning @everyone https://example.org/?a=1&b=2",
    "[PAD] [CLS] [MASK] <pad> <s> </s>",
    "0 1 2 3.14 1e9 -7 $5bn £3m 10:30 24/7",
    "A storm moved over the coast on Sunday, and the mayor asked everybody to stay at home. " * 40,
)


def require_same_vectors(folder: Path, checkpoint: StudentCheckpoint) -> float:
    """Return the least cosine of a folder's vectors with the checkpoint's, alone and in batches.

    Below 0.9999, and where a vector is too short or not a number, it raises VectorsDiffer.
    """
    encoder = FolderEncoder(folder)
    found = np.stack([_in_batches(encoder, size) for size in BATCH_SIZES])  # (sizes, texts, D)
    expected = TorchReference(checkpoint).vectors(TEXTS)
    # All are of unit length: a vector that is not shows as well.
    cosines = (expected * found).sum(axis=2).min(axis=0)  # (texts,)
    least = float(cosines.min())
    if not least >= LEAST_COSINE:
        raise VectorsDiffer(least, LEAST_COSINE, TEXTS[int(cosines.argmin())])
    return least


def _in_batches(encoder: FolderEncoder, size: int) -> Vectors:
    parts = [encoder.vectors(TEXTS[i : i + size]) for i in range(0, len(TEXTS), size)]
    return np.concatenate(parts)


class FolderEncoder:
    """Do what sentence-transformers does with a folder, with transformers and torch alone."""

    def __init__(self, folder: Path) -> None:
        settings = _read(folder / "sentence_bert_config.json")
        self._max_tokens = settings["max_seq_length"]
        with _quietly():
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._backbone = AutoModel.from_pretrained(
                folder, local_files_only=True, **settings["model_kwargs"]
            ).eval()
        self._layers = [_load_dense(folder / path) for path in ("1_Dense", "2_Dense")]

    @torch.no_grad()
    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Encode texts as one batch: (B,) -> (B, D), unit length."""
        tokens = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._max_tokens,
            return_tensors="pt",
        )  # fmt: skip
        states: Tensor = self._backbone(**tokens).last_hidden_state  # (B, T, H)
        for layer in self._layers:
            states = nn.functional.glu(layer(states))
        mask = tokens["attention_mask"].unsqueeze(-1)  # (B, T, 1)
        mean = (states * mask).sum(dim=1) / mask.sum(dim=1)
        return np.asarray(nn.functional.normalize(mean, dim=-1).numpy())


@contextmanager
def _quietly() -> Iterator[None]:
    # Any: transformers publishes no types. Its progress bar would stand among our lines.
    talk: Any = transformers_logging
    shown = talk.is_progress_bar_enabled()
    talk.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            talk.enable_progress_bar()


def _load_dense(folder: Path) -> nn.Linear:
    settings = _read(folder / "config.json")
    layer = nn.Linear(settings["in_features"], settings["out_features"])
    weights = load_file(folder / "model.safetensors")
    layer.load_state_dict({name.removeprefix("linear."): w for name, w in weights.items()})
    return layer


def _read(path: Path) -> Any:  # noqa: ANN401 (JSON of any kind)
    return json.loads(path.read_bytes())
