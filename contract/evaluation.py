"""Rank the impressions of a MIND folder with an encoder and a click model."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from contract.article import Article, Impression, Mask, Vectors
from contract.mind import MindFolder
from contract.scoring import ClickModel
from contract.text import TextSpec

USERS_PER_BATCH = 64


class Encoder(Protocol):
    """What evaluation needs of a model, be it torch or ONNX."""

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Encode texts: (N,) -> (N, D), unit length."""
        ...

    def users(self, history: Vectors, mask: Mask) -> Vectors:
        """Encode histories: (B, H, D) and (B, H) -> (B, D)."""
        ...


def rank_impressions(
    folder: MindFolder, encoder: Encoder, click_model: ClickModel, spec: TextSpec
) -> list[Vectors]:
    """Score the candidates of each impression, in order: one (C,) each.

    A candidate without a text scores below every other one; unknown ids of a history are left out.
    Articles that no impression mentions are not encoded.
    """
    articles = shown_articles(folder)
    rows = {article.id: row for row, article in enumerate(articles)}
    vectors = encoder.vectors([spec.text(article) for article in articles])  # (N, D)
    histories = [known_history(i, rows, spec.history) for i in folder.impressions]
    users = encode_users(encoder, vectors, histories)  # (B, D)
    return [
        _score(impression, rows, vectors, (user, vectors[history]), click_model)
        for impression, user, history in zip(folder.impressions, users, histories, strict=True)
    ]


def shown_articles(folder: MindFolder) -> list[Article]:
    """Return the articles that some history or candidate list mentions."""
    mentioned = {i for one in folder.impressions for i in (*one.history, *one.candidates)}
    return [article for article in folder.articles if article.id in mentioned]


def known_history(impression: Impression, rows: dict[str, int], limit: int) -> list[int]:
    """Return the rows of the last `limit` known articles of a history, oldest first."""
    return [rows[i] for i in impression.history if i in rows][-limit:]


def encode_users(encoder: Encoder, vectors: Vectors, histories: Sequence[Sequence[int]]) -> Vectors:
    """Encode histories given as rows of `vectors`: (N, D) -> (B, D)."""
    batches = [
        encoder.users(*pad_histories(vectors, histories[start : start + USERS_PER_BATCH]))
        for start in range(0, len(histories), USERS_PER_BATCH)
    ]
    return np.concatenate(batches) if batches else np.zeros((0, vectors.shape[1]), np.float32)


def pad_histories(vectors: Vectors, histories: Sequence[Sequence[int]]) -> tuple[Vectors, Mask]:
    """Gather histories into one padded array: (B, H, D) and its mask (B, H)."""
    length = max((len(history) for history in histories), default=0) or 1
    padded = np.zeros((len(histories), length, vectors.shape[1]), dtype=np.float32)  # (B, H, D)
    mask = np.zeros((len(histories), length), dtype=bool)  # (B, H)
    for i, history in enumerate(histories):
        padded[i, : len(history)] = vectors[list(history)]
        mask[i, : len(history)] = True
    return padded, mask


def _score(
    impression: Impression,
    rows: dict[str, int],
    vectors: Vectors,
    reader: tuple[Vectors, Vectors],
    click_model: ClickModel,
) -> Vectors:
    known = [i for i, candidate in enumerate(impression.candidates) if candidate in rows]
    scores = np.full(len(impression.candidates), -np.inf, dtype=np.float32)
    candidates = vectors[[rows[impression.candidates[i]] for i in known]]
    scores[known] = click_model.score(*reader, candidates)
    return scores
