"""Frozen teacher: a tiny random one, matched by the mean of what was read."""

from pathlib import Path

import numpy as np
import pytest

from contract.measuring import TopicTexts
from contract.mind import MindFolder
from contract.search import Query, SearchFolder
from contract.topics import LabelledText
from tests.builders import a_catalogue, an_impression
from training.baselines.frozen import SPEC, FrozenEncoder, frozen_teacher
from training.config import ModelConfig, RandomTeacherConfig
from training.teacher import Teacher, load_teacher, random_teacher

ARTICLES = a_catalogue(12)


@pytest.fixture
def teacher() -> Teacher:
    """Build a random teacher of two layers."""
    texts = [SPEC.text(article) for article in ARTICLES]
    shape = RandomTeacherConfig(layers=2, hidden=16, heads=2, vocabulary=120)
    return random_teacher(texts, ModelConfig(dim=8), shape, topics=0, seed=1)


@pytest.fixture
def source(teacher: Teacher, tmp_path: Path) -> Path:
    """Save it as a pretrained model is published."""
    from tokenizers import Tokenizer
    from transformers import BertModel, PreTrainedTokenizerFast

    assert isinstance(teacher.backbone, BertModel)
    teacher.backbone.save_pretrained(tmp_path)
    tokenizer = Tokenizer.from_str(teacher.tokenizer_json.decode())
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]").save_pretrained(tmp_path)
    return tmp_path


def test_texts_have_unit_vectors_whatever_their_batch(teacher: Teacher) -> None:
    """The mean over a text's own tokens, not over padding."""
    encoder = FrozenEncoder(teacher)
    texts = ["new team", " ".join(["senate"] * 30), "new team"]
    vectors = encoder.vectors(texts)
    assert vectors.shape == (3, 16)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert vectors[2] == pytest.approx(encoder.vectors(["new team"])[0], abs=1e-5)


def test_a_reader_is_the_mean_of_the_clicks(teacher: Teacher) -> None:
    """Masked ones do not count, none at all are zeros."""
    history = np.array([[[1, 0], [0, 1], [9, 9]], [[9, 9]] * 3], dtype=np.float32)
    mask = np.array([[True, True, False], [False] * 3])
    users = FrozenEncoder(teacher).users(history, mask)
    assert users.tolist() == [[0.5, 0.5], [0, 0]]
    assert users.dtype == np.float32


def test_a_pretrained_folder_does_all_three_tasks(source: Path) -> None:
    """An article is most like itself, for readers and for queries; topics are learnt from texts."""
    predictor = frozen_teacher(str(source))
    assert predictor.rank
    assert predictor.find
    assert predictor.classify
    shown = an_impression(history=("N1",), candidates=("N2", "N1", "N3"))
    assert predictor.rank(MindFolder(ARTICLES, [shown]))[0].argmax() == 1
    query = Query("1", SPEC.text(ARTICLES[5]), ("N5",))
    assert predictor.find(SearchFolder(ARTICLES, [], [query]))[0][0] == "N5"
    texts = [LabelledText(a.id, SPEC.topic_text(a), f"x/{a.topic}") for a in ARTICLES]
    found = predictor.classify("x", TopicTexts(texts, texts))
    assert np.mean([name == text.topic for name, text in zip(found, texts, strict=True)]) > 0.5


def test_the_teacher_is_the_one_that_students_learn_from(source: Path, teacher: Teacher) -> None:
    """Loaded by the same code, from the same files."""
    loaded = load_teacher(str(source), ModelConfig(), topics=0)
    assert FrozenEncoder(loaded).vectors(["new cup"]) == pytest.approx(
        FrozenEncoder(teacher).vectors(["new cup"]), abs=1e-6
    )
