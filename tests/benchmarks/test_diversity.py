"""The default diversity is the largest without measurable loss that pleases the sample readers."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from benchmarks import diversity as bench
from benchmarks.results import FOLDER
from contract.article import Article, Impression
from service.settings import Settings
from tests.builders import a_bundle

GRID = bench.GRID


def losing(from_: float) -> dict[str, bench.Values]:
    """Make 200 impressions that lose, noise aside, from some diversity on."""
    noise = np.random.default_rng(0).normal(0, 0.01, (len(GRID), 200))
    values = 0.6 + noise - 0.1 * (np.array(GRID) >= from_)[:, None]
    return dict.fromkeys(bench.METRICS, values)


def test_the_service_has_the_default_that_was_measured() -> None:
    """`NEWSBERT_DIVERSITY` and the result file say the same."""
    figures = json.loads((FOLDER / "diversity.json").read_text("utf-8"))["figures"]
    assert figures["default"] == Settings.model_fields["diversity"].default
    assert 0 < figures["default"] <= figures["without_loss"]


@pytest.mark.parametrize(("from_", "largest"), [(0.02, 0.0), (0.1, 0.05), (0.9, GRID[-1])])
def test_the_largest_without_loss_ends_where_losses_begin(from_: float, largest: float) -> None:
    """One metric that loses is enough."""
    values = losing(from_)
    assert bench.largest_without_loss(values) == largest
    unharmed = {**values, "auc": losing(2.0)["auc"]}
    assert bench.largest_without_loss(unharmed) == largest


def test_a_gain_beyond_a_loss_is_not_reached() -> None:
    """A larger diversity that happens to lose nothing does not excuse the smaller ones."""
    values = losing(0.1)
    values = {name: np.concatenate([v[:-1], v[:1]]) for name, v in values.items()}
    assert bench.largest_without_loss(values) == 0.05


@pytest.mark.parametrize(
    ("without_loss", "fitting", "default"),
    [
        (0.1, [8.0, 7.5, 7.0, 6.9], 0.05),
        (0.02, [8.0, 7.5, 7.0, 6.9], 0.02),
        (0.1, [6.0, 6.0, 6.0, 6.0], 0.0),
    ],
)
def test_the_default_meets_both_conditions(
    without_loss: float, fitting: list[float], default: float
) -> None:
    """No loss, and at least seven of ten of the topics that a sample reader likes; else none."""
    rest = [0.0] * (len(GRID) - len(fitting))
    assert bench.chosen(without_loss, [*fitting, *rest]) == default


def test_each_fold_is_measured_by_a_choice_of_the_others() -> None:
    """Losses that one fold alone has are not seen by its own choice, and are told."""
    values, folds = losing(2.0), np.arange(200) % bench.FOLDS
    spoilt = {
        name: v - 0.5 * (folds == 0) * (np.array(GRID) > 0)[:, None] for name, v in values.items()
    }
    told = bench.by_folds(spoilt, folds)
    assert told["choices"][0] == GRID[-1]
    assert told["choices"][1:] == [0.0] * (bench.FOLDS - 1)
    assert told["auc_gain"][0] == pytest.approx(-0.1, abs=0.01)


def test_similarity_is_the_mean_cosine_of_two_articles() -> None:
    """Of three unit vectors, by hand: (1 + 0 + 0) / 3."""
    vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    assert bench.similarity(vectors) == pytest.approx(1 / 3)


def test_more_diversity_gives_less_similar_pages_and_ranks_every_candidate(
    tmp_path: Path,
) -> None:
    """The real use case is asked: the whole list of an impression, and a page of the catalogue."""
    bundle = a_bundle(tmp_path / "tiny", dim=16)
    articles = [Article(id=f"N{n}", title=f"word{n % 7} word{n}", topic="a") for n in range(60)]
    service = bench.serving(bundle, articles)
    shown = tuple(article.id for article in articles[5:25])
    clicks = tuple(n % 4 == 0 for n in range(len(shown)))
    seen = Impression(
        "1", "U1", datetime.now(UTC), ("N0", "N1"), (*shown, "gone"), (*clicks, False)
    )
    for d in (0.0, 0.5):
        places = bench.order(service, seen, d)
        assert sorted(places[:-1], reverse=True) == [float(-n) for n in range(1, 21)]
        assert places[-1] == -np.inf
    alike = [bench.page_figures(service, [seen], d)["similarity"][0] for d in (0.0, 0.9)]
    assert alike[1] < alike[0]
