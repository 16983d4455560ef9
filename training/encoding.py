"""Encoding: a torch model behind the interface that evaluation asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from contract.article import Mask, Vectors
from contract.measuring import Predictor, model_predictor
from contract.tokens import TextTokenizer
from training.checkpoint import StudentCheckpoint
from training.device import device_of
from training.model.student import Student
from training.token_table import TokenTable, encode_in_chunks


class TorchEncoder:
    """Encode texts and histories with a model in evaluation mode, wherever its parameters are."""

    def __init__(self, model: Student, tokenizer: TextTokenizer) -> None:
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._device = device_of(model)

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Encode texts: (N,) -> (N, D), unit length."""
        return encode_texts(texts, self._tokenizer, self._vector, self._device)

    def topic_logits(self, texts: Sequence[str]) -> Vectors:
        """Classify texts that must not hold their own topic: (N,) -> (N, topics)."""
        return encode_texts(texts, self._tokenizer, self._model.topic_logits, self._device)

    @torch.no_grad()
    def users(self, history: Vectors, mask: Mask) -> Vectors:
        """Encode histories: (B, H, D) and (B, H) -> (B, D)."""
        tensors = (torch.from_numpy(array).to(self._device) for array in (history, mask))
        users: Vectors = self._model.user_encoder(*tensors).cpu().numpy()
        return users

    def _vector(self, ids: Tensor, mask: Tensor) -> Tensor:
        vector: Tensor = self._model.news_encoder(ids, mask).vector
        return vector


def predictor_of(model: Student, checkpoint: StudentCheckpoint) -> Predictor:
    """Let a model of a checkpoint answer as it would in service."""
    encoder = TorchEncoder(model, checkpoint.tokenizer())
    click_model = model.click_model.to_contract()
    return model_predictor(encoder, click_model, checkpoint.spec, checkpoint.topics)


@torch.no_grad()
def encode_texts(
    texts: Sequence[str],
    tokenizer: TextTokenizer,
    encode: Callable[[Tensor, Tensor], Tensor],
    device: torch.device,
) -> Vectors:
    """Encode each distinct text once, those of like length together: (N,) -> (N, W).

    `encode` turns ids and mask (B, T) into (B, W).
    """
    if not texts:
        return encode_texts([""], tokenizer, encode, device)[:0]
    distinct = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    table = TokenTable(list(distinct), tokenizer)
    (found,) = encode_in_chunks(
        table, np.arange(len(table)), lambda *tokens: (encode(*tokens).cpu(),), device=device
    )
    vectors: Vectors = found.numpy()
    return vectors[[distinct[text] for text in texts]]
