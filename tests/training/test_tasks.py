"""Tasks: every task's losses by hand, and the weight of each."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.tiny import a_config, a_distillation, only_weights
from training.batches import Batch, ClickBatch, QueryBatch, TopicBatch
from training.central_encoding import Encoded, Outputs
from training.config import Config
from training.model import Architecture, Student, TeacherStudent, build_student
from training.tasks import click_scores, task_losses, tasks_of, total_loss, weight_of

LN3, LN4 = math.log(3.0), math.log(4.0)
# What a model of probability 3/4 loses, one of 4/5, and the first by the second's answer.
THREE_OF_FOUR, FOUR_OF_FIVE = -math.log(0.75), -math.log(0.8)
BY_TEACHER = -(0.8 * math.log(0.75) + 0.2 * math.log(0.25))
FIRST, TEXTS = torch.tensor([0]), torch.arange(4).numpy()

# One reader who read text 0, clicked 1 and skipped 2; the third candidate is padding.
CLICKS = ClickBatch(
    history=torch.tensor([[0]]),
    history_mask=torch.tensor([[True]]),
    candidates=torch.tensor([[1, 2, 3]]),
    candidate_mask=torch.tensor([[True, True, False]]),
)
# Text 0 is about topic 0 of a taxonomy of two; topic 2 is another taxonomy's.
TOPICS = TopicBatch(FIRST, FIRST, torch.tensor([[True, True, False]]))
# Query 0 asks for article 2, query 1 for article 3.
QUERIES = QueryBatch(torch.tensor([0, 1]), torch.tensor([2, 3]), torch.eye(2) + 1 > 0)


@pytest.fixture
def pair(architecture: Architecture) -> TeacherStudent:
    """Return models whose scores are plain inner products and whose logits are what is pooled."""
    student = build_student(replace(architecture, hidden=3, dim=2, topics=3), nn.Identity())
    click, head = student.click_model, student.topic_head.linear
    with torch.no_grad():
        click.scale.fill_(1.0)
        click.attention.fill_(0.0)
        head.weight.copy_(torch.eye(3))
        head.bias.zero_()
    return TeacherStudent(student, student.with_backbone(nn.Identity(), layers=2))


def outputs(*vectors: tuple[float, float], pooled: float = 0.0) -> Outputs:
    """Return vectors of four texts, each pooled to (x, 0, 50)."""
    return Outputs(torch.tensor(vectors), torch.tensor([[pooled, 0.0, 50.0]] * 4))


def parts_of(
    pair: TeacherStudent, batch: Batch, ours: Outputs, theirs: Outputs | None, config: Config
) -> dict[str, float]:
    """Return the losses as numbers."""
    encoded = Encoded(ours, theirs, {})
    return {k: v.item() for k, v in task_losses(pair, batch, encoded, config=config).items()}


def expected(task: str) -> dict[str, float]:
    """Return what a student that says 3/4 and a teacher that says 4/5 lose."""
    numbers = {"gold": THREE_OF_FOUR, "teacher": FOUR_OF_FIVE, "distill": BY_TEACHER}
    return {f"{task}/{part}": pytest.approx(number) for part, number in numbers.items()}


def clicked(score: float) -> Outputs:
    """Return vectors of which the clicked one scores so, the skipped one 0, the padding 50."""
    return outputs((1.0, 0.0), (score, 0.0), (0.0, 1.0), (50.0, 0.0))


def test_recommendation(pair: TeacherStudent) -> None:
    """Scores (ln 3, 0) and the teacher's (ln 4, 0); the padding takes no probability."""
    batch = Batch(TEXTS, clicks=CLICKS)
    found = parts_of(pair, batch, clicked(LN3), clicked(LN4), a_config())
    assert found == expected("recommendation")


def test_topics(pair: TeacherStudent) -> None:
    """Logits (ln 3, 0) and the teacher's (ln 4, 0); the other taxonomy's 50 does not compete."""
    batch = Batch(TEXTS, topics=TOPICS)
    ours, theirs = (outputs(*[(1.0, 0.0)] * 4, pooled=x) for x in (LN3, LN4))
    assert parts_of(pair, batch, ours, theirs, a_config()) == expected("topics")


def test_search(pair: TeacherStudent) -> None:
    """At temperature 1/2, inner products (ln 3 / 2, 0) are scores (ln 3, 0), for both queries."""
    batch = Batch(TEXTS, queries=QUERIES)
    config = a_distillation(search_temperature=0.5)
    ours, theirs = (outputs((1.0, 0.0), (0.0, 1.0), (x / 2, 0.0), (0.0, x / 2)) for x in (LN3, LN4))
    assert parts_of(pair, batch, ours, theirs, config) == expected("search")


@pytest.mark.parametrize(
    ("batch", "ours", "theirs"),
    [
        (Batch(TEXTS, clicks=CLICKS), clicked(2 * LN3), clicked(2 * LN4)),
        (
            Batch(TEXTS, topics=TOPICS),
            outputs(*[(1.0, 0.0)] * 4, pooled=2 * LN3),
            outputs(*[(1.0, 0.0)] * 4, pooled=2 * LN4),
        ),
    ],
    ids=["recommendation", "topics"],
)
def test_the_temperature_divides_soft_predictions_alone(
    pair: TeacherStudent, batch: Batch, ours: Outputs, theirs: Outputs
) -> None:
    """Scores twice as high at T = 2 give the same soft loss; gold is taken at T = 1: 9/10."""
    found = parts_of(pair, batch, ours, theirs, a_distillation(temperature=2.0))
    task = next(iter(found)).split("/")[0]
    assert found[f"{task}/distill"] == pytest.approx(BY_TEACHER)
    assert found[f"{task}/gold"] == pytest.approx(-math.log(0.9))


def test_a_batch_has_the_tasks_that_it_has_rows_of(pair: TeacherStudent) -> None:
    """Alone or jointly."""
    batch = Batch(TEXTS, clicks=CLICKS, topics=TOPICS, queries=QUERIES)
    names = [task.name for task in tasks_of(batch, a_config())]
    assert names == ["recommendation", "topics", "search"]
    assert [task.name for task in tasks_of(replace(batch, clicks=None), a_config())] == names[1:]


def test_a_topic_gets_no_gradient_from_texts_of_another_taxonomy(pair: TeacherStudent) -> None:
    """Neither from the gold loss nor from either model's prediction."""
    encoded = Encoded(*(outputs(*[(1.0, 0.0)] * 4, pooled=x) for x in (LN3, LN4)), {})
    parts = task_losses(pair, Batch(TEXTS, topics=TOPICS), encoded, config=a_config())
    total_loss(parts, a_config()).backward()
    gradient = pair.student.topic_head.linear.weight.grad
    assert gradient is not None
    assert gradient[:2].abs().sum() > 0
    assert gradient[2].abs().sum() == 0


def test_without_a_teachers_outputs_only_what_happened_is_learnt(pair: TeacherStudent) -> None:
    """Neither the teacher's own loss nor the distance to it."""
    batch = Batch(TEXTS, clicks=CLICKS)
    found = parts_of(pair, batch, clicked(LN3), None, a_distillation(joint=False))
    assert set(found) == {"recommendation/gold"}


def test_a_fixed_teacher_has_no_loss_of_its_own(pair: TeacherStudent) -> None:
    """Its predictions are still learnt from."""
    batch, config = Batch(TEXTS, clicks=CLICKS), a_distillation(joint=False)
    found = parts_of(pair, batch, clicked(LN3), clicked(LN4), config)
    assert set(found) == {"recommendation/gold", "recommendation/distill"}


@pytest.mark.parametrize("part", ["gold", "distill"])
def test_a_weight_of_0_leaves_a_loss_out(pair: TeacherStudent, part: str) -> None:
    """It is not even computed, for no task."""
    batch = Batch(TEXTS, clicks=CLICKS, topics=TOPICS, queries=QUERIES)
    config = a_distillation(weights={part: 0.0})
    found = parts_of(pair, batch, clicked(LN3), clicked(LN4), config)
    assert {name.split("/")[1] for name in found} == {"gold", "distill", "teacher"} - {part}


def test_scores_are_those_of_the_served_formula(architecture: Architecture) -> None:
    """A row's history and candidates are gathered, and padding of the history is not read."""
    student = build_student(architecture)
    vectors = torch.nn.functional.normalize(torch.randn(5, 8), dim=-1)
    batch = ClickBatch(
        history=torch.tensor([[4, 2, 0]]),
        history_mask=torch.tensor([[True, True, False]]),
        candidates=torch.tensor([[3, 1]]),
        candidate_mask=torch.tensor([[True, True]]),
    )
    user = student.user_encoder(vectors[[4, 2]][None], torch.ones(1, 2))[0]
    served = student.click_model.to_contract().score(
        user.detach().numpy(), vectors[[4, 2]].numpy(), vectors[[3, 1]].numpy()
    )
    found: Tensor = click_scores(student, vectors, batch)[0]
    torch.testing.assert_close(found.detach(), torch.from_numpy(served))


def test_a_loss_weighs_its_task_times_its_part() -> None:
    """The teacher's own losses weigh their task; losses between states weigh what is set."""
    config = a_config(
        tasks={"recommendation": 2.0, "topics": 0.5},
        distillation={"weights": {"gold": 3.0, "distill": 4.0, "hidden": 0.1}},
    )
    names = {
        "recommendation/gold": 6.0,
        "recommendation/distill": 8.0,
        "recommendation/teacher": 2.0,
        "topics/gold": 1.5,
        "topics/teacher": 0.5,
        "search/distill": 4.0,
        "hidden": 0.1,
        "pooled": 1.0,
    }
    assert {name: weight_of(name, config) for name in names} == names


def test_the_total_is_the_weighted_sum() -> None:
    """1 * 2 (teacher) + 0.5 * 4 (gold) + 0 * 9 (hidden) = 4."""
    values = {"topics/teacher": 2.0, "topics/gold": 4.0, "hidden": 9.0}
    parts = {name: torch.tensor(value) for name, value in values.items()}
    config = a_distillation(weights=only_weights(gold=0.5))
    assert total_loss(parts, config).item() == pytest.approx(4.0)


def test_students_answer_with_their_own_heads(pair: TeacherStudent) -> None:
    """A fixed teacher has heads of its own: changing the student's leaves its predictions alone."""
    own: Student = build_student(pair.student.architecture, nn.Identity())
    own.load_state_dict(pair.student.state_dict())
    apart = TeacherStudent(pair.student, own)
    with torch.no_grad():
        pair.student.click_model.scale.fill_(2.0)
    batch, config = Batch(TEXTS, clicks=CLICKS), a_config()
    found = parts_of(apart, batch, clicked(LN3), clicked(LN4), config)
    assert found["recommendation/gold"] == pytest.approx(-math.log(0.9))
    assert found["recommendation/teacher"] == pytest.approx(FOUR_OF_FIVE)
