"""Additive attention."""

import torch

from training.model import AdditiveAttention


def attention_of(projection: list[list[float]], query: list[float]) -> AdditiveAttention:
    """Build an attention with given weights and no bias."""
    attention = AdditiveAttention(len(projection[0]), len(projection))
    with torch.no_grad():
        attention.projection.weight.copy_(torch.tensor(projection))
        attention.projection.bias.zero_()
        attention.query.weight.copy_(torch.tensor([query]))
    return attention


def test_weights_are_a_softmax_of_query_times_tanh() -> None:
    """Two positions by hand: logits 2 tanh(1) and 2 tanh(0) = 0."""
    attention = attention_of([[1.0, 0.0]], [2.0])
    x = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    first = 1 / (1 + torch.exp(-2 * torch.tanh(torch.tensor(1.0))))
    expected = torch.stack([first, 1 - first])
    torch.testing.assert_close(attention(x, torch.ones(1, 2))[0], expected)


def test_a_fresh_query_takes_the_mean() -> None:
    """Pooling starts as the mean of the unmasked positions."""
    x = torch.randn(2, 3, 4)
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    pooled = AdditiveAttention(4, 5)(x, mask)
    torch.testing.assert_close(pooled, torch.stack([x[0, :2].mean(0), x[1].mean(0)]))


def test_masked_positions_have_no_weight() -> None:
    """Whatever stands in a padding position changes nothing."""
    attention = attention_of([[1.0, -1.0]], [3.0])
    x = torch.randn(1, 3, 2)
    other = x.clone()
    other[0, 2] = 100.0
    mask = torch.tensor([[True, True, False]])
    torch.testing.assert_close(attention(x, mask), attention(other, mask))


def test_a_fully_masked_row_is_zero_and_has_finite_gradients() -> None:
    """A reader without history is a zero vector, not NaN."""
    attention = attention_of([[1.0, -1.0]], [3.0])
    x = torch.randn(1, 3, 2, requires_grad=True)
    pooled = attention(x, torch.zeros(1, 3))
    pooled.sum().backward()
    assert pooled.tolist() == [[0.0, 0.0]]
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
