"""Which of two graphs is faster, by how much, and whether this machine can tell."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.comparison import DIGITS, BenchmarkError
from contract.intervals import bootstrap, limits

T = TypeVar("T")
Clock: TypeAlias = Callable[[], int]
Pairs: TypeAlias = NDArray[np.float64]  # (N, 2): nanoseconds of A and of B on the same batch

# A gain below this is not worth a line of graph; a machine that sees it in A to A cannot tell.
MARGIN = 0.01


@dataclass(frozen=True, slots=True)
class Speedup:
    """How many times faster B is than A: the median over batches and its 95 % interval."""

    ratio: float
    low: float
    high: float
    pairs: int

    @classmethod
    def of(cls, pairs: Pairs) -> "Speedup":
        """Take the median of log(A/B), with a bootstrap over the batches: (N, 2), N at least 1."""
        if not len(pairs):
            raise BenchmarkError("nothing was measured")
        logs = np.log(pairs[:, 0] / pairs[:, 1])  # (N,)
        drawn = bootstrap(len(logs), lambda rows: np.exp(np.median(logs[rows], axis=1)))
        ratio, (low, high) = float(np.exp(np.median(logs))), limits(drawn)
        return cls(round(ratio, DIGITS), round(low, DIGITS), round(high, DIGITS), len(logs))

    @property
    def is_nothing(self) -> bool:
        """Say whether the whole interval lies within the margin around 1."""
        return self.low >= 1 - MARGIN and self.high <= 1 + MARGIN

    @property
    def verdict(self) -> str:
        """Return what follows for B: accept, reject, take the simpler, or measure more."""
        if self.low > 1 + MARGIN:
            return "accept: B is faster"
        if self.high < 1 - MARGIN:
            return "reject: B is slower"
        if self.is_nothing:
            return "equal: take the simpler"
        return "undecided: more pairs or a quieter machine"

    def as_dict(self) -> dict[str, float | int]:
        """Return the figures by name."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.ratio:.4f} ({self.low:.4f} to {self.high:.4f}, {self.pairs} batches)"


def time_pairs(
    first: Callable[[T], object], second: Callable[[T], object], batches: Sequence[T], clock: Clock
) -> Pairs:
    """Run both on every batch, A B B A and B A A B in turn, after one warm-up of each -> (N, 2).

    The four runs of a batch lie within milliseconds, so that a change of the machine's speed meets
    both. In either order each runs once after itself and once after the other, warm-up included:
    whose weights are in the cache is worth 1 %, which A against A showed.
    """
    pairs = np.empty((len(batches), 2))
    for number, batch in enumerate(batches):
        order = (0, 1, 1, 0) if number % 2 == 0 else (1, 0, 0, 1)
        for which in (order[1], order[0]):
            (first, second)[which](batch)
        spent = [0, 0]
        for which in order:
            started = clock()
            (first, second)[which](batch)
            spent[which] += clock() - started
        pairs[number] = spent
    return pairs / 2
