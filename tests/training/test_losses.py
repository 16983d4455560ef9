"""Losses against numbers worked out by hand."""

import math

import pytest
import torch

from training import losses
from training.errors import NonFiniteLoss

ALL = torch.ones(1, 2, dtype=torch.bool)


def test_click_loss_is_the_cross_entropy_of_the_first_candidate() -> None:
    """Scores ln 3 and 0 give the click probability 3/4."""
    loss = losses.click_loss(torch.tensor([[math.log(3.0), 0.0]]), ALL)
    assert loss.item() == pytest.approx(-math.log(0.75))


def test_masked_candidates_do_not_exist() -> None:
    """A padded candidate takes no probability, however high its score."""
    scores = torch.tensor([[math.log(3.0), 0.0, 50.0]])
    mask = torch.tensor([[True, True, False]])
    assert losses.click_loss(scores, mask).item() == pytest.approx(-math.log(0.75))
    soft = losses.soft_cross_entropy(scores, scores, mask, temperature=1.0)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert soft.item() == pytest.approx(entropy)


def test_soft_cross_entropy_divides_both_sides_by_the_temperature() -> None:
    """At T = 2, teacher 2 ln 3 means 3/4, student 2 ln 4 means 4/5."""
    student = torch.tensor([[2 * math.log(4.0), 0.0]])
    teacher = torch.tensor([[2 * math.log(3.0), 0.0]])
    loss = losses.soft_cross_entropy(student, teacher, ALL, temperature=2.0)
    assert loss.item() == pytest.approx(-(0.75 * math.log(0.8) + 0.25 * math.log(0.2)))


def test_masked_mse_averages_over_real_tokens_only() -> None:
    """Errors (1, 3) on the real token: (1 + 9) / 2; the padding's 100 is not seen."""
    student = torch.tensor([[[1.0, 3.0], [100.0, 100.0]]])
    loss = losses.masked_mse(student, torch.zeros(1, 2, 2), torch.tensor([[1, 0]]))
    assert loss.item() == pytest.approx(5.0)


def test_hidden_loss_compares_each_layer_with_the_last_of_its_block() -> None:
    """Student layers 1, 2 against teacher layers 2, 4: (1 - 3)^2 + (2 - 7)^2 = 29."""
    student = tuple(torch.full((1, 1, 1), value) for value in (1.0, 2.0))
    teacher = tuple(torch.full((1, 1, 1), value) for value in (9.0, 3.0, 9.0, 7.0))
    loss = losses.hidden_loss(student, teacher, torch.ones(1, 1))
    assert loss.item() == pytest.approx(29.0)


def test_pooled_loss_is_the_mean_squared_error() -> None:
    """(1, 3) against (0, 1): (1 + 4) / 2."""
    loss = losses.pooled_loss(torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 1.0]]))
    assert loss.item() == pytest.approx(2.5)


def test_topic_loss_is_the_cross_entropy_within_the_taxonomy() -> None:
    """Logits (0, ln 3) and topic 1: -ln 3/4; the other taxonomy's 50 takes no probability."""
    logits = torch.tensor([[0.0, math.log(3.0), 50.0]])
    members = torch.tensor([[True, True, False]])
    loss = losses.topic_loss(logits, torch.tensor([1]), members)
    assert loss.item() == pytest.approx(-math.log(0.75))


def test_in_batch_loss_pairs_query_and_article_of_the_same_number() -> None:
    """Scores (ln 3, 0) and (0, ln 4): the mean of -ln 3/4 and -ln 4/5."""
    scores = torch.diag(torch.tensor([3.0, 4.0]).log())
    loss = losses.in_batch_loss(scores, torch.ones(2, 2, dtype=torch.bool))
    assert loss.item() == pytest.approx(-(math.log(0.75) + math.log(0.8)) / 2)


def test_in_batch_loss_leaves_out_what_is_masked() -> None:
    """Query 2's other relevant article scores 50 and is no wrong answer: -ln 3/4 and 0."""
    scores = torch.tensor([[math.log(3.0), 0.0], [50.0, 0.0]])
    mask = torch.tensor([[True, True], [False, True]])
    assert losses.in_batch_loss(scores, mask).item() == pytest.approx(-math.log(0.75) / 2)


def test_cosine_loss_ignores_length() -> None:
    """Cosines 1 and 0 give a mean loss of 1/2."""
    vectors = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    targets = torch.tensor([[5.0, 0.0], [3.0, 0.0]])
    assert losses.cosine_loss(vectors, targets).item() == pytest.approx(0.5)


def test_similarity_loss_compares_all_pairs_but_no_text_with_itself() -> None:
    """One pair with cosine 0.6 here and 1 there: 0.16; widths may differ."""
    vectors = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    teacher = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert losses.similarity_loss(vectors, teacher).item() == pytest.approx(0.16)


@pytest.mark.parametrize("name", ["soft", "mse", "hidden", "pooled", "cosine", "similarity"])
def test_no_student_loss_reaches_the_teacher(name: str) -> None:
    """The teacher's tensor gets no gradient, the student's does."""
    ours, theirs = torch.rand(2, 3, requires_grad=True), torch.rand(2, 3, requires_grad=True)
    mask = torch.ones(2, 3)
    {
        "soft": lambda: losses.soft_cross_entropy(ours, theirs, mask.bool(), temperature=1.0),
        "mse": lambda: losses.masked_mse(ours[None], theirs[None], mask[None, :, 0]),
        "hidden": lambda: losses.hidden_loss((ours[None],), (theirs[None],), mask[None, :, 0]),
        "pooled": lambda: losses.pooled_loss(ours, theirs),
        "cosine": lambda: losses.cosine_loss(ours, theirs),
        "similarity": lambda: losses.similarity_loss(ours, theirs),
    }[name]().backward()
    assert ours.grad is not None
    assert theirs.grad is None


def test_a_broken_loss_stops_the_run_by_name() -> None:
    """NaN and infinity are named; finite losses pass."""
    losses.check_finite(0, {"click": torch.tensor(1.0)})
    broken = {
        "click": torch.tensor(1.0),
        "hidden": torch.tensor(math.nan),
        "topic": torch.tensor(math.inf),
    }
    with pytest.raises(NonFiniteLoss, match="step 8: hidden, topic is not finite"):
        losses.check_finite(7, broken)
