"""Ratios are taken between neighbours in time, and told with their spread."""

from functools import partial

import pytest

from benchmarks.comparison import BenchmarkError, Spread, interleaved, ratios, reported


def test_legs_take_turns() -> None:
    """Two rounds of two legs run A B A B."""
    order: list[str] = []

    def leg(name: str) -> int:
        order.append(name)
        return len(order)

    legs = {name: partial(leg, name) for name in ("a", "b")}
    assert interleaved(2, legs) == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    assert order == ["a", "b", "a", "b"]


def test_a_ratio_is_taken_within_a_round() -> None:
    """A machine that slows down by half between two rounds changes no ratio."""
    rounds = [{"a": 100.0, "b": 50.0}, {"a": 50.0, "b": 25.0}]
    assert ratios(rounds, "a", "b") == [2.0, 2.0]
    assert ratios(rounds, "b", "a") == [0.5, 0.5]


def test_a_spread_is_lowest_middle_and_highest() -> None:
    """The median, so that one disturbed run moves nothing; the extremes, so that it is seen."""
    assert Spread.of([3.0, 1.0, 100.0]) == Spread(min=1.0, median=3.0, max=100.0, runs=3)


@pytest.mark.parametrize("error", [BenchmarkError("wrong"), OSError("wrong")], ids=repr)
def test_what_stops_a_benchmark_is_told_in_one_line(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the benchmark's name, and the status that was asked for, 2 unless told otherwise."""
    for options, status in (({}, 2), ({"status": 1}, 1)):
        with pytest.raises(SystemExit) as ended, reported("x", OSError, **options):
            raise error
        assert (ended.value.code, capsys.readouterr().err) == (status, "benchmarks.x: wrong\n")


def test_what_nobody_expects_is_not_told_in_one_line() -> None:
    """Its traceback is needed."""
    with pytest.raises(ValueError, match="wrong"), reported("x", OSError):
        raise ValueError("wrong")


def test_a_spread_of_nothing_is_refused() -> None:
    """No measurement gives no figure."""
    with pytest.raises(BenchmarkError, match="nothing was measured"):
        Spread.of([])


def test_a_spread_reads_as_one_phrase() -> None:
    """What is printed names the spread and the number of runs."""
    assert str(Spread.of([1.0, 2.0, 4.0])) == "2 (1 to 4, 3 runs)"
