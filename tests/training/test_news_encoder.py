"""News encoder, for every family."""

from dataclasses import replace

import pytest
import torch

from training.model import Architecture, NewsEncoder, build_student
from training.model.architecture import FAMILIES
from training.model.news_encoder import mean_pooled


@pytest.fixture(params=FAMILIES)
def encoder(request: pytest.FixtureRequest, architecture: Architecture) -> NewsEncoder:
    """Return a random encoder of each family, pooling away from its starting point."""
    shape = replace(architecture, family=request.param, pad_id=PAD_ID)
    encoder = build_student(shape).eval().news_encoder
    torch.nn.init.normal_(encoder.pooling.query.weight)
    return encoder


PAD_ID = 1
IDS = torch.tensor([[5, 6, 7], [8, 9, 10]])


def test_vectors_have_unit_length(encoder: NewsEncoder) -> None:
    """(B, T) becomes (B, D) with norm 1."""
    vectors = encoder(IDS, torch.ones_like(IDS)).vector
    assert vectors.shape == (2, 8)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(2))


def test_padding_does_not_change_a_vector(encoder: NewsEncoder) -> None:
    """Neither its length nor what stands in it: not in attention, not in pooling."""
    alone = encoder(IDS, torch.ones_like(IDS))
    padded = torch.cat([IDS, torch.full((2, 2), PAD_ID)], dim=1)
    mask = torch.tensor([[1, 1, 1, 0, 0]] * 2)
    torch.testing.assert_close(encoder(padded, mask).vector, alone.vector)
    torch.testing.assert_close(encoder(padded, mask).pooled, alone.pooled)


@pytest.mark.parametrize(("family", "first"), [("bert", 0), ("roberta", PAD_ID + 1)])
def test_positions_begin_where_the_family_begins(
    architecture: Architecture, family: str, first: int
) -> None:
    """RoBERTa counts from behind its padding id; each token is word, type and position."""
    shape = replace(architecture, family=family, pad_id=PAD_ID)
    encoder = build_student(shape).eval().news_encoder
    table = encoder.backbone.embeddings
    positions = torch.arange(first, first + 3)
    added = (
        table.word_embeddings(IDS)
        + table.token_type_embeddings(torch.zeros_like(IDS))
        + table.position_embeddings(positions)
    )
    found = encoder(IDS, torch.ones_like(IDS)).embeddings
    torch.testing.assert_close(found, table.LayerNorm(added))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_may_have_as_many_tokens_as_the_family_has_positions_for(
    architecture: Architecture, family: str
) -> None:
    """The longest is read; one token more is beyond the table."""
    shape = replace(architecture, family=family, pad_id=PAD_ID)
    encoder = build_student(shape).eval().news_encoder
    longest = torch.full((1, shape.max_tokens), 7)
    assert encoder(longest, torch.ones_like(longest)).vector.isfinite().all()
    beyond = torch.full((1, shape.max_tokens + 1), 7)
    with pytest.raises((IndexError, RuntimeError)):
        encoder(beyond, torch.ones_like(beyond))


def test_an_unmasked_token_does_change_it(encoder: NewsEncoder) -> None:
    """The mask guard can fail: the same token counts once it is unmasked."""
    alone = encoder(IDS, torch.ones_like(IDS)).vector
    longer = torch.cat([IDS, torch.tensor([[11], [11]])], dim=1)
    assert not torch.allclose(encoder(longer, torch.ones_like(longer)).vector, alone, atol=1e-4)


def test_every_layer_is_returned(encoder: NewsEncoder) -> None:
    """Embeddings and one hidden state per layer, the last of which is pooled."""
    mask = torch.ones_like(IDS)
    encoding = encoder(IDS, mask)
    assert encoding.embeddings.shape == (2, 3, 16)
    assert len(encoding.hidden_states) == 2
    torch.testing.assert_close(encoder.pooling(encoding.hidden_states[-1], mask), encoding.pooled)


def test_mean_pooling_is_the_unit_mean_of_real_tokens() -> None:
    """(3, 0) and (0, 4) have mean (1.5, 2), whose unit vector is (0.6, 0.8)."""
    states = torch.tensor([[[3.0, 0.0], [0.0, 4.0], [9.0, 9.0]]])
    pooled = mean_pooled(states, torch.tensor([[1, 1, 0]]))
    torch.testing.assert_close(pooled, torch.tensor([[0.6, 0.8]]))
