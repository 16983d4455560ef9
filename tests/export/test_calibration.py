"""Calibration: texts that are the same everywhere, and what they show of each channel."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from export.calibration import (
    SAMPLE_TEXTS,
    Reach,
    calibration_record,
    calibration_rows,
    measure_reach,
)
from export.hard_texts import UNSEEN_TEXTS, hard_rows, random_rows
from export.sentence_check import TEXTS
from tests.builders import a_catalogue
from tests.export.models import MAX_TOKENS, VOCABULARY, a_checkpoint, a_folder, a_student, some_rows

CLS, SEP = 2, 3


def flat(reach: Reach) -> np.ndarray:
    """Put all maxima of a student in one row."""
    layers = [getattr(r, n) for r in reach.layers for n in ("query", "attended", "intermediate")]
    return np.concatenate([*layers, reach.projection])


def test_samples_odd_texts_and_random_tokens_are_calibrated_on() -> None:
    """All of each, none empty, the samples first."""
    checkpoint, folder = a_checkpoint(), a_folder()
    rows = calibration_rows(checkpoint, folder)
    tokenizer = checkpoint.tokenizer()
    samples = tokenizer.rows([checkpoint.spec.text(article) for article in folder.articles])
    assert rows[: len(samples)] == samples
    assert all(row in rows for row in tokenizer.rows(TEXTS))
    assert all(row in rows for row in random_rows(checkpoint, 128, seed=0))
    assert all(rows)


def test_a_large_archive_of_samples_is_not_encoded_whole() -> None:
    """The first texts are enough; those that occur twice count once."""
    folder = a_folder()
    few = calibration_rows(a_checkpoint(), folder)
    twice = replace(folder, articles=[*folder.articles, *folder.articles])
    assert calibration_rows(a_checkpoint(), twice) == few
    many = replace(folder, articles=a_catalogue(2 * SAMPLE_TEXTS))
    assert len(calibration_rows(a_checkpoint(), many)) == len(few) - 40 + SAMPLE_TEXTS


def test_the_record_names_the_texts() -> None:
    """Equal texts have an equal record, others another."""
    rows = calibration_rows(a_checkpoint(), a_folder())
    record = calibration_record(rows)
    assert record == calibration_record(calibration_rows(a_checkpoint(), a_folder()))
    assert record["texts"] == len(rows)
    assert calibration_record(rows[1:])["sha256"] != record["sha256"]


def test_the_gate_asks_for_texts_that_were_not_calibrated_on() -> None:
    """Hard texts hold scripts, repeats and random tokens that the scales have not seen."""
    checkpoint = a_checkpoint()
    known = calibration_rows(checkpoint, a_folder())
    unseen = [row for row in hard_rows(checkpoint) if row not in known]
    assert len(unseen) >= len(UNSEEN_TEXTS) + 10


def test_random_texts_are_framed_and_hold_every_special_token() -> None:
    """Any id of the table, any length, the same for a seed."""
    rows = random_rows(a_checkpoint(), 128, seed=0)
    assert {(row[0], row[-1]) for row in rows} == {(CLS, SEP)}
    lengths, inner = {len(row) for row in rows}, {i for row in rows for i in row[1:-1]}
    assert lengths == set(range(3, MAX_TOKENS + 1))
    assert {0, CLS, SEP} <= inner
    assert max(inner) < VOCABULARY
    assert (
        random_rows(a_checkpoint(), 128, seed=0) == rows != random_rows(a_checkpoint(), 128, seed=1)
    )


def test_every_text_counts_and_their_order_does_not() -> None:
    """The reach of all is the largest of the reaches of parts, in whatever batches."""
    student, rows = a_student(), some_rows()
    whole = flat(measure_reach(student, rows))
    parts = [flat(measure_reach(student, rows[i::3])) for i in range(3)]
    np.testing.assert_allclose(whole, np.max(parts, axis=0), rtol=1e-12)
    np.testing.assert_allclose(whole, flat(measure_reach(student, rows[::-1])), rtol=1e-12)


def test_what_attention_passes_on_is_seen_without_the_values_bias() -> None:
    """The graph adds that bias later, so its levels need no room for it."""
    student = a_student(layers=1)
    before = measure_reach(student, some_rows()).layers[0].attended
    backbone: Any = student.news_encoder.backbone
    with torch.no_grad():
        backbone.encoder.layer[0].attention.self.value.bias += 100.0
    np.testing.assert_allclose(measure_reach(student, some_rows()).layers[0].attended, before)


def test_the_student_is_left_as_it_was() -> None:
    """Calibration watches a copy."""
    student = a_student()
    measure_reach(student, some_rows())
    assert {parameter.dtype for parameter in student.parameters()} == {torch.float32}
    assert not any(module._forward_pre_hooks for module in student.modules())
