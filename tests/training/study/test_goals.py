"""A goal is met by a stated rule, and nothing else."""

import pytest

from tests.training.study.rows import a_row, evidence
from training.study.goals import difference, judge, measured, share
from training.study.plan import Goal

# Ours is 0.02 below theirs on average, in both directions: the interval of it includes zero.
THEIRS = [0.7, 0.7, 0.7, 0.7] * 25
OURS = [0.9, 0.5, 0.8, 0.52] * 25
WORSE = [0.6, 0.61, 0.6, 0.61] * 25


def verdict(ours: list[float], **asked: object) -> str:
    """Judge one goal for a row with these values beside THEIRS."""
    goal = Goal.model_validate({"title": "AUC", "row": "student", "figure": "auc", **asked})
    rows = [a_row("student", units={"auc": ours}), a_row("teacher", units={"auc": THEIRS})]
    return judge(evidence(*rows), goal).verdict


@pytest.mark.parametrize(
    ("ours", "asked", "expected"),
    [
        (OURS, 0.68, "met"),
        (OURS, 0.70, "not met (the interval includes it)"),
        (OURS, 0.80, "not met"),
    ],
)
def test_a_value_of_its_own_must_be_reached_by_its_mean(
    ours: list[float], asked: float, expected: str
) -> None:
    """A wide interval is no achievement, but it is told."""
    assert verdict(ours, at_least=asked) == expected


@pytest.mark.parametrize(
    ("ours", "asked", "expected"),
    [
        (OURS, 0.97, "met"),
        (OURS, 0.99, "met (by the interval)"),
        (WORSE, 0.97, "not met"),
        (WORSE, 0.86, "met"),
    ],
)
def test_a_share_of_another_row_holds_when_the_interval_reaches_it(
    ours: list[float], asked: float, expected: str
) -> None:
    """0.68 of 0.7 is 0.971, and 0.605 of it 0.864."""
    assert verdict(ours, at_least=asked, of="teacher") == expected


@pytest.mark.parametrize(
    ("ours", "within", "expected"),
    [
        (OURS, 0.021, "met"),
        (OURS, 0.005, "met (by the interval)"),
        (WORSE, 0.05, "not met"),
        (THEIRS, 0.0, "met"),
    ],
)
def test_within_x_holds_when_the_interval_includes_x(
    ours: list[float], within: float, expected: str
) -> None:
    """To be better than the other row is within any distance."""
    assert verdict(ours, within=within, of="teacher") == expected


def test_a_goal_about_a_row_that_is_missing_is_not_run() -> None:
    """Neither met nor missed."""
    goal = Goal(title="AUC", row="student", figure="auc", of="teacher", at_least=0.97)
    rows = [a_row("student", units={"auc": OURS}), a_row("teacher")]
    found = judge(evidence(*rows), goal)
    assert (found.verdict, found.measured) == ("not run", "")
    assert found.asked == "at least 0.97 of the teacher"


def test_a_measured_value_has_its_interval_around_it() -> None:
    """The value is the mean over seeds, the interval that of the units."""
    found = measured(a_row("student", units={"auc": OURS}), "auc")
    assert found is not None
    assert found.low < 0.68 < found.high
    assert found.text().startswith("0.6800 [0.")
    assert found.text(signed=True).startswith("+0.6800 [+0.")


def test_comparisons_are_paired() -> None:
    """A constant distance has no width, whatever the spread of the values."""
    ours, theirs = a_row("a", units={"auc": OURS}), a_row("b", units={"auc": OURS})
    worse = a_row("c", units={"auc": [value - 0.1 for value in OURS]})
    assert difference(ours, theirs, "auc") == difference(theirs, ours, "auc")
    found = difference(worse, ours, "auc")
    assert found is not None
    assert (round(found.low, 9), round(found.high, 9)) == (-0.1, -0.1)


def test_there_is_no_share_of_nothing() -> None:
    """A row whose figure is 0 everywhere leaves the cell empty."""
    nothing = a_row("nothing", units={"auc": [0.0] * len(OURS)})
    assert share(a_row("student", units={"auc": OURS}), nothing, "auc") is None
