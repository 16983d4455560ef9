"""Goals: what is asked of the figures, and whether it holds by the stated rule."""

from __future__ import annotations

from dataclasses import dataclass

from contract.intervals import interval, paired_interval, ratio_interval
from training.study.evidence import Evidence, Row
from training.study.plan import Goal

NOT_RUN = "not run"


@dataclass(frozen=True)
class Measured:
    """Hold a value with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def text(self, *, signed: bool = False) -> str:
        """Return `0.7240 [0.7060, 0.7420]`."""
        form = "+.4f" if signed else ".4f"
        return f"{self.value:{form}} [{self.low:{form}}, {self.high:{form}}]"


@dataclass(frozen=True)
class Judgement:
    """Say what was asked, what was measured and what follows."""

    asked: str
    measured: str
    verdict: str


def measured(row: Row, figure: str) -> Measured | None:
    """Return a figure's mean over seeds, and the interval over its units."""
    value = row.mean(figure)
    if value is None or figure not in row.units:
        return None
    found = interval(row.units[figure])
    return Measured(value, found.low, found.high)


def difference(row: Row, other: Row, figure: str) -> Measured | None:
    """Return a row's figure minus another's, paired by unit."""
    ours, theirs = row.units.get(figure), other.units.get(figure)
    return Measured(*paired_interval(ours, theirs)) if ours and theirs else None


def share(row: Row, other: Row, figure: str) -> Measured | None:
    """Return a row's figure as a share of another's, paired by unit; of 0 there is none."""
    ours, theirs = row.units.get(figure), other.units.get(figure)
    return Measured(*ratio_interval(ours, theirs)) if ours and theirs and any(theirs) else None


def judge(evidence: Evidence, goal: Goal) -> Judgement:
    """Judge a goal.

    A comparison holds when the paired interval reaches what is asked; a value of its own must
    reach it by its mean, since a wide interval is no achievement.
    """
    row = evidence.row(goal.row)
    other = evidence.row(goal.of) if goal.of else None
    if goal.within is not None and other is not None:
        found, asked = difference(row, other, goal.figure), f"within {goal.within}"
    elif other is not None:
        found, asked = share(row, other, goal.figure), f"at least {goal.at_least}"
    else:
        found, asked = measured(row, goal.figure), f"at least {goal.at_least}"
    asked += f" of {other.title}" if other else ""
    text = found.text(signed=goal.within is not None) if found else ""
    return Judgement(asked, text, _verdict(found, goal))


def _verdict(found: Measured | None, goal: Goal) -> str:
    if found is None:
        return NOT_RUN
    bound = -goal.within if goal.within is not None else goal.at_least
    assert bound is not None  # noqa: S101  (a goal asks one of the two)
    if found.value >= bound:
        return "met"
    if found.high < bound:
        return "not met"
    return "met (by the interval)" if goal.of else "not met (the interval includes it)"
