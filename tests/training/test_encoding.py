"""Encoding: each distinct text once, in order, by a model that measures as it serves."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from contract.mind import write_folder
from contract.text import TextSpec
from contract.tokens import TextTokenizer
from contract.topics import read_topics
from tests.builders import a_tokenizer_json, an_article
from training.checkpoint import StudentCheckpoint
from training.encoding import TorchEncoder, encode_texts, predictor_of
from training.model import Architecture, Student, build_student

SPEC = TextSpec(max_tokens=12)
TEXTS = ["team wins", "senate vote on the law", "team wins", "", "market " * 20]


@pytest.fixture
def tokenizer() -> TextTokenizer:
    """Give the tokenizer of the tiny bundle."""
    return TextTokenizer(a_tokenizer_json(), SPEC.max_tokens)


@pytest.fixture
def model(architecture: Architecture, tokenizer: TextTokenizer) -> Student:
    """Build a random student that knows the tokenizer's words, with dropout on."""
    shape = replace(architecture, vocabulary=tokenizer.vocabulary, dropout=0.5)
    return build_student(shape).train()


def test_vectors_come_in_order_and_have_unit_length(
    model: Student, tokenizer: TextTokenizer
) -> None:
    """A repeated text has one vector, and an empty one has a vector, too."""
    vectors = TorchEncoder(model, tokenizer).vectors(TEXTS)
    assert vectors.shape == (5, 8)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert np.array_equal(vectors[0], vectors[2])
    alone = TorchEncoder(model, tokenizer).vectors(TEXTS[1:2])
    assert vectors[1] == pytest.approx(alone[0], abs=1e-5)


def test_logits_are_those_of_the_topic_head(model: Student, tokenizer: TextTokenizer) -> None:
    """(N, topics), one row for each text, without dropout."""
    logits = TorchEncoder(model, tokenizer).topic_logits(TEXTS)
    assert not model.training
    tokens = tokenizer(TEXTS[1:2])
    with torch.no_grad():
        alone = model.topic_logits(torch.from_numpy(tokens.ids), torch.from_numpy(tokens.mask))
    assert logits.shape == (5, 4)
    assert logits[1] == pytest.approx(alone[0].numpy(), abs=1e-5)


def test_no_texts_have_no_vectors(model: Student, tokenizer: TextTokenizer) -> None:
    """Of the right width."""
    assert TorchEncoder(model, tokenizer).vectors([]).shape == (0, 8)


def test_a_reader_without_clicks_is_the_zero_vector(
    model: Student, tokenizer: TextTokenizer
) -> None:
    """As in the service."""
    users = TorchEncoder(model, tokenizer).users(
        np.ones((2, 3, 8), np.float32), np.zeros((2, 3), dtype=bool)
    )
    assert (users == 0).all()


def test_each_distinct_text_is_encoded_once(tokenizer: TextTokenizer) -> None:
    """However often it is asked for; no gradient is kept."""
    rows = []

    def encode(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        rows.extend(ids.tolist())
        return (torch.ones(len(ids), 1, requires_grad=True) * mask.sum(dim=1, keepdim=True)).float()

    lengths = encode_texts(TEXTS * 3, tokenizer, encode, torch.device("cpu"))
    assert len(rows) == 4
    assert lengths[:, 0].tolist() == [4, 7, 4, 2, 12] * 3


def test_a_model_measures_as_its_checkpoint_says(model: Student, tokenizer: TextTokenizer) -> None:
    """With the checkpoint's text specification and topics."""
    names = ["mind/a", "mind/b", "x/a", "x/b"]
    checkpoint = StudentCheckpoint(model, SPEC, a_tokenizer_json(), names)
    predictor = predictor_of(model, checkpoint)
    assert predictor.spec == SPEC
    assert predictor.rank
    assert predictor.classify
    assert predictor.find


def test_changing_category_and_subcategory_changes_no_logit(
    model: Student, tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    """Of a checkpoint, although its texts for recommendation begin with both."""
    encoder = TorchEncoder(model, tokenizer)
    logits, ranked = [], []
    for topic in ("sports", "finance"):
        articles = [
            an_article(f"N{i}", title=f"Team {word}", topic=topic, subtopic=topic)
            for i, word in enumerate(("wins", "match", "cup"))
        ]
        write_folder(tmp_path / topic, articles, [])
        texts = read_topics(tmp_path / topic / "news.tsv", SPEC)
        logits.append(encoder.topic_logits([text.text for text in texts]))
        ranked.append(encoder.vectors([SPEC.text(article) for article in articles]))
    assert np.array_equal(*logits)
    # The same change is seen where topics may be seen: the comparison can fail.
    assert not np.allclose(*ranked)
