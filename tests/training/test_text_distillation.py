"""Text distillation: the target space, the order of texts, and that the student learns."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from contract.tokens import TextTokenizer
from training.batches import TokenTable
from training.config import Config, TextDistillationConfig
from training.losses import cosine_loss
from training.model import TeacherStudent
from training.progress import ProgressDisplay
from training.resume import State
from training.run import Run
from training.teacher import train_tokenizer
from training.text_distillation import (
    distill_texts,
    encode_mean_pooled,
    principal_directions,
    set_directions,
    teacher_vectors,
    text_batches,
)

MakePair = Callable[..., TeacherStudent]
TEXTS = [f"{a} {b}" for a in ("goal", "vote", "film", "rain") for b in ("one", "two", "three")]


def test_principal_directions_keep_the_inner_products() -> None:
    """Vectors in a plane of five dimensions lose nothing in two directions."""
    vectors = torch.randn(20, 2) @ torch.randn(2, 5)
    projected = vectors @ principal_directions(vectors, 2).T
    torch.testing.assert_close(projected @ projected.T, vectors @ vectors.T)


def test_more_dimensions_than_the_teacher_has_stay_zero() -> None:
    """A teacher of width 3 fills 3 of 5 dimensions, still without loss."""
    directions = principal_directions(torch.randn(9, 3), 5)
    assert directions.shape == (5, 3)
    torch.testing.assert_close(directions.T @ directions, torch.eye(3))


def test_the_teachers_own_vector_starts_as_its_target(make_pair: MakePair) -> None:
    """Mean pooling and principal directions: shared modules begin where the teacher is right."""
    pair = make_pair().eval()
    ids = torch.tensor([[5, 6, 7], [8, 9, 10]])
    mask = torch.ones_like(ids)
    states = pair.teacher.news_encoder(ids, mask).hidden_states[-1]
    means = states.mean(dim=1).detach()
    directions = principal_directions(means, 8)
    set_directions(pair.student.news_encoder.dense, directions)
    target = torch.nn.functional.normalize(means @ directions.T, dim=-1)
    torch.testing.assert_close(pair.teacher.news_encoder(ids, mask).vector, target)


def test_every_pass_meets_every_text_once_in_another_order() -> None:
    """Length bucketing must not lose texts."""
    lengths = np.arange(1000) % 17
    settings = TextDistillationConfig(passes=2, texts_per_step=10)
    batches = text_batches(lengths, settings, seed=1)
    first, second = np.concatenate(batches[:100]), np.concatenate(batches[100:])
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(1000))
    assert first.tolist() != second.tolist()
    assert np.mean([np.ptp(lengths[batch]) for batch in batches]) < 4


@pytest.fixture
def table() -> TokenTable:
    """Return the texts' tokens."""
    return TokenTable(TEXTS, tokenizer())


def tokenizer() -> TextTokenizer:
    """Return a tokenizer that knows the texts."""
    return TextTokenizer(train_tokenizer(TEXTS, 50).to_str().encode(), 12)


def test_teacher_vectors_are_computed_once(
    make_pair: MakePair,
    table: TokenTable,
    tmp_path: Path,
    config: Config,
    silent: ProgressDisplay,
) -> None:
    """A second run reads them back, even if the teacher would now say something else."""
    run = Run(tmp_path, config, teacher="tiny", progress=silent)
    first = teacher_vectors(make_pair().teacher, TEXTS, table, config=config, run=run)
    again = teacher_vectors(make_pair().teacher, TEXTS, table, config=config, run=run)
    assert torch.equal(first, again)
    torch.testing.assert_close(first.norm(dim=-1), torch.ones(len(TEXTS)))


def test_the_student_learns_the_teachers_vectors(
    make_pair: MakePair, table: TokenTable, tmp_path: Path, config: Config, silent: ProgressDisplay
) -> None:
    """The cosine loss on the texts falls by half; the shared dense layer is not moved by it."""
    settings = replace(config.text_distillation, passes=40, texts_per_step=12, learning_rate=1e-2)
    config = replace(config, text_distillation=settings)
    pair = make_pair(teacher_layers=2, student_layers=1)
    # A random BERT says nearly the same of all texts; louder embeddings tell them apart.
    torch.nn.init.normal_(pair.teacher.news_encoder.backbone.embeddings.word_embeddings.weight)
    rows = np.arange(len(TEXTS))
    known = torch.from_numpy(encode_mean_pooled(pair.teacher, table, rows, "fp32"))
    directions = principal_directions(known, 8)
    set_directions(pair.student.news_encoder.dense, directions)

    def loss() -> float:
        with torch.no_grad():
            vectors = pair.student.news_encoder(*table.tokens(rows)).vector
        return float(cosine_loss(vectors, known @ directions.T))

    before = loss()
    run = Run(tmp_path, config, teacher="tiny", progress=silent)
    distill_texts(pair, TEXTS, tokenizer(), config=config, run=run, state=State())
    assert loss() < before / 2
    torch.testing.assert_close(pair.student.news_encoder.dense.weight, directions)


def test_no_gradient_is_left_for_the_next_stage(
    make_pair: MakePair, tmp_path: Path, config: Config, silent: ProgressDisplay
) -> None:
    """What this stage does not train must not enter the first step on clicks."""
    pair = make_pair(teacher_layers=2, student_layers=1)
    run = Run(tmp_path, config, teacher="tiny", progress=silent)
    distill_texts(pair, TEXTS, tokenizer(), config=config, run=run, state=State())
    assert [name for name, p in pair.named_parameters() if p.grad is not None] == []
