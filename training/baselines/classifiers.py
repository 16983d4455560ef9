"""Classifiers: features of texts to topics, and the topic that most texts have."""

from __future__ import annotations

from collections import Counter
from typing import Any

from contract.measuring import Predictor, TopicTexts
from contract.text import TextSpec
from training.errors import DataError

MAX_ITERATIONS = 1_000


def majority() -> Predictor:
    """Call every text by the topic that most texts have, the first by name of equal ones."""

    def classify(taxonomy: str, texts: TopicTexts) -> list[str]:
        counts = Counter(text.topic for text in _learnable(taxonomy, texts))
        return [min(counts, key=lambda topic: (-counts[topic], topic))] * len(texts.measure)

    return Predictor(TextSpec(), classify=classify)


# Any: scikit-learn and SciPy publish no types; features are (N, W), sparse or dense.
def logistic_regression(
    taxonomy: str,
    texts: TopicTexts,
    learn: Any,  # noqa: ANN401
    measure: Any,  # noqa: ANN401
    *,
    strength: float,
) -> list[str]:
    """Fit topics to the features `learn` and name those of the features `measure`.

    `strength` is the inverse of the regularisation (scikit-learn's C).
    """
    from sklearn.linear_model import LogisticRegression

    topics = [text.topic for text in _learnable(taxonomy, texts)]
    model = LogisticRegression(C=strength, max_iter=MAX_ITERATIONS)
    return [str(topic) for topic in model.fit(learn, topics).predict(measure)]


def _learnable(taxonomy: str, texts: TopicTexts) -> list[Any]:
    if len({text.topic for text in texts.learn}) < 2:
        raise DataError(f"{taxonomy}: a baseline needs texts of two topics that are not held out")
    return texts.learn
