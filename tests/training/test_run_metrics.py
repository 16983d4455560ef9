"""Run metrics: lines in order, whole ones only, and none of what will be done again."""

from pathlib import Path

import pytest

from training.resume import Position
from training.run_metrics import RunMetrics

HEADS = {"stage": "heads", "step": 9}
FIRST = {"stage": "distillation", "step": 3}
LAST = {"stage": "distillation", "step": 4}
EPOCH = {"stage": "distillation", "step": 4, "epoch": 1, "holdout_auc": 0.7}
NEXT = {"stage": "distillation", "step": 5}


@pytest.fixture
def metrics(tmp_path: Path) -> RunMetrics:
    """Record the heads, and an epoch of four steps with a step of the next."""
    metrics = RunMetrics(tmp_path)
    for record in (HEADS, FIRST, LAST, EPOCH, NEXT):
        metrics.append(record)
    return metrics


def test_what_is_recorded_is_read_in_order(metrics: RunMetrics, tmp_path: Path) -> None:
    """Nothing is, before the first line."""
    metrics.flush()
    assert metrics.records() == [HEADS, FIRST, LAST, EPOCH, NEXT]
    assert RunMetrics(tmp_path / "new").records() == []


def test_a_half_written_line_is_forgotten(metrics: RunMetrics, tmp_path: Path) -> None:
    """A killed run may leave one."""
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "text_dist')
    assert len(metrics.records()) == 5


@pytest.mark.parametrize(
    ("position", "kept"),
    [
        (Position(), []),
        (Position("distillation"), [HEADS]),
        (Position("distillation", 3), [HEADS, FIRST]),
        (Position("distillation", 4), [HEADS, FIRST, LAST]),
        (Position("distillation", 4, epochs_done=1), [HEADS, FIRST, LAST, EPOCH]),
    ],
    ids=["nothing", "a stage", "inside an epoch", "all steps of an epoch", "an epoch"],
)
def test_what_was_not_done_when_the_state_was_saved_is_forgotten(
    metrics: RunMetrics, position: Position, kept: list[dict[str, object]]
) -> None:
    """Steps will be taken again; an epoch whose steps were all taken will be measured again."""
    metrics.forget_after(position)
    assert metrics.records() == kept
