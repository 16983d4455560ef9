"""Compare two things fairly: turn by turn in one run, as ratios with their spread."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median
from typing import TypeVar

import click

T = TypeVar("T")
DIGITS = 4
NO_FIGURE = 2


class BenchmarkError(Exception):
    """A benchmark cannot give a figure; the message is the one line to show."""


@contextmanager
def reported(benchmark: str, *others: type[Exception], status: int = NO_FIGURE) -> Iterator[None]:
    """Tell a BenchmarkError, or one of `others`, in one line and end the process with a status."""
    try:
        yield
    except (BenchmarkError, *others) as error:
        click.echo(f"benchmarks.{benchmark}: {error}", err=True)
        sys.exit(status)


@dataclass(frozen=True, slots=True)
class Spread:
    """The lowest, middle and highest of some measurements, and how many there were."""

    min: float
    median: float
    max: float
    runs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarise at least one measurement."""
        if not values:
            raise BenchmarkError("nothing was measured")
        low, middle, high = (round(f(values), DIGITS) for f in (min, median, max))
        return cls(low, middle, high, len(values))

    def as_dict(self) -> dict[str, float | int]:
        """Return the figures by name."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.median:,.3g} ({self.min:,.3g} to {self.max:,.3g}, {self.runs} runs)"


def interleaved(rounds: int, legs: Mapping[str, Callable[[], T]]) -> list[dict[str, T]]:
    """Run the legs in turn, A B A B, so that whatever drifts on the machine meets all alike."""
    return [{name: run() for name, run in legs.items()} for _ in range(rounds)]


def ratios(rounds: Sequence[Mapping[str, float]], numerator: str, denominator: str) -> list[float]:
    """Return the ratio within each round: neighbours in time are what may be compared."""
    return [one[numerator] / one[denominator] for one in rounds]
