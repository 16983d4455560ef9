"""95 % intervals by the bootstrap over impressions, texts or queries (percentile method).

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 16. Several
seeds are pooled first: a unit's value is its mean over the seeds.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values: TypeAlias = NDArray[np.float64]
Rows: TypeAlias = NDArray[np.intp]

DRAWS, SEED = 10_000, 1
PERCENTILES = (2.5, 97.5)
# So many numbers are resampled at a time: 16 MB of indices.
NUMBERS_PER_BLOCK = 2_000_000


class MeanInterval(NamedTuple):
    """A mean over units and its 95 % interval."""

    mean: float
    low: float
    high: float


class Interval(NamedTuple):
    """The mean of ours minus theirs over the same units, and its 95 % interval."""

    difference: float
    low: float
    high: float


class RatioInterval(NamedTuple):
    """The mean of ours over the mean of theirs on the same units, and its 95 % interval."""

    ratio: float
    low: float
    high: float


def interval(values: ArrayLike, *, draws: int = DRAWS, seed: int = SEED) -> MeanInterval:
    """Return the mean of one value per unit: (N,)."""
    units = _checked(values)
    means = bootstrap(len(units), lambda rows: units[rows].mean(axis=1), draws=draws, seed=seed)
    return MeanInterval(float(units.mean()), *limits(means))


def paired_interval(
    ours: ArrayLike, theirs: ArrayLike, *, draws: int = DRAWS, seed: int = SEED
) -> Interval:
    """Return the mean difference of two models on the same units, in the same order: (N,)."""
    first, second = _paired(ours, theirs)
    return Interval(*interval(first - second, draws=draws, seed=seed))


def ratio_interval(
    ours: ArrayLike, theirs: ArrayLike, *, draws: int = DRAWS, seed: int = SEED
) -> RatioInterval:
    """Return how large our mean is beside theirs on the same units: (N,); theirs must be above 0.

    A draw in which theirs is 0 counts as infinitely large, unless ours is 0 too: then as 0.
    """
    first, second = _paired(ours, theirs)
    if second.mean() <= 0:
        raise ValueError("a ratio to a mean of 0 says nothing")

    def ratios(rows: Rows) -> Values:
        mine, other = first[rows].mean(axis=1), second[rows].mean(axis=1)
        unbounded = np.where(mine > 0, np.inf, 0.0)
        found: Values = np.divide(mine, other, out=unbounded, where=other > 0)
        return found

    resampled = bootstrap(len(first), ratios, draws=draws, seed=seed)
    return RatioInterval(float(first.mean() / second.mean()), *limits(resampled))


def pooled(seeds: Sequence[ArrayLike]) -> Values:
    """Average each unit's value over seeds: S times (N,) -> (N,)."""
    runs = [_checked(values) for values in seeds]
    if len({len(values) for values in runs}) != 1:
        raise ValueError("seeds must have been measured on the same units")
    means: Values = np.mean(runs, axis=0)
    return means


def bootstrap(
    units: int, statistic: Callable[[Rows], Values], *, draws: int = DRAWS, seed: int = SEED
) -> Values:
    """Draw units with replacement and apply a statistic to blocks of draws: (B, N) -> (B,)."""
    return np.concatenate([statistic(rows) for rows in _blocks(units, draws, seed)])


def limits(resampled: Values) -> tuple[float, float]:
    """Return the 95 % interval of a resampled statistic."""
    # The next drawn value, not one between two: a draw may be infinite.
    low, high = np.percentile(resampled, PERCENTILES, method="nearest")
    return float(low), float(high)


def _blocks(units: int, draws: int, seed: int) -> Iterator[Rows]:
    random = np.random.default_rng(seed)
    size = max(1, NUMBERS_PER_BLOCK // units)
    for start in range(0, draws, size):
        yield random.integers(units, size=(min(size, draws - start), units), dtype=np.intp)


def _checked(values: ArrayLike) -> Values:
    units = np.asarray(values, dtype=np.float64)
    if units.ndim != 1 or not len(units):
        raise ValueError("an interval needs one value for each of some units")
    if not np.isfinite(units).all():
        raise ValueError("an interval needs finite values")
    return units


def _paired(ours: ArrayLike, theirs: ArrayLike) -> tuple[Values, Values]:
    first, second = _checked(ours), _checked(theirs)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} values cannot be paired with {len(second)}")
    return first, second
