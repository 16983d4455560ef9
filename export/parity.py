"""Parity: how far the graphs are from the checkpoint, and the budget that they must keep."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from contract.article import Mask, Vectors
from contract.evaluation import Encoder, rank_impressions
from contract.mind import MindFolder
from contract.ranking import RankingMetrics, mean_over_impressions
from contract.scoring import ClickModel
from contract.text import TextSpec
from contract.vectors import cosine
from export.errors import ParityExceeded


@dataclass(frozen=True)
class ParityBudget:
    """How far a graph may be from the checkpoint, on the impressions it is measured with.

    Drops are of impression AUC and nDCG@10; `fp32_difference` is the largest difference of any
    number in any vector; `batch_cosine` compares a text's vector alone with that in a batch;
    `hard_cosine` is the least on texts that no archive holds.
    """

    auc_drop: float = 0.002
    ndcg10_drop: float = 0.002
    mean_cosine: float = 0.99
    batch_cosine: float = 0.9999
    hard_cosine: float = 0.99
    fp32_difference: float = 1e-3


@dataclass(frozen=True)
class Closeness:
    """How near a graph's vectors are to the checkpoint's, and its rankings.

    `rank_agreement` is the share of candidate pairs that both put in the same order, averaged over
    impressions.
    """

    mean_cosine: float
    min_cosine: float
    max_difference: float
    rank_agreement: float


@dataclass(frozen=True)
class Measured:
    """One way to encode, measured: its metrics, its speed in texts/s on one thread, its vectors."""

    metrics: RankingMetrics
    texts_per_s: float
    vectors: Vectors
    scores: tuple[Vectors, ...]


@dataclass(frozen=True)
class Variant:
    """One graph: its metrics, how close it is to the checkpoint, its speed and size."""

    metrics: RankingMetrics
    closeness: Closeness
    texts_per_s: float
    size_bytes: int


@dataclass(frozen=True)
class ParityReport:
    """The checkpoint in torch against the graphs in float32 and int8."""

    torch: RankingMetrics
    torch_texts_per_s: float
    fp32: Variant
    int8: Variant
    batch_cosine: float
    hard_cosine: float
    texts: int

    def excesses(self, budget: ParityBudget) -> list[str]:
        """Return one readable line per figure that is over the budget; NaN is over any."""
        int8, fp32 = self.int8, self.fp32
        figures = (
            ("int8 AUC drop", self.torch.auc - int8.metrics.auc, budget.auc_drop),
            ("int8 nDCG@10 drop", self.torch.ndcg10 - int8.metrics.ndcg10, budget.ndcg10_drop),
            ("fp32 difference", fp32.closeness.max_difference, budget.fp32_difference),
            ("int8 1 - mean cosine", 1 - int8.closeness.mean_cosine, 1 - budget.mean_cosine),
            ("int8 1 - batch cosine", 1 - self.batch_cosine, 1 - budget.batch_cosine),
            ("int8 1 - hard cosine", 1 - self.hard_cosine, 1 - budget.hard_cosine),
        )
        return [
            f"{name} is {found:.6f}, allowed is {allowed:.6f}"
            for name, found, allowed in figures
            if not found <= allowed
        ]

    def require(self, budget: ParityBudget) -> None:
        """Raise ParityExceeded unless every figure keeps the budget."""
        excesses = self.excesses(budget)
        if excesses:
            raise ParityExceeded(excesses)

    def quality(self) -> dict[str, Any]:
        """Return the figures for the manifest: none that another run would measure otherwise."""
        return {
            "texts": self.texts,
            "torch": _rounded(self.torch.as_dict()),
            "fp32": _variant_figures(self.fp32),
            "int8": _variant_figures(self.int8),
            "batch_cosine": round(self.batch_cosine, 5),
            "hard_cosine": round(self.hard_cosine, 5),
        }


def measure(
    folder: MindFolder, encoder: Encoder, click_model: ClickModel, spec: TextSpec
) -> Measured:
    """Encode a folder's articles, rank its impressions, and time the encoding."""
    texts = [spec.text(article) for article in folder.articles]
    encoder.vectors(texts[:64])
    started = time.perf_counter()
    vectors = encoder.vectors(texts)
    seconds = time.perf_counter() - started
    scores = rank_impressions(folder, _Remembered(encoder, vectors), click_model, spec)
    clicks = [impression.clicks for impression in folder.impressions]
    metrics = mean_over_impressions(zip(scores, clicks, strict=True))
    return Measured(metrics, len(texts) / seconds, vectors, tuple(scores))


def compare(reference: Measured, found: Measured, *, size_bytes: int) -> Variant:
    """Set one graph's measurements against the checkpoint's."""
    cosines = cosine(reference.vectors, found.vectors)
    closeness = Closeness(
        mean_cosine=float(cosines.mean()),
        min_cosine=float(cosines.min()),
        max_difference=float(np.abs(reference.vectors - found.vectors).max()),
        rank_agreement=_rank_agreement(reference.scores, found.scores),
    )
    return Variant(found.metrics, closeness, found.texts_per_s, size_bytes)


def shown_articles(folder: MindFolder) -> MindFolder:
    """Leave out the articles that no impression mentions, so that nobody encodes them."""
    mentioned = {i for m in folder.impressions for i in (*m.history, *m.candidates)}
    articles = [article for article in folder.articles if article.id in mentioned]
    return MindFolder(articles, folder.impressions, folder.report)


@dataclass(frozen=True)
class _Remembered:
    """Vectors computed before, so that ranking does not encode them again."""

    encoder: Encoder
    known: Vectors

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Return the known vectors, which are those of exactly these texts."""
        if len(texts) != len(self.known):
            raise ValueError(f"{len(texts)} texts, but {len(self.known)} vectors are known")
        return self.known

    def users(self, history: Vectors, mask: Mask) -> Vectors:
        """Encode histories: (B, H, D) and (B, H) -> (B, D)."""
        return self.encoder.users(history, mask)


def _rank_agreement(a: Sequence[Vectors], b: Sequence[Vectors]) -> float:
    shares = [_same_order(x, y) for x, y in zip(a, b, strict=True) if len(x) > 1]
    return float(np.mean(shares)) if shares else 1.0


def _same_order(a: Vectors, b: Vectors) -> float:
    left, right = np.triu_indices(len(a), k=1)
    return float(((a[left] > a[right]) == (b[left] > b[right])).mean())


def _variant_figures(variant: Variant) -> dict[str, Any]:
    figures = {**variant.metrics.as_dict(), **asdict(variant.closeness)}
    return {**_rounded(figures), "size_bytes": variant.size_bytes}


def _rounded(figures: dict[str, float | int]) -> dict[str, float | int]:
    return {n: round(v, 5) if isinstance(v, float) else v for n, v in figures.items()}
