"""Batches: rows of clicks, sampled skips, articles encoded once."""

import numpy as np
import pytest
import torch

from contract.article import Impression
from training.batches import (
    ClickRow,
    click_batches,
    click_rows,
    hold_out,
    restore_order,
)
from training.distill import ClickData


def an_impression(clicks: tuple[bool, ...], history: tuple[str, ...] = ("N0",)) -> Impression:
    """Show N1, N2, N3 and so on."""
    shown = tuple(f"N{n + 1}" for n in range(len(clicks)))
    return Impression("1", "U1", None, history, shown, clicks)


NUMBERS = {f"N{n}": n for n in range(5)}


def test_each_click_makes_a_row_with_all_skips() -> None:
    """Two clicks share the impression's history and its skip."""
    rows = click_rows([an_impression((True, False, True))], NUMBERS, history=50)
    assert rows == [ClickRow((0,), 1, (2,)), ClickRow((0,), 3, (2,))]


@pytest.mark.parametrize("clicks", [(False, False), (True, True)])
def test_an_impression_without_click_or_skip_makes_no_row(clicks: tuple[bool, ...]) -> None:
    """There is nothing to tell apart."""
    assert click_rows([an_impression(clicks)], NUMBERS, history=50) == []


def test_unknown_ids_are_left_out_and_the_last_of_a_history_kept() -> None:
    """Real logs mention articles that their catalogue lacks."""
    impression = an_impression((True, False), history=("N1", "X9", "N2", "N3"))
    rows = click_rows([impression], NUMBERS, history=2)
    assert rows[0].history == (2, 3)


ROWS = [ClickRow((4, 5), 1, (2, 3, 6)), ClickRow((), 2, (4,))]


def test_a_batch_holds_each_article_once_and_the_click_first() -> None:
    """Indices lead back to the articles; missing skips and histories are masked."""
    (batch,) = click_batches(ROWS, rows_per_step=8, negatives_per_click=2, seed=1, epoch=1)
    assert sorted(set(batch.articles.tolist())) == batch.articles.tolist()
    for row in ROWS:
        place = batch.articles[batch.candidates[:, 0]].tolist().index(row.click)
        shown = batch.articles[batch.candidates[place][batch.candidate_mask[place]]]
        read = batch.articles[batch.history[place][batch.history_mask[place]]]
        assert read.tolist() == list(row.history)
        assert len(shown) == 1 + min(2, len(row.skips))
        assert set(shown[1:].tolist()) <= set(row.skips)


def test_skips_are_sampled_anew_each_epoch() -> None:
    """Over some epochs every skip is met."""
    met = set()
    for epoch in range(20):
        (batch,) = click_batches(ROWS, rows_per_step=8, negatives_per_click=1, seed=1, epoch=epoch)
        met |= set(batch.articles.tolist())
    assert met == {1, 2, 3, 4, 5, 6}


def test_chunks_hold_like_lengths_within_the_budget(click_data: ClickData) -> None:
    """No chunk exceeds the budget padded, and all rows come back in order."""
    table = click_data.articles
    rows = np.arange(len(table))[::-1].copy()
    chunks = list(table.chunks(rows, tokens_per_chunk=40))
    assert len(chunks) > 1
    for chunk in chunks:
        assert len(chunk) * table.lengths[rows[chunk]].max() <= 40
    parts = [torch.from_numpy(rows[chunk]) for chunk in chunks]
    assert restore_order(parts, chunks).tolist() == rows.tolist()


def test_the_held_out_share_is_stable_and_about_right() -> None:
    """By hash of the id: the same every time, a tenth of many."""
    held = [hold_out(str(n), 0.1) for n in range(2000)]
    assert held == [hold_out(str(n), 0.1) for n in range(2000)]
    assert 150 < sum(held) < 250
