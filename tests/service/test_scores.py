"""Scores: a reader from a history, the click model in single precision, and what is added."""

from math import log

import numpy as np
import pytest

from contract.scoring import ClickModel
from service.popularity import PopularityUpdate
from service.scores import Scorer, Terms, by_clicks
from service.snapshot import Snapshot
from tests.service.fakes import DIM, HOUR, NOW, a_stored
from tests.service.recommending import CLICK_MODEL, a_catalogue, at, logits_of

SCORER = Scorer(CLICK_MODEL)


def a_snapshot(size: int = 40) -> Snapshot:
    """Build articles N0, N1, … an hour apart, of which every tenth states no time."""
    stored = [
        a_stored(f"N{i}", first_seen=NOW, published_at=at(NOW - i * HOUR) if i % 10 else None)
        for i in range(size)
    ]
    catalogue = a_catalogue(*stored)
    catalogue.set_popularity(PopularityUpdate({"N1": log(5), "N2": 0.0}))
    return catalogue.current


def test_a_reader_is_the_mean_of_the_history_by_attention() -> None:
    """The softmax of the articles' logits; an article read twice counts twice."""
    snapshot, rows = a_snapshot(), [3, 1, 3]
    reader = SCORER.reader(snapshot, rows)
    read = snapshot.vectors[rows].astype(np.float64)
    powers = np.exp(logits_of(snapshot.vectors[rows]).astype(np.float64))
    assert reader.shares == pytest.approx(powers / powers.sum(), abs=1e-6)
    assert reader.user == pytest.approx(powers / powers.sum() @ read, abs=1e-6)
    assert reader.user.dtype == reader.shares.dtype == np.float32


def test_a_reader_without_clicks_is_the_zero_vector() -> None:
    """As the user encoder has it; the content term alone is left."""
    snapshot = a_snapshot()
    reader = SCORER.reader(snapshot, [])
    assert (reader.user == np.zeros(DIM)).all()
    scored = SCORER.scored(snapshot, reader, np.arange(5))
    assert scored.scores == pytest.approx(snapshot.vectors[:5] @ CLICK_MODEL.content, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.0, 10.0, 1e4])
@pytest.mark.parametrize("clicks", [0, 1, 30])
def test_single_precision_gives_the_click_model(clicks: int, temperature: float) -> None:
    """To 1e-5, whatever the history and the temperature."""
    model = ClickModel(9.0, 0.5, temperature, CLICK_MODEL.content)
    snapshot, rows = a_snapshot(), np.arange(40)[::-1]
    reader = Scorer(model).reader(snapshot, list(range(clicks)))
    scored = Scorer(model).scored(snapshot, reader, rows)
    right = model.score(reader.user, reader.history, snapshot.vectors[rows])
    assert scored.scores == pytest.approx(right, abs=1e-5)
    assert scored.products.shape == (clicks + 2, 40)


def test_terms_are_added_in_units_of_the_score() -> None:
    """Popularity by its weight, minus ln 2 per half-life, no time as old as the oldest."""
    snapshot = a_snapshot()
    reader, rows = SCORER.reader(snapshot, [5]), np.arange(12)
    plain = SCORER.scored(snapshot, reader, rows).scores
    scored = SCORER.scored(snapshot, reader, rows, Terms(2.0, 3 * HOUR, NOW))
    assert scored.popularity == pytest.approx([0, 2 * log(5), *[0] * 10])
    hours = [11, *range(1, 10), 11, 11]
    assert scored.freshness == pytest.approx([-log(2) * hour / 3 for hour in hours])
    assert scored.scores - plain == pytest.approx(scored.popularity + scored.freshness)


def test_without_a_reader_rows_score_by_their_clicks() -> None:
    """The weight of the clicks, zero where there are none, and nothing of a model."""
    scored = by_clicks(a_snapshot(), np.array([2, 0, 1]))
    assert scored.scores == pytest.approx([1, 0, 5])
    assert not scored.products.any()


def test_no_rows_have_no_scores() -> None:
    """An empty answer is made like any other."""
    snapshot = a_snapshot()
    for clicks in ([], [1, 2]):
        reader = SCORER.reader(snapshot, clicks)
        scored = SCORER.scored(snapshot, reader, np.array([], np.intp), Terms(1.0, HOUR, NOW))
        assert (len(scored.scores), scored.near > 0) == (0, True)


def test_popularity_counts_as_it_is_by_now() -> None:
    """What has cooled to less than one click earns nothing, and costs nothing."""
    catalogue = a_catalogue(*(a_stored(f"N{i}") for i in range(3)))
    catalogue.set_popularity(PopularityUpdate({"N0": log(8), "N1": log(2)}, cooling=log(4)))
    snapshot = catalogue.current
    scored = SCORER.scored(snapshot, SCORER.reader(snapshot, []), np.arange(3), Terms(0.5))
    assert scored.popularity.tolist() == pytest.approx([0.5 * log(2), 0.0, 0.0])
    assert by_clicks(snapshot, np.arange(3)).scores.tolist() == pytest.approx([2.0, 0.5, 0.0])
