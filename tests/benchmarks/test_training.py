"""The benchmark of joint learning: three forms of a step that must compute the same losses."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import training as bench
from benchmarks.comparison import BenchmarkError
from tests.tiny import a_batch, a_distillation, tiny_data, unsettled
from training.batches import Batch
from training.model import Architecture, TeacherStudent, build_backbone, pair_with_teacher
from training.tuning import choose_tuned

CONFIG = a_distillation(momentum=0.1)
WIDTH = CONFIG.text.max_tokens
SLOTS = 7


@pytest.fixture
def pair() -> TeacherStudent:
    """Return a tiny pair."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = Architecture(
        family="bert", layers=2, hidden=16, heads=2, intermediate=32, vocabulary=50, positions=40,
        token_types=2, activation="gelu", layer_norm_eps=1e-12, pad_id=0, dropout=0.0, dim=8,
        query_width=4, topics=4,
    )  # fmt: skip
    made = unsettled(pair_with_teacher(shape, build_backbone(shape), student_layers=1))
    choose_tuned(made, CONFIG)
    return made


def forms() -> dict[str, bench.Form]:
    """Return the three forms of tiny steps."""
    return dict(bench.forms_of(CONFIG, tiny_data()))


def every_slot() -> Batch:
    """Return a batch in which each slot has a text of its own."""
    return a_batch(a_distillation(**bench.EVERY_SLOT))


def test_all_forms_compute_the_same_losses(pair: TeacherStudent) -> None:
    """To rounding, for all tasks and states."""
    found = bench.checked(pair, forms())
    assert set(found) == {"slots", "padded"}
    assert max(found.values()) <= bench.TOLERANCE


def test_a_form_that_computes_other_losses_is_refused(pair: TeacherStudent) -> None:
    """A reader who has read what is in the empty slots too."""
    known = forms()

    def read_all(batch: Batch) -> Batch:
        padded = bench.with_empty_slots(batch, SLOTS)
        assert padded.clicks is not None
        whole = torch.ones_like(padded.clicks.history_mask)
        clicks = dataclasses.replace(padded.clicks, history_mask=whole)
        return dataclasses.replace(padded, clicks=clicks)

    known["padded"] = dataclasses.replace(known["padded"], prepare=read_all)
    with pytest.raises(BenchmarkError, match="padded: its losses differ"):
        bench.checked(pair, known)


def test_every_history_gets_all_slots_and_every_slot_a_text() -> None:
    """What was read keeps its place; empty slots are masked and have texts of their own."""
    batch = every_slot()
    padded = bench.with_empty_slots(batch, SLOTS)
    assert batch.clicks is not None
    assert padded.clicks is not None
    before, after = batch.clicks, padded.clicks
    assert after.history.shape == (len(before.history), SLOTS)
    assert after.history_mask.sum() == before.history_mask.sum()
    empty = int((~after.history_mask).sum())
    assert len(padded.texts) == len(batch.texts) + empty
    assert np.array_equal(padded.texts[: len(batch.texts)], batch.texts)
    assert len(after.history.unique()) == after.history.numel()
    assert torch.equal(after.history[after.history_mask], before.history[before.history_mask])


def test_a_padded_table_gives_all_texts_one_width() -> None:
    """The tokens are the table's, the rest is masked."""
    table = tiny_data().texts
    ids, mask = bench.PaddedTable(table, WIDTH).tokens(np.array([0, 1, 2]))
    assert ids.shape == mask.shape == (3, WIDTH)
    assert mask.sum(dim=1).tolist() == table.lengths[:3].tolist()
    expected, known = table.tokens([0, 1, 2])
    assert torch.equal(ids[mask.bool()], expected[known.bool()])


def test_the_stages_of_a_step_add_up_to_it(pair: TeacherStudent) -> None:
    """Every form takes the same steps; ratios are of neighbours in time."""
    runs = bench.measured(pair, forms(), rounds=2)
    assert len(runs) == 2
    for run in runs:
        assert set(run) == set(bench.FORMS)
        for found in run.values():
            assert sum(found[f"{stage}_s"] for stage in bench.STAGES) == pytest.approx(
                found["s"], abs=1e-3
            )
            assert all(found[f"{stage}_s"] > 0 for stage in bench.STAGES)
    figures: Any = bench.summary(runs)
    expected = [run["ours"]["examples_per_s"] / run["slots"]["examples_per_s"] for run in runs]
    assert figures["ours_to_slots"]["max"] == pytest.approx(max(expected), abs=1e-3)
    assert runs[0]["padded"]["texts"] > runs[0]["slots"]["texts"] > runs[0]["ours"]["texts"]
