"""Encoding: a torch model behind the interface that evaluation asks for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from contract.article import Mask, Vectors
from contract.evaluation import evaluate
from contract.mind import MindFolder
from contract.ranking import RankingMetrics
from contract.text import TextSpec
from contract.tokens import TextTokenizer
from training.batches import TokenTable, restore_order
from training.model.student import Student

TOKENS_PER_CHUNK = 4096


class TorchEncoder:
    """Encode texts and histories with a model in evaluation mode."""

    def __init__(self, model: Student, tokenizer: TextTokenizer) -> None:
        self._model = model.eval()
        self._tokenizer = tokenizer

    @torch.no_grad()
    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Encode texts: (N,) -> (N, D), unit length."""
        distinct = list(dict.fromkeys(texts))
        table = TokenTable(distinct, self._tokenizer)
        chunks = list(table.chunks(np.arange(len(table)), tokens_per_chunk=TOKENS_PER_CHUNK))
        parts = [self._model.news_encoder(*table.tokens(rows)).vector for rows in chunks]
        numbers = {text: number for number, text in enumerate(distinct)}
        vectors: Vectors = restore_order(parts, chunks).numpy()
        return vectors[[numbers[text] for text in texts]]

    @torch.no_grad()
    def topics(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Return the most likely topic of each text without topic and subtopic: (N,)."""
        table = TokenTable(texts, self._tokenizer)
        chunks = list(table.chunks(np.arange(len(table)), tokens_per_chunk=TOKENS_PER_CHUNK))
        parts = [self._model.topic_logits(*table.tokens(rows)).argmax(dim=-1) for rows in chunks]
        found: NDArray[np.int64] = restore_order(parts, chunks).numpy()
        return found

    @torch.no_grad()
    def users(self, history: Vectors, mask: Mask) -> Vectors:
        """Encode histories: (B, H, D) and (B, H) -> (B, D)."""
        users = self._model.user_encoder(torch.from_numpy(history), torch.from_numpy(mask))
        vectors: Vectors = users.numpy()
        return vectors


def evaluate_model(
    model: Student, tokenizer: TextTokenizer, folder: MindFolder, spec: TextSpec
) -> RankingMetrics:
    """Measure a model on a folder's impressions with the scoring that the service uses."""
    encoder = TorchEncoder(model, tokenizer)
    return evaluate(shown_articles(folder), encoder, model.click_model.to_contract(), spec)


def evaluate_topics(
    model: Student, tokenizer: TextTokenizer, texts: Sequence[str], topics: Sequence[int]
) -> dict[str, float | int]:
    """Return accuracy and macro-F of the topic head over labelled texts, and how many there are."""
    if not texts:
        return {"accuracy": 0.0, "macro_f": 0.0, "texts": 0}
    found, wanted = TorchEncoder(model, tokenizer).topics(texts), np.asarray(topics)
    return {
        "accuracy": float((found == wanted).mean()),
        "macro_f": float(np.mean([_f_score(found == t, wanted == t) for t in np.unique(wanted)])),
        "texts": len(texts),
    }


def _f_score(found: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> float:
    return 2.0 * float((found & wanted).sum()) / float(found.sum() + wanted.sum())


def shown_articles(folder: MindFolder) -> MindFolder:
    """Leave out the articles that no impression mentions, so that nobody encodes them."""
    mentioned = {i for m in folder.impressions for i in (*m.history, *m.candidates)}
    articles = [article for article in folder.articles if article.id in mentioned]
    return MindFolder(articles, folder.impressions, folder.report)
