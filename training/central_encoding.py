"""Central encoding: each text of a step through both models, and losses between their states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training import parallel
from training.config import Config, LossWeights
from training.device import autocast, device_of
from training.losses import hidden_loss, masked_mse, pooled_loss
from training.model.news_encoder import NewsEncoding
from training.model.student import Student, TeacherStudent
from training.token_table import Rows, TokenTable, encode_in_chunks, restore_order


@dataclass(frozen=True)
class Outputs:
    """Hold what the heads read: vectors (N, D) and pooled texts (N, hidden)."""

    vectors: Tensor
    pooled: Tensor


@dataclass(frozen=True)
class Encoded:
    """Hold both models' outputs for a batch and the losses between their states."""

    student: Outputs
    teacher: Outputs | None
    losses: dict[str, Tensor]


# What a step asks the teacher for: the outputs for some rows of the token table.
TeacherOutputs = Callable[[Rows], Outputs]


def encode_batch(
    pair: TeacherStudent,
    table: TokenTable,
    texts: Rows,
    *,
    config: Config,
    fixed: TeacherOutputs | None = None,
) -> Encoded:
    """Encode each text once with the student and, where any loss asks for it, with the teacher.

    A joint teacher is encoded with gradients. A fixed one answers from `fixed`, and is encoded here
    only for losses that compare its embeddings and hidden states. Of several processes, each
    encodes its share and gets the outputs of all.
    """
    settings, device = config.distillation, device_of(pair)
    encodes_teacher = settings.joint or compares_states(settings.weights)
    # Repeated where processes outnumber texts, because each needs one.
    texts = np.resize(texts, max(len(texts), parallel.count()))
    shares = parallel.shares(table.lengths[texts])
    own = shares[parallel.rank()]
    chunks = text_chunks(table, texts[own], config)
    # A text that fills several slots counts once in the losses between states.
    first = np.zeros(len(texts), dtype=bool)
    first[np.unique(texts, return_index=True)[1]] = True
    tokens = [table.tokens(texts[own[chunk]], device) for chunk in chunks]
    counted = [torch.from_numpy(first[own[chunk], None]).to(device) for chunk in chunks]
    masks = [mask * once for (_, mask), once in zip(tokens, counted, strict=True)]
    # One context for all chunks, so that the weights are rounded to half the bits only once.
    with autocast(config.run.precision, device):
        ours = _encodings(pair.student, tokens)
        with torch.set_grad_enabled(settings.joint and torch.is_grad_enabled()):
            theirs = _encodings(pair.teacher, tokens) if encodes_teacher else []
    student = _gathered(_outputs(ours, chunks), shares)
    teacher = fixed(texts) if fixed else None
    if theirs:
        teacher = _gathered(_outputs(theirs, chunks), shares)
    parts = _state_losses(ours, theirs, masks, settings.weights) if theirs else {}
    if teacher is not None and settings.weights.pooled:
        once = torch.from_numpy(np.flatnonzero(first)).to(device)
        parts["pooled"] = pooled_loss(student.pooled[once], teacher.pooled[once])
    return Encoded(student, teacher, parts)


def compares_states(weights: LossWeights) -> bool:
    """Tell whether a loss needs the teacher's embeddings or hidden states."""
    return bool(weights.embedding or weights.hidden)


def text_chunks(table: TokenTable, texts: Rows, config: Config) -> list[Rows]:
    """Cut a batch's texts into chunks of like length, or take them all at once."""
    settings = config.distillation
    if not settings.length_bucketing:
        return [np.arange(len(texts))]
    return list(table.chunks(texts, tokens_per_chunk=settings.tokens_per_chunk))


@torch.no_grad()
def encode_rows(model: Student, table: TokenTable, rows: Rows, config: Config) -> Outputs:
    """Encode texts without gradients and without dropout."""
    model.eval()
    device = device_of(model)

    def encode(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        with autocast(config.run.precision, device):
            encoding = model.news_encoder(ids, mask)
        # Not the encoding itself: the hidden states of a whole catalogue are gigabytes.
        return encoding.vector, encoding.pooled

    tokens = config.distillation.tokens_per_chunk
    return Outputs(*encode_in_chunks(table, rows, encode, tokens_per_chunk=tokens, device=device))


def remembered(model: Student, table: TokenTable, rows: Rows, config: Config) -> TeacherOutputs:
    """Encode rows once and return a function that gives their outputs from then on.

    A row that was not among them raises LookupError.
    """
    known = encode_rows(model, table, rows, config)
    place = np.full(len(table), -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))

    def outputs(wanted: Rows) -> Outputs:
        if (place[wanted] < 0).any():
            raise LookupError(f"not encoded: rows {wanted[place[wanted] < 0][:10].tolist()}")
        places = torch.from_numpy(place[wanted]).to(known.vectors.device)
        return Outputs(known.vectors[places], known.pooled[places])

    return outputs


def _encodings(model: Student, tokens: Sequence[tuple[Tensor, Tensor]]) -> list[NewsEncoding]:
    """Encode chunks of ids and masks; each word of theirs is looked up once."""
    every = torch.cat([ids.flatten() for ids, _ in tokens])
    distinct, places = torch.unique(every, return_inverse=True)
    words = model.news_encoder.word_vectors(distinct)
    parts = places.split([ids.numel() for ids, _ in tokens])
    return [
        model.news_encoder(part.view_as(ids), mask, words)
        for part, (ids, mask) in zip(parts, tokens, strict=True)
    ]


def _state_losses(
    ours: Sequence[NewsEncoding],
    theirs: Sequence[NewsEncoding],
    masks: Sequence[Tensor],
    weights: LossWeights,
) -> dict[str, Tensor]:
    """Return the means over the batch's tokens: each chunk counts by its share of them."""
    tokens = torch.stack([mask.sum() for mask in masks]).float()
    shares = tokens / parallel.mean(tokens.sum())
    chunks = list(zip(ours, theirs, masks, strict=True))
    compared: dict[str, Callable[[NewsEncoding, NewsEncoding, Tensor], Tensor]] = {
        "embedding": lambda s, t, m: masked_mse(s.embeddings, t.embeddings, m),
        "hidden": lambda s, t, m: hidden_loss(s.hidden_states, t.hidden_states, m),
    }
    return {
        name: parallel.mean((shares * torch.stack([compare(*c) for c in chunks])).sum())
        for name, compare in compared.items()
        if getattr(weights, name)
    }


def _gathered(own: Outputs, shares: Sequence[Rows]) -> Outputs:
    return Outputs(parallel.gathered(own.vectors, shares), parallel.gathered(own.pooled, shares))


def _outputs(parts: Sequence[NewsEncoding], chunks: Sequence[Rows]) -> Outputs:
    return Outputs(
        restore_order([part.vector for part in parts], chunks),
        restore_order([part.pooled for part in parts], chunks),
    )
