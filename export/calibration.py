"""Calibration: how far the channels of a student's activations reach, on texts of our own.

The texts may be shipped and are the same everywhere: samples, hard texts and random tokens. Nothing
that a model is trained or measured on is needed.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from contract.bundle import canonical_json
from contract.invariance import TokenIds
from contract.mind import MindFolder
from export.hard_texts import random_rows
from export.sentence_check import TEXTS
from training.checkpoint import StudentCheckpoint
from training.model import Student

SAMPLE_TEXTS, RANDOM_ROWS, SEED = 512, 128, 0
ROWS_PER_BATCH = 32
Channels: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class LayerReach:
    """The largest magnitude per channel of what a layer's dense layers read, by who reads it.

    Key and value read what the query does. What `attended` reads is without the value's bias.
    """

    query: Channels
    attended: Channels
    intermediate: Channels


@dataclass(frozen=True)
class Reach:
    """The largest magnitude per channel in every layer, and of what the pooling reads."""

    layers: tuple[LayerReach, ...]
    projection: Channels


def calibration_rows(checkpoint: StudentCheckpoint, samples: MindFolder) -> TokenIds:
    """Return token ids of sample articles, of texts of all kinds, and of random tokens."""
    texts = dict.fromkeys(checkpoint.spec.text(article) for article in samples.articles)
    rows = checkpoint.tokenizer().rows([*list(texts)[:SAMPLE_TEXTS], *TEXTS])
    return [row for row in (*rows, *random_rows(checkpoint, RANDOM_ROWS, seed=SEED)) if row]


def calibration_record(rows: TokenIds) -> dict[str, Any]:
    """Return what names the texts in a bundle's provenance: how many, and their hash."""
    return {"texts": len(rows), "sha256": hashlib.sha256(canonical_json(rows)).hexdigest()}


@torch.no_grad()
def measure_reach(student: Student, rows: TokenIds) -> Reach:
    """Encode texts in float64 and keep what each channel reaches: none of `rows` may be empty."""
    # Any: transformers publishes no types.
    backbone: Any = copy.deepcopy(student.news_encoder.backbone).double().eval()
    watched = [_watch(layer) for layer in backbone.encoder.layer]
    pooled = _Maximum()
    for ids in _equally_long(rows):
        pooled.see(backbone(ids, attention_mask=torch.ones_like(ids)).last_hidden_state)
    layers = (LayerReach(**{name: seen.found for name, seen in each.items()}) for each in watched)
    return Reach(tuple(layers), pooled.found)


class _Maximum:
    """The largest magnitude per channel of all that was seen."""

    def __init__(self, *, shift: Tensor | None = None) -> None:
        self._shift, self._largest = shift, torch.zeros(1)

    def before(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """See what a module is about to read."""
        self.see(inputs[0])

    def see(self, x: Tensor) -> None:
        """Take (..., channels) into account."""
        shifted = x if self._shift is None else x - self._shift
        self._largest = torch.maximum(self._largest, shifted.abs().flatten(0, -2).amax(dim=0))

    @property
    def found(self) -> Channels:
        """Return the largest magnitudes (channels,)."""
        return np.asarray(self._largest.numpy(), dtype=np.float64)


def _watch(layer: Any) -> dict[str, _Maximum]:  # noqa: ANN401 (the same)
    watched = {
        "query": (layer.attention.self.query, _Maximum()),
        "attended": (
            layer.attention.output.dense, _Maximum(shift=layer.attention.self.value.bias),
        ),
        "intermediate": (layer.intermediate.dense, _Maximum()),
    }  # fmt: skip
    for module, maximum in watched.values():
        module.register_forward_pre_hook(maximum.before)
    return {name: maximum for name, (_, maximum) in watched.items()}


def _equally_long(rows: TokenIds) -> Iterator[Tensor]:
    # Padding would be seen as well.
    for _, same in groupby(sorted(rows, key=len), key=len):
        yield from torch.split(torch.tensor([list(row) for row in same]), ROWS_PER_BATCH)
