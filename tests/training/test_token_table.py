"""Token table: tokenised once, padded per step, cut into chunks of like length."""

import numpy as np
import pytest
import torch

from tests.tiny import tiny_tokenizer
from training.token_table import TokenTable, encode_in_chunks, restore_order

TEXTS = ["goal", "goal match coach vote", "law senate"]


@pytest.fixture
def table() -> TokenTable:
    """Return three texts of 3, 6 and 4 tokens, [CLS] and [SEP] included."""
    return TokenTable(TEXTS, tiny_tokenizer())


def test_rows_are_padded_to_the_longest_of_those_asked_for(table: TokenTable) -> None:
    """The longest text of the table is not among them; padding is masked."""
    ids, mask = table.tokens([2, 0])
    assert mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert (ids[1, 3].item(), ids[1, 2].item()) == (tiny_tokenizer().pad_id, ids[0, 3].item())


def test_it_knows_its_size_and_the_length_of_every_text(table: TokenTable) -> None:
    """In tokens, which is what a step costs."""
    assert len(table) == 3
    assert table.lengths.tolist() == [3, 6, 4]


def test_texts_are_cut_at_the_tokenizers_length() -> None:
    """Twelve tokens, the last of which is [SEP]."""
    table = TokenTable(["goal " * 40], tiny_tokenizer())
    assert table.lengths.tolist() == [12]
    assert table.tokens([0])[0][0, -1].item() == 3


def test_chunks_are_cut_by_their_padded_size(table: TokenTable) -> None:
    """Rows of 3, 4 and 6 tokens: two texts of at most 4 fit into 8, a third one of 6 does not."""
    chunks = list(table.chunks(np.array([1, 2, 0]), tokens_per_chunk=8))
    assert [chunk.tolist() for chunk in chunks] == [[2, 1], [0]]


def test_a_text_longer_than_the_budget_stands_alone(table: TokenTable) -> None:
    """It has to be encoded somewhere."""
    chunks = list(table.chunks(np.array([0, 1]), tokens_per_chunk=1))
    assert [chunk.tolist() for chunk in chunks] == [[0], [1]]


@pytest.mark.parametrize("budget", [1, 17, 40, 10_000])
def test_chunks_hold_every_row_within_the_budget_and_in_restorable_order(budget: int) -> None:
    """Whatever the budget, repeated rows included."""
    random = np.random.default_rng(0)
    table = TokenTable(["goal " * n for n in random.integers(1, 9, size=30)], tiny_tokenizer())
    rows = random.integers(0, 30, size=50)
    chunks = list(table.chunks(rows, tokens_per_chunk=budget))
    for chunk in chunks:
        assert len(chunk) == 1 or len(chunk) * table.lengths[rows[chunk]].max() <= budget
    parts = [torch.from_numpy(rows[chunk]) for chunk in chunks]
    assert restore_order(parts, chunks).tolist() == rows.tolist()


def test_outputs_come_in_the_order_of_the_rows_whatever_the_chunks(table: TokenTable) -> None:
    """Each of several outputs, repeated rows included."""
    rows = np.array([1, 0, 2, 1])

    def encode(ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return mask.sum(1, keepdim=True), ids[:, :2]

    for tokens in (1, 8, 4096):
        lengths, heads = encode_in_chunks(table, rows, encode, tokens_per_chunk=tokens)
        assert lengths[:, 0].tolist() == [6, 3, 4, 6]
        assert heads.tolist() == [table.tokens([row])[0][0, :2].tolist() for row in rows]
