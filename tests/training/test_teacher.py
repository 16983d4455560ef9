"""Teacher: loaded from a folder of either family, or made up; refused where it cannot serve."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import DistilBertConfig

from contract.tokens import TextTokenizer
from tests.tiny import PRETRAINED_TEXTS, save_pretrained
from training.config import ModelConfig, RandomTeacherConfig
from training.errors import TeacherError
from training.model import pair_with_teacher
from training.teacher import load_teacher, random_teacher, train_tokenizer

MODEL = ModelConfig(student_layers=1, dim=8, query_width=4, dropout=0.0)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_local_folder_of_either_family(tmp_path: Path, family: str) -> None:
    """Its layers give the same states as transformers' own model, and a student can be made."""
    original = save_pretrained(tmp_path / "tiny", family)
    teacher = load_teacher(str(tmp_path / "tiny"), MODEL, topics=3)
    pair = pair_with_teacher(teacher.architecture, teacher.backbone, student_layers=1).eval()
    ids = torch.tensor([[5, 6, 7]])
    mask = torch.ones_like(ids)
    with torch.no_grad():
        expected = original(input_ids=ids, attention_mask=mask).last_hidden_state
        found = pair.teacher.news_encoder(ids, mask).hidden_states[-1]
    torch.testing.assert_close(found, expected)
    assert teacher.architecture.family == family
    assert teacher.source == f"{tmp_path.name}/tiny"
    assert pair.student.news_encoder(ids, mask).vector.shape == (1, 8)


def test_only_the_first_layers_if_so_configured(tmp_path: Path) -> None:
    """One layer of two; more than there are is refused."""
    save_pretrained(tmp_path, "bert")
    shallow = ModelConfig(teacher_layers=1)
    assert load_teacher(str(tmp_path), shallow, topics=3).architecture.layers == 1
    with pytest.raises(TeacherError, match="teacher_layers = 5, but the teacher has 2"):
        load_teacher(str(tmp_path), ModelConfig(teacher_layers=5), topics=3)


def test_another_family_or_an_empty_folder_is_refused(tmp_path: Path) -> None:
    """The message names the teacher or its family."""
    DistilBertConfig().save_pretrained(tmp_path / "distil")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TeacherError, match="family 'distilbert'"):
        load_teacher(str(tmp_path / "distil"), MODEL, topics=3)
    with pytest.raises(TeacherError, match="empty"):
        load_teacher(str(tmp_path / "empty"), MODEL, topics=3)


def test_a_random_teacher_is_the_same_every_time() -> None:
    """Vocabulary and weights follow from texts and seed."""
    shape = RandomTeacherConfig(layers=2, hidden=16, heads=2, vocabulary=60)
    first, second = (
        random_teacher(PRETRAINED_TEXTS, MODEL, shape, topics=3, seed=5) for _ in range(2)
    )
    assert first.tokenizer_json == second.tokenizer_json
    for ours, theirs in zip(first.backbone.parameters(), second.backbone.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_fingerprint_stands_for_weights_and_tokenizer() -> None:
    """Equal teachers have one, whatever they are called; a changed weight or token has another."""
    shape = RandomTeacherConfig(layers=2, hidden=16, heads=2, vocabulary=60)
    first, second = (
        random_teacher(PRETRAINED_TEXTS, MODEL, shape, topics=3, seed=5) for _ in range(2)
    )
    assert first.fingerprint == replace(second, source="elsewhere").fingerprint
    assert first.fingerprint != replace(second, tokenizer_json=b"{}").fingerprint
    with torch.no_grad():
        next(iter(second.backbone.parameters()))[3, 3] += 1e-6
    assert first.fingerprint != second.fingerprint


def test_the_tokenizer_knows_frequent_words_and_spells_others() -> None:
    """`and` is one token, an unseen word is spelt in letters, all between [CLS] and [SEP]."""
    tokenizer = TextTokenizer(train_tokenizer(PRETRAINED_TEXTS, 60).to_str().encode(), 12)
    known, spelt = tokenizer.rows(["AND", "tan"])
    assert (known[0], known[-1], len(known)) == (2, 3, 3)
    assert len(spelt) == 5
    assert 1 not in spelt
