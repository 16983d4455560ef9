"""Popularity: click rates counted by hand."""

import pytest

from contract.measuring import Predictor
from contract.mind import MindFolder
from tests.builders import an_article, an_impression
from training.baselines.popularity import PRIOR_SHOWN, by_article, by_topic


def a_train(*shown: tuple[str, bool]) -> MindFolder:
    """Build a folder of sports articles N1 and N2 and a film article N3."""
    articles = [an_article("N1"), an_article("N2"), an_article("N3", topic="film")]
    return MindFolder(
        articles,
        [an_impression(str(i), candidates=(c,), clicks=(k,)) for i, (c, k) in enumerate(shown)],
    )


def scores(predictor: Predictor, *candidates: str) -> list[float]:
    """Rank one impression of another folder."""
    assert predictor.rank is not None
    folder = MindFolder([an_article("N9", topic="film")], [an_impression(candidates=candidates)])
    return [float(score) for score in predictor.rank(folder)[0]]


def test_an_article_scores_its_smoothed_click_rate() -> None:
    """Shown twice, clicked once, average 1/4: (1 + 20/4) / (2 + 20)."""
    train = a_train(("N1", True), ("N1", False), ("N2", False), ("N3", False))
    found = scores(by_article(train), "N1", "N2", "N9")
    prior = PRIOR_SHOWN / 4
    expected = [(1 + prior) / (2 + PRIOR_SHOWN), prior / (1 + PRIOR_SHOWN), 1 / 4]
    assert found == pytest.approx(expected)


def test_a_topic_scores_all_its_articles_alike() -> None:
    """Even one that was never shown; sports was clicked once in three, film never."""
    train = a_train(("N1", True), ("N1", False), ("N2", False), ("N3", False))
    first, second, film, new = scores(by_topic(train), "N1", "N2", "N3", "N9")
    prior = PRIOR_SHOWN / 4
    assert first == second == pytest.approx((1 + prior) / (3 + PRIOR_SHOWN))
    assert film == new == pytest.approx(prior / (1 + PRIOR_SHOWN))


def test_without_any_impression_nothing_is_popular() -> None:
    """All alike, no error."""
    assert scores(by_article(a_train()), "N1", "N2") == [0, 0]
