"""Curves: what is drawn of a run, and that the picture is whole or absent."""

from pathlib import Path
from typing import Any

import pytest

from training.curves import _smoothed, draw_curves

STAGES = ("text_distillation", "distillation")


def some_metrics(steps: int = 60) -> list[dict[str, Any]]:
    """Invent two stages; the second measures something after each 20 steps."""
    lines: list[dict[str, Any]] = []
    for stage in STAGES:
        for step in range(1, steps + 1):
            loss = {"cosine": 1 / step} if stage == STAGES[0] else {"click": 2 / step, "topic": 1.0}
            lines.append({"stage": stage, "step": step, **loss, "learning_rate": 1e-4 / step})
            if stage == STAGES[1] and step % 20 == 0:
                lines.append(
                    {"stage": stage, "step": step, "epoch": step // 20, "holdout_auc": 0.7}
                )
    return lines


def test_curves_are_a_picture_of_every_stage(tmp_path: Path) -> None:
    """Wider with each stage, and nothing else in the directory."""
    draw_curves(some_metrics(), tmp_path / "two.png")
    draw_curves([m for m in some_metrics() if m["stage"] == STAGES[0]], tmp_path / "one.png")
    widths = [int.from_bytes((tmp_path / n).read_bytes()[16:20]) for n in ("one.png", "two.png")]
    assert widths[1] == 2 * widths[0]
    assert {path.name for path in tmp_path.iterdir()} == {"one.png", "two.png"}


@pytest.mark.parametrize(
    "metrics",
    [
        [{"stage": "distillation", "step": 1, "click": 0.0}],
        [{"stage": "distillation", "step": 0, "epoch": 1, "holdout_auc": 0.6}],
        [{"stage": "distillation", "step": 2, "epoch": 1}],
        [{"stage": "heads", "step": 1, "click": 1.0, "learning_rate": 0.0}],
    ],
    ids=["a loss of zero", "no steps", "nothing held out", "one point"],
)
def test_little_to_draw_is_drawn(tmp_path: Path, metrics: list[dict[str, Any]]) -> None:
    """A run's first minutes have curves too."""
    draw_curves(metrics, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_recorded_is_no_picture(tmp_path: Path) -> None:
    """And no failure."""
    draw_curves([], tmp_path / "curves.png")
    assert not list(tmp_path.iterdir())


def test_losses_are_smoothed_without_an_edge() -> None:
    """The running mean is taken only where all of it lies inside."""
    steps, values = _smoothed(list(range(1, 101)), [1.0] * 99 + [3.0])
    assert (steps[0], steps[-1]) == (1.5, 99.5)
    assert (values[0], values[-1]) == (1.0, 2.0)
