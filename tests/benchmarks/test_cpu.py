"""How busy a machine is, from what its kernel counts."""

from benchmarks.cpu import TICKS_PER_S, busy_cores, parse_busy_seconds

STAT = "cpu  100 200 300 9999 8888 10 20 30 5 6\ncpu0 1 1 1 1 1 1 1 1 0 0\n"


def test_busy_is_all_that_is_neither_idle_nor_waiting() -> None:
    """User, nice, system, interrupts and what other machines took; guests are counted in user."""
    assert parse_busy_seconds(STAT) == 660 / TICKS_PER_S


def test_no_more_cores_are_busy_than_there_are() -> None:
    """Measured for real, for a moment."""
    assert 0 <= busy_cores(0.05) < 1_000
