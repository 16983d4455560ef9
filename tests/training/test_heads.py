"""Heads: user encoder, click model and topic head, fitted to the encoder as it is."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny import NO_TOPICS, a_config, moved, only_weights, snapshot, unsettled
from training.batches import TaskRows, epoch_batches
from training.central_encoding import Encoded, encode_rows
from training.config import Config
from training.distill import TrainingData
from training.errors import NonFiniteLoss
from training.heads import gold_only, head_sizes, train_heads
from training.model import TeacherStudent
from training.progress import ProgressDisplay
from training.run import Run
from training.tasks import task_losses

HEADS = {"user_encoder", "click_model", "topic_head"}


@pytest.fixture
def pair(make_pair: Callable[..., TeacherStudent]) -> TeacherStudent:
    """Return two student layers whose pooling is away from its starting point."""
    return unsettled(make_pair())


@pytest.fixture
def run(tmp_path: Path, silent: ProgressDisplay) -> Run:
    """Open a run."""
    run = Run(tmp_path / "run", a_config(), teacher="tiny", progress=silent)
    run.begin({}, resume=False)
    return run


def fitted(epochs: int = 3, **tables: Any) -> Config:
    """Return settings with a head stage."""
    return a_config(**{"heads": {"epochs": epochs, "rows_per_step": 8}, **tables})


def losses_of(pair: TeacherStudent, data: TrainingData) -> dict[str, float]:
    """Return the gold losses over all clicks, with all their skips, and half of the topics."""
    rows, config = replace(data.rows, queries=()), gold_only(a_config())
    sizes = replace(head_sizes(fitted()), clicks=100)
    (batch,) = epoch_batches(rows, sizes, seed=1, epoch=1)
    with torch.no_grad():
        outputs = encode_rows(pair.student, data.texts, batch.texts, config)
        parts = task_losses(pair, batch, Encoded(outputs, None, {}), config=config)
    return {name: float(part) for name, part in parts.items()}


def test_only_the_heads_move(pair: TeacherStudent, data: TrainingData, run: Run) -> None:
    """All of their parameters, and nothing of the encoder or of the teacher's backbone."""
    before = snapshot(pair)
    train_heads(pair, data, config=fitted(), run=run)
    names = moved(pair, before)
    assert names == {n for n in before if n.startswith("student.") and n.split(".")[1] in HEADS}
    assert all(parameter.grad is None for parameter in pair.parameters())


def test_both_tasks_are_learnt(pair: TeacherStudent, data: TrainingData, run: Run) -> None:
    """Clicks and topics are both better explained than before; search has no head."""
    before = losses_of(pair, data)
    rates = {"user": 0.01, "topic": 0.05, "click": 0.01, "content": 0.05, "content_decay": 0.0}
    config = a_config(heads={"epochs": 20, "rows_per_step": 8, **rates})
    train_heads(pair, data, config=config, run=run)
    after = losses_of(pair, data)
    assert set(after) == {"recommendation/gold", "topics/gold"}
    assert all(after[name] < 0.95 * before[name] for name in after)
    assert "search/gold" not in run.metrics()[0]


@pytest.mark.parametrize(
    ("switch", "term"), [("candidate_aware", "attention"), ("content_term", "content")]
)
def test_a_term_of_the_click_model_that_is_off_stays_0(
    pair: TeacherStudent, data: TrainingData, run: Run, switch: str, term: str
) -> None:
    """On, it moves."""
    train_heads(pair, data, config=fitted(), run=run)
    assert getattr(pair.student.click_model, term).detach().any()
    train_heads(pair, data, config=fitted(model={switch: False}), run=run)
    assert not getattr(pair.student.click_model, term).detach().any()


def test_the_teacher_has_no_say(pair: TeacherStudent, data: TrainingData, run: Run) -> None:
    """What happened is learnt even where joint learning will only listen to the teacher."""
    settings = {"weights": only_weights(distill=1.0)}
    train_heads(pair, data, config=fitted(distillation=settings), run=run)
    assert {name for name in run.metrics()[0] if "/" in name} == {
        "recommendation/gold",
        "topics/gold",
    }


def test_all_skips_meet_and_every_click_once_an_epoch(
    pair: TeacherStudent, data: TrainingData, run: Run
) -> None:
    """Nothing has to be encoded, so nothing has to be drawn: 3 steps of 8 for 20 clicks."""
    train_heads(pair, data, config=fitted(epochs=2), run=run)
    assert [record["step"] for record in run.metrics()] == [1, 2, 3, 4, 5, 6]
    assert head_sizes(fitted()).negatives == 0


def test_without_clicks_and_topics_there_is_no_head_to_train(
    pair: TeacherStudent, data: TrainingData, run: Run
) -> None:
    """Search alone: the stage is over before it begins."""
    before = snapshot(pair)
    rows = TaskRows((), NO_TOPICS, data.rows.queries)
    train_heads(pair, TrainingData(data.texts, rows), config=fitted(), run=run)
    assert moved(pair, before) == set()
    assert run.metrics() == []


def test_a_loss_that_is_not_finite_stops_the_stage(
    pair: TeacherStudent, data: TrainingData, run: Run
) -> None:
    """By name."""
    with torch.no_grad():
        pair.student.user_encoder.pooling.query.weight.fill_(torch.nan)
    with pytest.raises(NonFiniteLoss, match="step 1: recommendation/gold is not finite"):
        train_heads(pair, data, config=fitted(), run=run)


def test_losses_count_as_what_happened_whatever_joint_learning_weighs(
    pair: TeacherStudent, data: TrainingData, run: Run
) -> None:
    """Weights of joint learning change no step of this stage."""
    twin = copy.deepcopy(pair)
    weighed = fitted(distillation={"weights": only_weights(gold=0.3, distill=1.0)})
    train_heads(pair, data, config=fitted(), run=run)
    train_heads(twin, data, config=weighed, run=run)
    assert moved(twin, snapshot(pair)) == set()
