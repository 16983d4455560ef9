"""Progress: a bar on a terminal, a line now and then anywhere else."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn


class ProgressDisplay(Protocol):
    """Show how far a stage is."""

    def start(self, stage: str, *, steps: int, done: int) -> None:
        """Begin a stage."""

    def step(self, done: int, *, loss: float, news_per_s: float, examples_per_s: float) -> None:
        """Show one more step."""

    def note(self, text: str) -> None:
        """Show a line."""

    def close(self) -> None:
        """Stop showing."""


@dataclass
class Pace:
    """Tell what a person wants to know of a stage, smoothed over its last steps.

    Time left comes from the steps of this process: a resumed run must not count those of another.
    """

    steps: int
    done_before: int
    started_s: float
    memory: float = 0.9
    _means: dict[str, float] = field(default_factory=dict)

    def observe(self, *, loss: float, news_per_s: float, examples_per_s: float) -> None:
        """Take in the figures of a step."""
        figures = {"loss": loss, "news/s": news_per_s, "examples/s": examples_per_s}
        for name, value in figures.items():
            before = self._means.get(name, value)
            self._means[name] = self.memory * before + (1 - self.memory) * value

    def left_s(self, done: int, *, now_s: float) -> float | None:
        """Return the seconds left, None before the first step."""
        taken = done - self.done_before
        if taken <= 0:
            return None
        return (now_s - self.started_s) / taken * (self.steps - done)

    def line(self, done: int, *, now_s: float) -> str:
        """Return loss, throughput and time left as one line."""
        loss, *speeds = self._means.items()
        shown = [f"{value:,.0f} {name}" for name, value in speeds if value]
        left = clock(self.left_s(done, now_s=now_s))
        return "  ".join([f"loss {loss[1]:.4f}", *shown, f"{left} left"])


def clock(seconds: float | None) -> str:
    """Write a duration as h:mm:ss."""
    return "?" if seconds is None else str(timedelta(seconds=round(seconds)))


class ProgressBar:
    """Draw a bar with loss, throughput and time left."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total}  {task.fields[figures]}"),
            console=console,
        )
        self._task: TaskID | None = None
        self._bar.start()

    def start(self, stage: str, *, steps: int, done: int) -> None:
        """Begin a stage with a bar of its own."""
        self._pace = Pace(steps, done, time.monotonic())
        self._task = self._bar.add_task(
            stage.replace("_", " "), total=steps, completed=done, figures=""
        )

    def step(self, done: int, *, loss: float, news_per_s: float, examples_per_s: float) -> None:
        """Move the bar."""
        if self._task is not None:
            self._pace.observe(loss=loss, news_per_s=news_per_s, examples_per_s=examples_per_s)
            figures = self._pace.line(done, now_s=time.monotonic())
            self._bar.update(self._task, completed=done, figures=figures)

    def note(self, text: str) -> None:
        """Print above the bar."""
        self._bar.console.print(text, highlight=False, markup=False)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.stop()


class ProgressLines:
    """Write a line at most every `interval_s` seconds, for logs and pipes."""

    def __init__(self, console: Console, interval_s: float = 15.0) -> None:
        self._console = console
        self._interval_s = interval_s
        self._stage = ""
        self._written_s = time.monotonic()

    def start(self, stage: str, *, steps: int, done: int) -> None:
        """Begin a stage."""
        self._stage = stage.replace("_", " ")
        self._pace = Pace(steps, done, time.monotonic())
        self.note(f"{self._stage}: {steps} steps, {done} done")

    def step(self, done: int, *, loss: float, news_per_s: float, examples_per_s: float) -> None:
        """Write a line if the last one is old enough or the stage is over."""
        now_s = time.monotonic()
        self._pace.observe(loss=loss, news_per_s=news_per_s, examples_per_s=examples_per_s)
        if now_s - self._written_s < self._interval_s and done < self._pace.steps:
            return
        self._written_s = now_s
        line = self._pace.line(done, now_s=now_s)
        self.note(f"{self._stage} {done}/{self._pace.steps}  {line}")

    def note(self, text: str) -> None:
        """Write a line."""
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)

    def close(self) -> None:
        """Need nothing."""


def progress_display() -> ProgressDisplay:
    """Choose by whether somebody is watching; of torchrun's processes, the first is watched."""
    console = Console(stderr=True)
    watched = sys.stderr.isatty() and os.environ.get("RANK", "0") == "0"
    return ProgressBar(console) if watched else ProgressLines(console)
