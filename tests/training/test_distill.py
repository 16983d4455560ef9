"""Joint learning: what a step moves, what it must not, and what each switch switches."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.tiny import a_batch, a_config, a_distillation, moved, only_weights, snapshot, unsettled
from training.config import Config
from training.distill import (
    TrainingData,
    epoch_steps,
    fixed_teacher,
    needs_teacher,
    step_losses,
    take_step,
)
from training.model import TeacherStudent, build_backbone, pair_with_teacher
from training.tasks import total_loss
from training.tuning import choose_tuned, joint_optimisation

MakePair = Callable[..., TeacherStudent]
TASKS = ("recommendation", "topics", "search")
STATES = ("embedding", "hidden", "pooled")
# Which losses of either model reach each module that the two share.
SHARED = {
    "news_encoder.pooling.projection": {"recommendation", "topics", "search"},
    "news_encoder.pooling.query": {"recommendation", "topics", "search"},
    "news_encoder.dense": {"recommendation", "search"},
    "user_encoder.pooling": {"recommendation"},
    "click_model": {"recommendation"},
    "topic_head": {"topics"},
}


@pytest.fixture
def pair(make_pair: MakePair) -> TeacherStudent:
    """Return four teacher layers and two student layers, away from their starting point."""
    return unsettled(make_pair())


@pytest.fixture
def with_own_teacher(pair: TeacherStudent) -> TeacherStudent:
    """Return the student with a teacher that shares nothing with it."""
    shape = pair.teacher.architecture
    other = pair_with_teacher(shape, build_backbone(shape), student_layers=4)
    return TeacherStudent(pair.student, unsettled(other).student)


def train(pair: TeacherStudent, data: TrainingData, config: Config, *, steps: int = 1) -> Any:
    """Take the first steps of an epoch and return the last one's losses."""
    choose_tuned(pair, config)
    fixed = fixed_teacher(pair, data, config)
    optimisation = joint_optimisation(pair, config, steps=10)
    pair.train()
    for step, batches in enumerate(list(epoch_steps(data, config, 1))[:steps]):
        losses = take_step(pair, batches, data, optimisation, config=config, step=step, fixed=fixed)
    return losses


def parts_of(pair: TeacherStudent, data: TrainingData, config: Config) -> dict[str, Any]:
    """Return the losses of the first batch."""
    return step_losses(pair, a_batch(config), data, config=config)


def gradients(pair: TeacherStudent, loss: torch.Tensor) -> dict[str, torch.Tensor | None]:
    """Return the gradient of a loss by parameter; None where it does not reach."""
    names, parameters = zip(*pair.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return dict(zip(names, found, strict=True))


def test_all_tasks_and_all_states_have_their_losses(
    pair: TeacherStudent, data: TrainingData
) -> None:
    """The paper's, added up unweighted: three per task and three between states."""
    names = {f"{task}/{part}" for task in TASKS for part in ("teacher", "gold", "distill")}
    parts = parts_of(pair, data, a_config())
    assert set(parts) == names | set(STATES)
    torch.testing.assert_close(total_loss(parts, a_config()), sum(parts.values()))


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_step_moves_every_parameter_of_both_models(
    make_pair: MakePair, data: TrainingData, family: str
) -> None:
    """Both backbones and every shared module, in either family."""
    pair = unsettled(make_pair(family=family))
    before = snapshot(pair)
    train(pair, data, a_config())
    assert set(before) - moved(pair, before) == set()


@pytest.mark.parametrize(("module", "tasks"), SHARED.items())
def test_both_branches_reach_every_shared_module(
    pair: TeacherStudent, data: TrainingData, module: str, tasks: set[str]
) -> None:
    """The teacher's own losses, the student's, and what the student learns of the teacher."""
    for name, part in parts_of(pair, data, a_config()).items():
        task = name.rpartition("/")[0]
        if not task:
            continue
        found = gradients(pair, part)
        reached = {n for n, g in found.items() if module in n and g is not None and g.any()}
        wanted = {n for n in found if n.startswith(f"student.{module}")} if task in tasks else set()
        assert reached == wanted, name


def test_no_loss_of_the_student_moves_the_teachers_own_tensors(
    pair: TeacherStudent, data: TrainingData
) -> None:
    """Only the teacher's own losses do, and they leave the student's backbone alone."""
    for name, part in parts_of(pair, data, a_config()).items():
        found = gradients(pair, part)
        reached = {n.split(".")[0] for n, g in found.items() if "backbone" in n and g is not None}
        assert reached == {"teacher" if name.endswith("/teacher") else "student"}, name


@pytest.mark.parametrize("name", ["gold", "distill", *STATES])
def test_a_weight_of_0_switches_a_loss_off(
    pair: TeacherStudent, data: TrainingData, name: str
) -> None:
    """It is gone from the parts, and the others are what they were."""
    config = a_distillation(weights={name: 0.0})
    everything, rest = (parts_of(pair, data, c) for c in (a_config(), config))
    gone = set(everything) - set(rest)
    assert gone == ({name} if name in STATES else {f"{task}/{name}" for task in TASKS})
    torch.testing.assert_close(rest, {n: v for n, v in everything.items() if n not in gone})


@pytest.mark.parametrize("task", TASKS)
def test_a_task_of_weight_0_teaches_nothing(
    pair: TeacherStudent, data: TrainingData, task: str
) -> None:
    """The total's gradient is that of the other tasks' losses."""
    config = a_config(tasks={task: 0.0})
    parts = parts_of(pair, data, config)
    found = gradients(pair, total_loss(parts, config))
    rest = sum(part for name, part in parts.items() if not name.startswith(task))
    assert isinstance(rest, torch.Tensor)
    for name, expected in gradients(pair, rest).items():
        gradient = found[name]
        if expected is None:
            assert gradient is None or not gradient.any(), name
        else:
            torch.testing.assert_close(gradient, expected, msg=name)


@pytest.mark.parametrize(
    ("switch", "term"), [("candidate_aware", "attention"), ("content_term", "content")]
)
def test_a_term_of_the_click_model_that_is_off_stays_0(
    pair: TeacherStudent, data: TrainingData, switch: str, term: str
) -> None:
    """After any number of steps; on, it moves."""
    click = pair.student.click_model
    for on in (True, False):
        train(pair, data, a_config(model={switch: on}), steps=3)
        assert bool(getattr(click, term).detach().any()) == on


@pytest.mark.parametrize("weights", [{}, {"embedding": 0.0, "hidden": 0.0}])
def test_a_fixed_teacher_is_left_untouched_and_answers_with_its_own_heads(
    with_own_teacher: TeacherStudent, data: TrainingData, weights: dict[str, float]
) -> None:
    """Whether it is encoded in every step or remembered, the student learns the same from it."""
    config = a_distillation(joint=False, weights=weights)
    before = snapshot(with_own_teacher)
    other = copy.deepcopy(with_own_teacher)
    with torch.no_grad():
        other.teacher.click_model.scale.add_(5.0)
    losses = train(with_own_teacher, data, config)
    assert {n.split(".")[0] for n in moved(with_own_teacher, before)} == {"student"}
    assert not any(name.endswith("/teacher") for name in losses)
    changed = train(other, data, config)
    assert changed["recommendation/distill"] != losses["recommendation/distill"]
    assert changed["recommendation/gold"] == losses["recommendation/gold"]


def test_a_remembered_teacher_teaches_what_an_encoded_one_does(
    with_own_teacher: TeacherStudent, data: TrainingData
) -> None:
    """The embedding loss forces the second; the losses that both have are equal."""
    seldom = a_distillation(joint=False, weights={"embedding": 0.0, "hidden": 0.0})
    always = a_distillation(joint=False, weights={"hidden": 0.0})
    assert fixed_teacher(with_own_teacher, data, always) is None
    remembered, encoded = (
        train(copy.deepcopy(with_own_teacher), data, config) for config in (seldom, always)
    )
    encoded.pop("embedding")
    torch.testing.assert_close(remembered, encoded)


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({}, True),
        ({"joint": False}, True),
        ({"joint": False, "weights": only_weights(gold=1.0, pooled=1.0)}, True),
        ({"joint": False, "weights": only_weights(gold=1.0, hidden=1.0)}, True),
        ({"joint": False, "weights": only_weights(gold=1.0)}, False),
        ({"joint": True, "weights": only_weights(gold=1.0)}, True),
    ],
)
def test_a_teacher_is_needed_where_it_learns_or_any_loss_asks_for_it(
    pair: TeacherStudent, data: TrainingData, settings: dict[str, Any], needed: bool
) -> None:
    """Otherwise a student is trained alone, and nothing of a teacher is computed."""
    config = a_distillation(**settings)
    assert needs_teacher(config) == needed
    if not needed:
        assert fixed_teacher(pair, data, config) is None
        assert set(train(pair, data, config)) == {f"{task}/gold" for task in TASKS}
