"""Intervals: exact means, percentiles of a seeded bootstrap, pairs kept together."""

import numpy as np
import pytest

from contract.intervals import (
    Interval,
    MeanInterval,
    bootstrap,
    interval,
    limits,
    paired_interval,
    pooled,
    ratio_interval,
)

COIN = [0.0, 1.0] * 50


def test_the_interval_of_a_coin_is_the_textbooks() -> None:
    """Half of 100 units: 0.5 plus or minus 1.96 times sqrt(0.25 / 100) = 0.098."""
    mean, low, high = interval(COIN)
    assert mean == 0.5
    assert (low, high) == pytest.approx((0.402, 0.598), abs=0.01)


def test_the_same_seed_gives_the_same_interval() -> None:
    """And another seed another one, but hardly."""
    assert interval(COIN) == interval(COIN)
    other = interval(np.random.default_rng(0).random(50), seed=2)
    first = interval(np.random.default_rng(0).random(50), seed=1)
    assert other != first
    assert other == pytest.approx(first, abs=0.01)


def test_units_that_are_all_alike_leave_no_doubt() -> None:
    """A single unit as well."""
    assert interval([0.25] * 9) == MeanInterval(0.25, 0.25, 0.25)
    assert interval([0.5]) == MeanInterval(0.5, 0.5, 0.5)


def test_pairs_stay_together() -> None:
    """Hard units are hard for both: a constant lead is certain however much units differ."""
    theirs = np.random.default_rng(0).random(40)
    found = paired_interval(theirs + 0.125, theirs)
    assert found == pytest.approx(Interval(0.125, 0.125, 0.125))


def test_a_difference_by_chance_includes_zero() -> None:
    """And a real one does not."""
    random = np.random.default_rng(0)
    ours, theirs = random.random(200), random.random(200)
    low, high = paired_interval(ours, theirs)[1:]
    assert low < 0 < high
    assert paired_interval(ours + 0.2, theirs).low > 0


def test_a_ratio_is_one_of_means_and_paired() -> None:
    """Twice theirs in every unit is a ratio of 2 without doubt."""
    theirs = np.random.default_rng(0).random(40)
    assert ratio_interval(2 * theirs, theirs) == pytest.approx((2, 2, 2))
    ratio, low, high = ratio_interval([1, 0, 1, 1], [1, 1, 0, 1])
    assert ratio == 1
    assert low < 1 < high


def test_a_draw_without_anything_of_theirs_is_unbounded() -> None:
    """With one hit in four, whole draws miss it: 1 / 0 is infinite and 0 / 0 is no lead."""
    assert ratio_interval([1, 1, 1, 1], [1, 0, 0, 0]).high == np.inf
    assert ratio_interval([1, 0, 0, 0], [1, 0, 0, 0]).low == 0


def test_seeds_are_averaged_per_unit() -> None:
    """Not appended: three runs on four impressions are four units."""
    assert pooled([[0, 1], [1, 1]]).tolist() == [0.5, 1]


def test_any_statistic_of_rows_can_be_resampled() -> None:
    """Blocks of draws are joined, each as long as there are units."""
    sizes: list[tuple[int, ...]] = []

    def maximum(rows: np.ndarray) -> np.ndarray:
        sizes.append(rows.shape)
        return rows.max(axis=1).astype(np.float64)

    found = bootstrap(3_000, maximum, draws=1_000)
    assert len(found) == 1_000
    assert sizes == [(666, 3_000), (334, 3_000)]
    assert limits(found)[1] == 2_999


@pytest.mark.parametrize(
    ("ours", "theirs", "problem"),
    [
        ([], [], "some units"),
        ([[1.0]], [[1.0]], "some units"),
        ([float("nan")], [1.0], "finite"),
        ([1.0, 2.0], [1.0], "2 values cannot be paired with 1"),
        ([1.0], [0.0], "mean of 0"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    ours: list[float], theirs: list[float], problem: str
) -> None:
    """No units, a NaN, other units, nothing to be a ratio of."""
    with pytest.raises(ValueError, match=problem):
        ratio_interval(ours, theirs)


def test_seeds_on_other_units_are_refused() -> None:
    """Their averages would mix different impressions."""
    with pytest.raises(ValueError, match="same units"):
        pooled([[1, 2], [1]])
