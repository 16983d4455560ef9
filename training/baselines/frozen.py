"""Frozen teacher: the pretrained model as it comes, mean-pooled, nothing learnt from clicks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from contract.article import Mask, Vectors
from contract.measuring import Predictor, TopicTexts, model_predictor
from contract.scoring import ClickModel
from contract.text import TextSpec
from contract.tokens import TextTokenizer
from training.baselines.classifiers import logistic_regression
from training.config import ModelConfig
from training.device import device_of
from training.encoding import encode_texts
from training.model.news_encoder import mean_pooled
from training.teacher import Teacher, load_teacher

SPEC = TextSpec(fields=("title", "abstract"), abstract_chars=200, max_tokens=64)
# Dense features of unit length, a few hundred of them.
STRENGTH = 10.0


def frozen_teacher(source: str) -> Predictor:
    """Match the mean vector of what was read; texts are classified by logistic regression."""
    teacher = load_teacher(source, ModelConfig(), topics=0)
    encoder = FrozenEncoder(teacher)
    plain = ClickModel(
        scale=1.0, attention=0.0, temperature=1.0, content=np.zeros(encoder.width, np.float32)
    )
    matching = model_predictor(encoder, plain, SPEC, [])

    def classify(taxonomy: str, texts: TopicTexts) -> list[str]:
        learn, measure = (
            encoder.vectors([text.text for text in side]) for side in (texts.learn, texts.measure)
        )
        return logistic_regression(taxonomy, texts, learn, measure, strength=STRENGTH)

    return Predictor(SPEC, matching.rank, classify, matching.find)


class FrozenEncoder:
    """Encode texts by the teacher's mean-pooled last states, readers by their clicks' mean."""

    def __init__(self, teacher: Teacher) -> None:
        self._backbone = teacher.backbone.eval()
        self._tokenizer = TextTokenizer(teacher.tokenizer_json, SPEC.max_tokens)
        self.width = teacher.architecture.hidden

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Encode texts: (N,) -> (N, W), unit length."""
        return encode_texts(texts, self._tokenizer, self._mean_pooled, device_of(self._backbone))

    def topic_logits(self, texts: Sequence[str]) -> Vectors:
        """Know no topics: (N,) -> (N, 0)."""
        return np.zeros((len(texts), 0), dtype=np.float32)

    def users(self, history: Vectors, mask: Mask) -> Vectors:
        """Average what was read: (B, H, W) and (B, H) -> (B, W)."""
        read = (history * mask[:, :, None]).sum(axis=1)
        users: Vectors = read / np.maximum(1, mask.sum(axis=1, keepdims=True)).astype(np.float32)
        return users

    def _mean_pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        states = self._backbone(input_ids=ids, attention_mask=mask).last_hidden_state
        return mean_pooled(states, mask)
