"""Decay: what a click weighs, so that sums of clicks need no touching as they grow old.

A click weighs twice as much as one of a half-life before. The weights of a span of half-lives are
summed against its start, so that sums stay within double precision; older spans weigh nothing.
"""

from dataclasses import dataclass
from math import exp2, floor, log
from typing import Final

from service.ports import Span

# Half-lives of one span. What the span before the last held weighs less than 2^-32 of a click now.
SPAN: Final = 32


@dataclass(frozen=True, slots=True)
class Decay:
    """Weights of clicks that halve each `half_life_s` seconds; times are in epoch seconds."""

    half_life_s: float

    def span(self, at: float) -> Span:
        """Return the span of a time; another half-life has other spans."""
        return self._span(self._number(at))

    def live(self, now: float) -> tuple[Span, Span]:
        """Return the spans that still weigh anything: the one before, and the one of now."""
        number = self._number(now)
        return self._span(number - 1), self._span(number)

    def weight(self, at: float) -> float:
        """Return what a click at a time weighs against the start of its span: 1 to 2^32."""
        return exp2((at - self.start(self.span(at))) / self.half_life_s)

    def start(self, span: Span) -> float:
        """Return when a span began."""
        return span.ends_at - 2 * SPAN * self.half_life_s

    def log_weight(self, at: float, against: float) -> float:
        """Return the log-weight of one click at a time, against one at another time."""
        return (at - against) / self.half_life_s * log(2)

    def _number(self, at: float) -> int:
        return floor(at / (SPAN * self.half_life_s))

    def _span(self, number: int) -> Span:
        ends_at = (number + 2) * SPAN * self.half_life_s
        return Span(f"{self.half_life_s:.17g}:{number}", ends_at)
