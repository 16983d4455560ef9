"""Progress: loss, throughput and time left, as a bar or as lines."""

from pathlib import Path

import pytest
from rich.console import Console

from training.progress import Pace, ProgressBar, ProgressLines, clock


def test_time_left_comes_from_the_steps_of_this_process() -> None:
    """Ten steps in 20 s leave 2 s for each of the rest, however many another process took."""
    pace = Pace(steps=100, done_before=80, started_s=1000.0)
    assert pace.left_s(80, now_s=1500.0) is None
    assert pace.left_s(90, now_s=1020.0) == pytest.approx(20.0)
    assert Pace(steps=100, done_before=0, started_s=0.0).left_s(90, now_s=20.0) == pytest.approx(
        20.0 / 9
    )


def test_figures_are_smoothed_from_the_first_step_on() -> None:
    """One slow step does not make a slow run."""
    pace = Pace(steps=10, done_before=0, started_s=0.0, memory=0.5)
    pace.observe(loss=1.0, news_per_s=100.0, examples_per_s=10.0)
    assert pace.line(1, now_s=1.0) == "loss 1.0000  100 news/s  10 examples/s  0:00:09 left"
    pace.observe(loss=2.0, news_per_s=300.0, examples_per_s=30.0)
    assert pace.line(2, now_s=2.0) == "loss 1.5000  200 news/s  20 examples/s  0:00:08 left"


def test_what_is_not_counted_is_not_shown() -> None:
    """A stage without examples says nothing of them; before the first step no time is known."""
    pace = Pace(steps=10, done_before=0, started_s=0.0)
    pace.observe(loss=1.0, news_per_s=0.0, examples_per_s=0.0)
    assert pace.line(0, now_s=1.0) == "loss 1.0000  ? left"


def test_durations_are_hours_minutes_and_seconds() -> None:
    """As on a clock."""
    assert [clock(s) for s in (None, 0.4, 61.0, 36000.0)] == ["?", "0:00:00", "0:01:01", "10:00:00"]


def test_progress_is_a_line_now_and_then_without_a_terminal(tmp_path: Path) -> None:
    """The first line names the stage, the last one is always written; nothing is markup."""
    with (tmp_path / "log").open("w") as file:
        lines = ProgressLines(Console(file=file), interval_s=60.0)
        lines.start("text_distillation", steps=100, done=0)
        for done in range(1, 101):
            lines.step(done, loss=0.5, news_per_s=10.0, examples_per_s=3.0)
        lines.note("teacher [bold]/x")
        lines.close()
    first, last, note = (tmp_path / "log").read_text().splitlines()
    assert first == "text distillation: 100 steps, 0 done"
    assert last.startswith("text distillation 100/100  loss 0.5000  10 news/s  3 examples/s")
    assert last.endswith("0:00:00 left")
    assert note == "teacher [bold]/x"


def test_a_line_is_written_when_the_last_is_old_enough(tmp_path: Path) -> None:
    """With no interval every step has one."""
    with (tmp_path / "log").open("w") as file:
        lines = ProgressLines(Console(file=file), interval_s=0.0)
        lines.start("heads", steps=3, done=1)
        for done in (2, 3):
            lines.step(done, loss=0.5, news_per_s=10.0, examples_per_s=0.0)
    assert len((tmp_path / "log").read_text().splitlines()) == 3


def test_progress_is_a_bar_on_a_terminal(tmp_path: Path) -> None:
    """It shows stage, steps, loss, both speeds and the time left; notes stand above it."""
    with (tmp_path / "log").open("w") as file:
        bar = ProgressBar(Console(file=file, force_terminal=True, width=120))
        try:
            bar.start("distillation", steps=2, done=0)
            bar.step(2, loss=0.5, news_per_s=10.0, examples_per_s=4.0)
            bar.note("epoch 1 [bold]")
        finally:
            bar.close()
    written = (tmp_path / "log").read_text()
    parts = ("distillation", "2/2", "loss 0.5000", "10 news/s", "4 examples/s", "left", "epoch 1 [")
    assert all(part in written for part in parts)
