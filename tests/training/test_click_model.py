"""Click model: the torch formula is the one that evaluation, export and service use."""

import math

import numpy as np
import pytest
import torch

from training.model import ClickModel


@pytest.fixture
def click_model() -> ClickModel:
    """Return a click model with nothing at its starting value."""
    model = ClickModel(2)
    with torch.no_grad():
        model.scale.fill_(3.0)
        model.attention.fill_(0.5)
        model.temperature.fill_(2.0)
        model.content.copy_(torch.tensor([0.1, -0.2]))
    return model


def test_score_by_hand(click_model: ClickModel) -> None:
    """One candidate (1, 0), history (1, 0) and (0, 1), reader (0.5, 0.5)."""
    weight = math.exp(2.0) / (math.exp(2.0) + 1.0)
    expected = 3.0 * (0.5 + 0.5 * weight * 1.0) + 0.1
    score = click_model(
        torch.tensor([[0.5, 0.5]]),
        torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]),
        torch.ones(1, 2),
        torch.tensor([[[1.0, 0.0]]]),
    )
    assert score.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("clicks", [0, 1, 5])
def test_torch_and_numpy_agree(click_model: ClickModel, clicks: int) -> None:
    """`contract.scoring` gives the same scores, with padding on torch's side."""
    random = np.random.default_rng(clicks)
    user, history, candidates = (
        random.normal(size=shape).astype(np.float32) for shape in ((2,), (clicks, 2), (7, 2))
    )
    padded = np.concatenate([history, np.full((3, 2), 9.0, np.float32)])
    mask = np.arange(clicks + 3) < clicks
    ours = click_model(*(torch.from_numpy(x)[None] for x in (user, padded, mask, candidates)))
    theirs = click_model.to_contract().score(user, history, candidates)
    np.testing.assert_allclose(ours[0].detach().numpy(), theirs, rtol=1e-5, atol=1e-5)


def test_without_history_interest_is_zero_and_gradients_are_finite(
    click_model: ClickModel,
) -> None:
    """The score of a new reader is what the content term says."""
    candidates = torch.tensor([[[1.0, 1.0]]])
    score = click_model(torch.zeros(1, 2), torch.ones(1, 3, 2), torch.zeros(1, 3), candidates)
    score.sum().backward()
    assert score.item() == pytest.approx(-0.1)
    assert all(torch.isfinite(p.grad).all() for p in click_model.parameters() if p.grad is not None)
