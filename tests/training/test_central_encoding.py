"""Central encoding: each text once, in chunks of like length, and nothing changes by it."""

from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter
from typing import Any

import numpy as np
import pytest
import torch

from tests.tiny import a_batch, a_distillation, only_weights, unsettled
from training.central_encoding import (
    Encoded,
    encode_batch,
    encode_rows,
    remembered,
    text_chunks,
)
from training.config import Config, RunConfig
from training.distill import TrainingData, needed_rows, step_losses
from training.model import Student, TeacherStudent
from training.token_table import Rows

TEXTS = np.array([3, 50, 31, 8, 12])


@pytest.fixture
def pair(make_pair: Callable[..., TeacherStudent]) -> TeacherStudent:
    """Return four teacher layers and two student layers, away from their starting point."""
    return unsettled(make_pair()).eval()


def encoded(
    pair: TeacherStudent, data: TrainingData, texts: Rows = TEXTS, **settings: Any
) -> Encoded:
    """Encode some texts under changed settings."""
    return encode_batch(pair, data.texts, texts, config=a_distillation(**settings))


def alone(model: Student, data: TrainingData, text: int) -> Any:
    """Encode one text without any padding."""
    return model.news_encoder(*data.texts.tokens([text]))


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize(
    "settings", [{"tokens_per_chunk": 12}, {"tokens_per_chunk": 4096}, {"length_bucketing": False}]
)
def test_every_text_has_the_outputs_it_has_alone(
    make_pair: Callable[..., TeacherStudent],
    data: TrainingData,
    family: str,
    settings: dict[str, Any],
) -> None:
    """Neither its neighbours nor their lengths change them, for either model."""
    pair = unsettled(make_pair(family=family)).eval()
    found = encoded(pair, data, **settings)
    assert found.teacher is not None
    for outputs, model in ((found.student, pair.student), (found.teacher, pair.teacher)):
        for place, text in enumerate(TEXTS):
            expected = alone(model, data, text)
            torch.testing.assert_close(outputs.vectors[place], expected.vector[0])
            torch.testing.assert_close(outputs.pooled[place], expected.pooled[0])


def test_losses_between_states_are_means_over_tokens_and_texts(
    pair: TeacherStudent, data: TrainingData
) -> None:
    """Worked out text by text: student layers 1, 2 against teacher layers 2, 4."""
    both = [[alone(m, data, text) for text in TEXTS] for m in (pair.student, pair.teacher)]

    def error(ours: Callable[[Any], Any], theirs: Callable[[Any], Any]) -> torch.Tensor:
        differences = [(ours(s) - theirs(t)).view(-1, 16) for s, t in zip(*both, strict=True)]
        return torch.cat(differences).square().mean()

    layers = [
        error(lambda s: s.hidden_states[0], lambda t: t.hidden_states[1]),
        error(lambda s: s.hidden_states[1], lambda t: t.hidden_states[3]),
    ]
    found = encoded(pair, data, tokens_per_chunk=12).losses
    torch.testing.assert_close(found["hidden"], layers[0] + layers[1])
    for name in ("embedding", "pooled"):
        of = attrgetter({"embedding": "embeddings"}.get(name, name))
        torch.testing.assert_close(found[name], error(of, of))


@pytest.mark.parametrize(
    "settings",
    [
        {"central_encoding": False},
        {"length_bucketing": False},
        {"central_encoding": False, "length_bucketing": False},
        {"tokens_per_chunk": 20},
        {"central_encoding": False, "tokens_per_chunk": 20},
    ],
)
def test_how_a_batch_is_encoded_changes_no_loss(
    pair: TeacherStudent, data: TrainingData, settings: dict[str, Any]
) -> None:
    """All losses of all tasks, with dropout off."""

    def losses(config: Config) -> dict[str, torch.Tensor]:
        return step_losses(pair, a_batch(config), data, config=config)

    expected = losses(a_distillation())
    assert len(expected) == 12
    torch.testing.assert_close(losses(a_distillation(**settings)), expected, atol=1e-5, rtol=1e-5)


def test_without_bucketing_all_texts_are_padded_to_the_longest(data: TrainingData) -> None:
    """One chunk, in the order of the batch; with it, more, the shortest texts first."""
    at_once = text_chunks(data.texts, TEXTS, a_distillation(length_bucketing=False))
    assert [chunk.tolist() for chunk in at_once] == [[0, 1, 2, 3, 4]]
    bucketed = text_chunks(data.texts, TEXTS, a_distillation(tokens_per_chunk=12))
    lengths = data.texts.lengths[TEXTS[np.concatenate(bucketed)]]
    assert len(bucketed) > 1
    assert lengths.tolist() == sorted(lengths)


@pytest.mark.parametrize("name", ["embedding", "hidden", "pooled"])
def test_a_weight_of_0_leaves_a_loss_between_states_out(
    pair: TeacherStudent, data: TrainingData, name: str
) -> None:
    """The others stay; alone, it is the only one."""
    rest = {"embedding", "hidden", "pooled"} - {name}
    assert set(encoded(pair, data, weights={name: 0.0}).losses) == rest
    assert set(encoded(pair, data, weights=only_weights(**{name: 1.0})).losses) == {name}


def test_a_joint_teacher_is_encoded_with_gradients_and_a_fixed_one_without(
    pair: TeacherStudent, data: TrainingData
) -> None:
    """A fixed one is encoded at all only where its states are compared."""
    joint, fixed = (encoded(pair, data, joint=joint) for joint in (True, False))
    assert joint.teacher is not None
    assert fixed.teacher is not None
    assert joint.teacher.vectors.requires_grad
    assert not fixed.teacher.vectors.requires_grad
    assert not fixed.teacher.pooled.requires_grad
    weights = only_weights(gold=1.0, distill=1.0, pooled=1.0)
    assert encoded(pair, data, joint=False, weights=weights).teacher is None


def test_a_fixed_teachers_outputs_are_computed_once_and_found_by_row(
    pair: TeacherStudent, data: TrainingData
) -> None:
    """They do not follow the teacher, and the pooled loss is taken from them."""
    config = a_distillation(joint=False, weights=only_weights(pooled=1.0))
    fixed = remembered(pair.teacher, data.texts, needed_rows(data.rows), config)
    expected = encoded(pair, data)
    with torch.no_grad():
        pair.teacher.news_encoder.backbone.encoder.layer[0].output.dense.weight.add_(1.0)
    found = encode_batch(pair, data.texts, TEXTS, config=config, fixed=fixed)
    assert found.teacher is not None
    assert expected.teacher is not None
    torch.testing.assert_close(found.teacher.vectors, expected.teacher.vectors)
    torch.testing.assert_close(found.losses["pooled"], expected.losses["pooled"])
    assert set(found.losses) == {"pooled"}


def test_a_row_that_is_not_remembered_is_refused(pair: TeacherStudent, data: TrainingData) -> None:
    """It never gets another row's outputs."""
    known = remembered(pair.teacher, data.texts, np.array([3, 5]), a_distillation())
    assert known(np.array([5, 3, 5])).vectors.shape == (3, 8)
    with pytest.raises(LookupError, match=r"not encoded: rows \[4, 6\]"):
        known(np.array([3, 4, 5, 6]))


def test_rows_encoded_for_keeps_have_no_dropout_and_no_gradient(
    pair: TeacherStudent, data: TrainingData
) -> None:
    """The model comes out in evaluation mode."""
    found = encode_rows(pair.student.train(), data.texts, TEXTS, a_distillation())
    assert not pair.student.training
    assert not found.vectors.requires_grad
    torch.testing.assert_close(found.vectors, encoded(pair, data).student.vectors.detach())


def test_all_needed_rows_are_those_that_any_batch_reads(data: TrainingData) -> None:
    """What a step asks for is remembered."""
    needed = set(needed_rows(data.rows).tolist())
    config = a_distillation(negatives_per_click=0)
    for epoch in range(20):
        assert set(a_batch(config, epoch=epoch).texts.tolist()) <= needed
    assert len(needed) == len(needed_rows(data.rows))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_close_and_what_is_ranked_stays_in_fp32(
    pair: TeacherStudent, data: TrainingData, precision: str
) -> None:
    """Only the transformer runs in half the bits."""
    config = replace(a_distillation(), run=RunConfig(precision=precision))
    full, found = encoded(pair, data), encode_batch(pair, data.texts, TEXTS, config=config)
    assert found.student.vectors.dtype == found.student.pooled.dtype == torch.float32
    assert not torch.equal(found.student.vectors, full.student.vectors)
    torch.testing.assert_close(found.student.vectors, full.student.vectors, atol=0.05, rtol=0.05)
    torch.testing.assert_close(found.losses, full.losses, atol=0.05, rtol=0.05)
