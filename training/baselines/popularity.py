"""Popularity: what others clicked, whoever reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np

from contract.article import Article, Impression, Vectors
from contract.measuring import Predictor
from contract.mind import MindFolder
from contract.text import TextSpec

# A rate starts as if it had been shown so often and clicked as often as the average.
PRIOR_SHOWN = 20.0


def by_article(train: MindFolder) -> Predictor:
    """Score an article by its click rate in the training impressions, smoothed to the average."""
    rates = ClickRates(train.impressions, lambda article_id: article_id)
    return Predictor(TextSpec(), rank=lambda folder: rates.rank(folder.impressions))


def by_topic(train: MindFolder) -> Predictor:
    """Score an article by its topic's smoothed click rate; no topic is a topic of its own."""

    def rank(folder: MindFolder) -> list[Vectors]:
        topics = _topics((*train.articles, *folder.articles))
        rates = ClickRates(train.impressions, lambda article_id: topics.get(article_id, ""))
        return rates.rank(folder.impressions)

    return Predictor(TextSpec(), rank=rank)


class ClickRates:
    """Count how often things were shown and clicked, by whatever an article is counted as."""

    def __init__(self, impressions: Iterable[Impression], key: Callable[[str], str]) -> None:
        self._key = key
        self._shown, self._clicked = Counter[str](), Counter[str]()
        for one in impressions:
            for candidate, click in zip(one.candidates, one.clicks, strict=True):
                self._shown[key(candidate)] += 1
                self._clicked[key(candidate)] += click

    def rate(self, article_id: str) -> float:
        """Return the smoothed click rate; what was never shown has the average one."""
        average = self._clicked.total() / max(1, self._shown.total())
        clicked, shown = self._clicked[self._key(article_id)], self._shown[self._key(article_id)]
        return (clicked + PRIOR_SHOWN * average) / (shown + PRIOR_SHOWN)

    def rank(self, impressions: Iterable[Impression]) -> list[Vectors]:
        """Score the candidates of each impression: (C,) each."""
        return [
            np.asarray([self.rate(candidate) for candidate in one.candidates], dtype=np.float32)
            for one in impressions
        ]


def _topics(articles: Iterable[Article]) -> dict[str, str]:
    return {article.id: article.topic for article in articles}
