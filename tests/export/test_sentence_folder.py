"""The folder for sentence-transformers: loaded as it is, with the same vectors, or not written."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from contract.article import Vectors
from contract.bundle_folder import replace_whole
from export.errors import GraphRefused, UnsupportedModel, VectorsDiffer
from export.reference import TorchReference
from export.sentence_check import FolderEncoder, require_same_vectors
from export.sentence_folder import export_sentence_folder, sentence_files
from tests.builders import WORDS
from tests.export.models import MAX_TOKENS, a_checkpoint
from training.checkpoint import StudentCheckpoint

needs_package = pytest.mark.skipif(
    find_spec("sentence_transformers") is None,
    reason="sentence-transformers is not installed (make test installs it)",
)

VOCABULARY = [word for words in WORDS.values() for word in words]
TEXTS = [
    "",
    "goal",
    "sports soccer : Team wins the cup",
    "Élection im Sénat, Cafe\u0301 \u2014 \U0001f3c6 東京",
    "[PAD] [CLS] <pad> </s>",
    " ".join(VOCABULARY),
    *(" ".join(VOCABULARY[i : i + 1 + i % 9]) for i in range(20)),
]

# Runs as a user would: elsewhere, with none of this project's packages to be had.
USER = """
import json, sys
sys.modules.update(dict.fromkeys(("contract", "export", "training", "service", "newsbert")))
import numpy as np
from sentence_transformers import SentenceTransformer
texts = json.load(sys.stdin)
facts = {}
for folder in sys.argv[1:]:
    model = SentenceTransformer(folder, device="cpu")
    vectors = [model.encode(texts, batch_size=size) for size in (1, 32)]
    np.save(folder + ".npy", np.stack(vectors))
    facts[folder] = {
        "classes": [f"{type(m).__module__}.{type(m).__name__}" for m in model],
        "dim": model.get_embedding_dimension(),
        "max_tokens": model.max_seq_length,
        "similarity": model.similarity_fn_name,
        "parameters": sorted({name.split(".")[0] for name, _ in model[0].model.named_parameters()}),
    }
print(json.dumps(facts))
"""


def with_byte_level_tokenizer() -> StudentCheckpoint:
    """Build a RoBERTa whose tokenizer is of the kind that RoBERTa has."""
    from tokenizers import ByteLevelBPETokenizer, processors

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(TEXTS, vocab_size=300, special_tokens=special)
    tokenizer._tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    checkpoint = a_checkpoint(family="roberta", layers=1, vocabulary=300)
    return replace(checkpoint, tokenizer_json=tokenizer.to_str().encode())


CHECKPOINTS = {
    "bert-1": lambda: a_checkpoint(layers=1),
    "bert-2": a_checkpoint,
    "bert-3": lambda: a_checkpoint(layers=3),
    "roberta-1": with_byte_level_tokenizer,
    "roberta-3": lambda: a_checkpoint(family="roberta", layers=3),
    "xlm-roberta-2": lambda: a_checkpoint(family="xlm-roberta"),
    "camembert-1": lambda: a_checkpoint(family="camembert", layers=1),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory with one folder for each checkpoint."""
    root = tmp_path_factory.mktemp("sentences")
    for name, build in CHECKPOINTS.items():
        export_sentence_folder(build(), root / name)
    return root


@pytest.fixture(scope="module")
def facts(folders: Path) -> dict[str, Any]:
    """Load every folder with sentence-transformers in one other process: facts of each by name."""
    paths = [str(folders / name) for name in CHECKPOINTS]
    environment = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", USER, *paths],
        input=json.dumps(TEXTS), cwd=folders, env=environment, text=True, capture_output=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {Path(path).name: found for path, found in json.loads(done.stdout).items()}


@needs_package
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_vectors_are_those_of_torch(name: str, folders: Path, facts: dict[str, Any]) -> None:
    """Each text alone and among all others: inner product of unit vectors at least 0.9999."""
    expected = TorchReference(CHECKPOINTS[name]()).vectors(TEXTS)
    found: Vectors = np.load(folders / f"{name}.npy")
    assert found.shape == (2, *expected.shape)
    assert (found * expected).sum(axis=2).min() >= 0.9999


@needs_package
def test_all_modules_are_stock_and_the_settings_arrive(facts: dict[str, Any]) -> None:
    """No code comes with a folder, no pooler appears, texts are cut as specified."""
    for found in facts.values():
        assert all(path.startswith("sentence_transformers.") for path in found["classes"])
        assert (found["dim"], found["max_tokens"]) == (8, MAX_TOKENS)
        assert found["similarity"] == "cosine"
        assert found["parameters"] == ["embeddings", "encoder"]


@needs_package
@pytest.mark.parametrize("name", ["bert-2", "roberta-1"])
def test_the_check_encodes_like_the_package(
    name: str, folders: Path, facts: dict[str, Any]
) -> None:
    """What export reads back without the package is what the package makes of the folder."""
    found = np.load(folders / f"{name}.npy")[1]
    np.testing.assert_allclose(FolderEncoder(folders / name).vectors(TEXTS), found, atol=1e-5)


def test_a_folder_holds_no_code_and_no_pickle(folders: Path) -> None:
    """JSON, safetensors and a card."""
    for name in CHECKPOINTS:
        files = [path for path in (folders / name).rglob("*") if path.is_file()]
        assert {path.suffix for path in files} == {".json", ".safetensors", ".md"}


def test_the_card_says_how_to_load_and_what_a_text_is() -> None:
    """Example, joined fields, cut, figures and origin."""
    card = sentence_files(a_checkpoint())["README.md"].decode()
    for part in (
        "library_name: sentence-transformers",
        "SentenceTransformer(",
        "    sports soccer : Title\n",
        f"{MAX_TOKENS} tokens",
        "| teacher, at training | 0.7000 |",
        "teacher, search: recall10 0.5000",
        "Distilled from `a-teacher`",
        "no prompts",
    ):
        assert part in card


def test_the_same_checkpoint_gives_the_same_files() -> None:
    """Every byte is that of the first export."""
    assert sentence_files(a_checkpoint()) == sentence_files(a_checkpoint())


def test_no_file_names_a_directory_of_the_machine() -> None:
    """A local teacher keeps two names; a path anywhere else is refused."""
    local = {"teacher": "/" + "opt/models/minilm"}
    card = sentence_files(replace(a_checkpoint(), provenance=local))["README.md"].decode()
    assert "`models/minilm`" in card
    told = {"data": "clicks in /" + "opt/clicks"}
    with pytest.raises(GraphRefused, match="holds the path"):
        sentence_files(replace(a_checkpoint(), provenance=told))


def test_a_second_export_replaces_the_first(tmp_path: Path) -> None:
    """An earlier folder is ours to replace; the report tells size and closeness."""
    target = tmp_path / "folder"
    export_sentence_folder(a_checkpoint(layers=1), target)
    written = export_sentence_folder(a_checkpoint(layers=2), target)
    assert json.loads((target / "config.json").read_bytes())["num_hidden_layers"] == 2
    assert written.size_bytes == sum(p.stat().st_size for p in target.rglob("*") if p.is_file())
    assert 0.9999 <= written.least_cosine <= 1.00001


def negated(name: str, tensor: str) -> tuple[str, Any]:
    """Turn the sign of one tensor of a file."""

    def spoil(raw: bytes) -> bytes:
        tensors = load(raw)
        tensors[tensor] = -tensors[tensor]
        return save(tensors, {"format": "pt"})

    return name, spoil


def rewritten(name: str, old: bytes, new: bytes) -> tuple[str, Any]:
    """Replace a part of a file."""

    def spoil(raw: bytes) -> bytes:
        assert old in raw
        return raw.replace(old, new)

    return name, spoil


SPOILT = (
    negated("model.safetensors", "encoder.layer.0.attention.self.value.weight"),
    negated("model.safetensors", "embeddings.position_embeddings.weight"),
    negated("1_Dense/model.safetensors", "linear.weight"),
    negated("2_Dense/model.safetensors", "linear.weight"),
    rewritten("config.json", b'"num_hidden_layers": 2', b'"num_hidden_layers": 1'),
    rewritten("sentence_bert_config.json", b": 16", b": 8"),
    rewritten("tokenizer.json", b'"lowercase":true', b'"lowercase":false'),
)


@pytest.mark.parametrize(("name", "spoil"), SPOILT)
def test_a_spoilt_folder_is_never_put_in_place(name: str, spoil: Any, tmp_path: Path) -> None:
    """The check sees weights, depth, length and tokenizer."""
    checkpoint, target = a_checkpoint(), tmp_path / "folder"
    files = sentence_files(checkpoint)
    files[name] = spoil(files[name])
    with pytest.raises(VectorsDiffer, match="no folder written"):
        replace_whole(target, files, check=lambda folder: require_same_vectors(folder, checkpoint))
    assert list(tmp_path.iterdir()) == []


def with_query(length: float) -> StudentCheckpoint:
    """Build a student whose attention scores may reach so far."""
    checkpoint = a_checkpoint()
    with torch.no_grad():
        query = checkpoint.model.news_encoder.pooling.query.weight
        query *= length / query.abs().sum()
    return checkpoint


@pytest.mark.parametrize("length", [0.0, 0.1, 5.0, 15.9])
def test_flat_and_sharp_attention_come_out_alike(length: float, tmp_path: Path) -> None:
    """Exponentials as gates hold from the plain mean to nearly one token alone."""
    written = export_sentence_folder(with_query(length), tmp_path / "folder")
    assert written.least_cosine >= 0.999999


def test_attention_that_no_gate_can_hold_is_refused(tmp_path: Path) -> None:
    """Scores that may exceed 16 could leave a vector short."""
    with pytest.raises(UnsupportedModel, match=r"attention scores may reach 16\.5"):
        export_sentence_folder(with_query(16.5), tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
