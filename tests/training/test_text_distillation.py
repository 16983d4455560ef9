"""Text distillation: the target space, the order of texts, and that the student learns."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny import a_config, snapshot, tiny_texts, tiny_tokenizer
from training.config import Config, TextDistillationConfig
from training.errors import DataError
from training.losses import cosine_loss, in_batch_loss, similarity_loss
from training.model import TeacherStudent
from training.progress import ProgressDisplay
from training.resume import State
from training.run import Run
from training.text_distillation import (
    distill_texts,
    encode_mean_pooled,
    pairs_of_step,
    principal_directions,
    set_directions,
    teacher_vectors,
    text_batches,
)
from training.texts import DistillationTexts
from training.token_table import TokenTable

MakePair = Callable[..., TeacherStudent]
TEXTS = list(tiny_texts()[:12])
ROWS = np.arange(len(TEXTS))
PAIRS = np.array([[0, 1], [2, 3], [4, 5], [4, 6]])


@pytest.fixture
def pair(make_pair: MakePair) -> TeacherStudent:
    """Return a teacher that tells texts apart, and one student layer."""
    pair = make_pair(teacher_layers=2, student_layers=1)
    # A random BERT says nearly the same of all texts; louder embeddings tell them apart.
    torch.nn.init.normal_(pair.teacher.news_encoder.backbone.embeddings.word_embeddings.weight)
    return pair


@pytest.fixture
def table() -> TokenTable:
    """Return the texts' tokens."""
    return TokenTable(TEXTS, tiny_tokenizer())


@pytest.fixture
def distilled(
    pair: TeacherStudent, tmp_path: Path, silent: ProgressDisplay
) -> Callable[..., list[dict[str, float]]]:
    """Return a function that does the stage with the pair and returns what it recorded."""

    def do(config: Config, pairs: object = PAIRS) -> list[dict[str, float]]:
        with Run(tmp_path / "run", config, teacher="tiny", progress=silent) as run:
            run.begin({}, resume=False)
            material = DistillationTexts(TEXTS, np.asarray(pairs, np.int64).reshape(-1, 2))
            folder = tmp_path / "vectors"
            state = State()
            distill_texts(
                pair, material, tiny_tokenizer(), folder, config=config, run=run, state=state
            )
            return run.metrics()

    return do


def settings(**values: object) -> Config:
    """Return settings of the stage; one batch holds all texts."""
    stage = {"passes": 1, "texts_per_step": 12, **values}
    return a_config(text_distillation=stage, model={"student_layers": 1})


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
    batches = text_batches(lengths, TextDistillationConfig(passes=2, texts_per_step=10))
    first, second = np.concatenate(batches[:100]), np.concatenate(batches[100:])
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(1000))
    assert first.tolist() != second.tolist()
    assert np.mean([np.ptp(lengths[batch]) for batch in batches]) < 4


@pytest.mark.parametrize(("texts", "steps"), [(10, 2), (11, 2), (12, 3)])
def test_a_batch_of_one_text_is_left_out(texts: int, steps: int) -> None:
    """It has no similarity to any other."""
    batches = text_batches(np.ones(texts, np.int64), TextDistillationConfig(1, texts_per_step=5))
    assert len(batches) == steps


def test_the_stage_has_a_seed_of_its_own() -> None:
    """Another one is another order of texts and other pairs."""
    lengths, pairs = np.arange(100), np.arange(200).reshape(-1, 2)
    orders, drawn = [], []
    for seed in (1, 1, 2):
        stage = TextDistillationConfig(passes=1, seed=seed, texts_per_step=10, pairs_per_step=5)
        orders.append([batch.tolist() for batch in text_batches(lengths, stage)])
        drawn.append([pairs_of_step(pairs, stage, step).tolist() for step in range(3)])
    for found in (orders, drawn):
        assert found[0] == found[1] != found[2]
    assert drawn[0][0] != drawn[0][1]


def test_pairs_of_a_step_are_distinct_and_at_most_all() -> None:
    """A pair twice would be its own wrong answer."""
    drawn = pairs_of_step(PAIRS, TextDistillationConfig(pairs_per_step=64), step=0)
    assert sorted(map(tuple, drawn)) == sorted(map(tuple, PAIRS))


def test_teacher_vectors_are_computed_once(
    pair: TeacherStudent, table: TokenTable, tmp_path: Path, silent: ProgressDisplay
) -> None:
    """Read back from their folder, even if the teacher would now say something else."""
    run = Run(tmp_path, settings(), teacher="tiny", progress=silent)
    first = teacher_vectors(pair.teacher, table, tmp_path, config=settings(), run=run)
    torch.nn.init.normal_(pair.teacher.news_encoder.backbone.embeddings.word_embeddings.weight)
    again = teacher_vectors(pair.teacher, table, tmp_path, config=settings(), run=run)
    assert torch.equal(first, again)
    torch.testing.assert_close(first.norm(dim=-1), torch.ones(len(TEXTS)))


def known_by(pair: TeacherStudent, table: TokenTable) -> torch.Tensor:
    """Return the teacher's mean-pooled vectors (N, W)."""
    return torch.from_numpy(encode_mean_pooled(pair.teacher, table, ROWS, "fp32"))


def found_by(pair: TeacherStudent, table: TokenTable) -> torch.Tensor:
    """Return the student's vectors (N, D)."""
    with torch.no_grad():
        vectors: torch.Tensor = pair.student.eval().news_encoder(*table.tokens(ROWS)).vector
    return vectors


def test_the_losses_of_the_first_step_are_those_of_all_texts(
    pair: TeacherStudent, table: TokenTable, distilled: Callable[..., list[dict[str, float]]]
) -> None:
    """Cosine to the target, difference of similarities, and the abstract of each title."""
    known = known_by(pair, table)
    directions = principal_directions(known, 8)
    set_directions(pair.student.news_encoder.dense, directions)
    ours = found_by(pair, table)
    # Text 4 is the title of two pairs: neither abstract is wrong for it.
    mask = torch.eye(4) > 0
    mask[:2, :] = mask[:, :2] = True
    scores = ours[PAIRS[:, 0]] @ ours[PAIRS[:, 1]].T / 0.5
    (record,) = distilled(settings(contrastive_weight=1.0, contrastive_temperature=0.5))
    expected = {
        "cosine": cosine_loss(ours, known @ directions.T),
        "similarity": similarity_loss(ours, known),
        "contrastive": in_batch_loss(scores, mask),
    }
    for name, value in expected.items():
        assert record[name] == pytest.approx(value.item(), rel=1e-4), name


def test_title_to_abstract_training_can_be_switched_off(
    distilled: Callable[..., list[dict[str, float]]],
) -> None:
    """At weight 0 nothing asks for pairs."""
    assert "contrastive" not in distilled(settings(), pairs=[])[0]


def test_title_to_abstract_training_without_any_pair_is_refused_by_name(
    distilled: Callable[..., list[dict[str, float]]],
) -> None:
    """Rather than train on nothing."""
    with pytest.raises(DataError, match="contrastive_weight is on, but no text has both title"):
        distilled(settings(contrastive_weight=1.0), pairs=[])


def test_titles_learn_to_find_their_abstracts(
    distilled: Callable[..., list[dict[str, float]]],
) -> None:
    """The loss falls when it is all that weighs."""
    stage = {"passes": 30, "learning_rate": 1e-2, "similarity_weight": 0.0}
    records = distilled(settings(contrastive_weight=50.0, **stage), pairs=PAIRS[:3])
    assert records[-1]["contrastive"] < records[0]["contrastive"] / 2


def test_the_student_learns_the_teachers_vectors(
    pair: TeacherStudent, table: TokenTable, distilled: Callable[..., list[dict[str, float]]]
) -> None:
    """Its loss falls by half; the teacher and the dense layer, which fixes the space, stay."""
    directions = principal_directions(known_by(pair, table), 8)
    before = snapshot(pair.teacher.news_encoder.backbone)
    records = distilled(settings(passes=40, learning_rate=1e-2))
    assert records[-1]["cosine"] < records[0]["cosine"] / 2
    torch.testing.assert_close(pair.student.news_encoder.dense.weight, directions)
    after = snapshot(pair.teacher.news_encoder.backbone)
    assert all(after[name].equal(before[name]) for name in before)


def test_a_student_as_deep_as_its_teacher_has_nothing_to_learn(
    make_pair: MakePair, table: TokenTable, tmp_path: Path, silent: ProgressDisplay
) -> None:
    """It begins as the teacher in the target space; no step is taken."""
    twins = make_pair(teacher_layers=2, student_layers=2)
    material = DistillationTexts(TEXTS, PAIRS)
    with Run(tmp_path / "run", settings(), teacher="tiny", progress=silent) as run:
        run.begin({}, resume=False)
        folder, state = tmp_path / "vectors", State()
        distill_texts(
            twins, material, tiny_tokenizer(), folder, config=settings(), run=run, state=state
        )
        assert run.metrics() == []
    targets = known_by(twins, table) @ twins.student.news_encoder.dense.weight.detach().T
    assert cosine_loss(found_by(twins, table), targets).item() == pytest.approx(0.0, abs=1e-6)


def test_no_gradient_is_left_for_the_next_stage(
    pair: TeacherStudent, distilled: Callable[..., list[dict[str, float]]]
) -> None:
    """What this stage does not train must not enter the first step on clicks."""
    distilled(settings(contrastive_weight=1.0))
    assert [name for name, p in pair.named_parameters() if p.grad is not None] == []
