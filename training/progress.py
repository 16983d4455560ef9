"""Progress: a bar on a terminal, a line now and then anywhere else."""

from __future__ import annotations

import sys
import time
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class ProgressDisplay(Protocol):
    """Show how far a stage is."""

    def start(self, stage: str, *, steps: int, done: int) -> None:
        """Begin a stage."""

    def step(self, done: int, *, loss: float, news_per_s: float) -> None:
        """Show one more step."""

    def note(self, text: str) -> None:
        """Show a line."""

    def close(self) -> None:
        """Stop showing."""


class ProgressBar:
    """Draw a bar with loss, news per second and time left."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}  {task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task: TaskID | None = None
        self._bar.start()

    def start(self, stage: str, *, steps: int, done: int) -> None:
        """Begin a stage with a bar of its own."""
        self._task = self._bar.add_task(stage, total=steps, completed=done, figures="")

    def step(self, done: int, *, loss: float, news_per_s: float) -> None:
        """Move the bar."""
        if self._task is not None:
            figures = f"loss {loss:.4f}  {news_per_s:,.0f} news/s"
            self._bar.update(self._task, completed=done, figures=figures)

    def note(self, text: str) -> None:
        """Print above the bar."""
        self._bar.console.print(text, highlight=False)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.stop()


class ProgressLines:
    """Write a line at most every `interval_s` seconds, for logs and pipes."""

    def __init__(self, console: Console, interval_s: float = 15.0) -> None:
        self._console = console
        self._interval_s = interval_s
        self._stage = ""
        self._steps = self._first = 0
        self._started_s = self._written_s = time.monotonic()

    def start(self, stage: str, *, steps: int, done: int) -> None:
        """Begin a stage."""
        self._stage, self._steps, self._first = stage, steps, done
        self._started_s = time.monotonic()
        self.note(f"{stage}: {steps} steps, {done} done")

    def step(self, done: int, *, loss: float, news_per_s: float) -> None:
        """Write a line if the last one is old enough or the stage is over."""
        now_s = time.monotonic()
        if now_s - self._written_s < self._interval_s and done < self._steps:
            return
        self._written_s = now_s
        per_step_s = (now_s - self._started_s) / max(1, done - self._first)
        left_s = per_step_s * (self._steps - done)
        self.note(
            f"{self._stage} {done}/{self._steps}  loss {loss:.4f}  "
            f"{news_per_s:,.0f} news/s  {left_s:,.0f} s left"
        )

    def note(self, text: str) -> None:
        """Write a line."""
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)

    def close(self) -> None:
        """Need nothing."""


def progress_display() -> ProgressDisplay:
    """Choose by whether somebody is watching."""
    console = Console(stderr=True)
    return ProgressBar(console) if sys.stderr.isatty() else ProgressLines(console)
