"""Every package gets the same weights in its own form; what is missing is told."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from benchmarks import encoder_folders as folders
from benchmarks import students
from benchmarks.comparison import BenchmarkError
from benchmarks.encoder_legs import OURS, Leg, LineUp, Material, is_of, line_up
from benchmarks.teacher import TorchTeacher
from contract.bundle import CLICK_MODEL, TOKENIZER, open_bundle
from contract.encoder import BundleEncoder
from contract.text import TextSpec
from contract.vectors import cosine
from export.package import draft
from export.reference import TorchReference
from tests.export.models import a_checkpoint, an_architecture, some_tokens
from tests.export.models import run as run_graph
from tests.tiny import save_pretrained
from training.checkpoint import save_checkpoint
from training.model import build_backbone
from training.teacher import Teacher

BUNDLE = Path(__file__).parents[2] / "bundles" / "newsbert"
SPEC = TextSpec(max_tokens=8)
TEXTS = ["a goal", "the senate votes on rain and storm and rain and storm", "film"]


@pytest.fixture(scope="module")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random teacher as the hub would give it."""
    folder = tmp_path_factory.mktemp("teacher")
    save_pretrained(folder, "bert")
    file = str(folder / "tokenizer.json")
    PreTrainedTokenizerFast(tokenizer_file=file, pad_token="[PAD]").save_pretrained(folder)
    return folder


def a_teacher(layers: int) -> Teacher:
    """Return a teacher of the tiny student's shape."""
    torch.manual_seed(7)
    architecture = an_architecture(layers=layers)
    return Teacher(build_backbone(architecture), architecture, a_checkpoint().tokenizer_json, "-")


def test_a_teacher_is_a_student_that_pools_by_the_mean(teacher_folder: Path) -> None:
    """Its vectors are those of transformers with mean pooling, cut at the students' tokens."""
    mean = students.mean_pooling_checkpoint(students.pretrained(str(teacher_folder)), SPEC)
    ours = TorchReference(mean).vectors(TEXTS)
    usual = TorchTeacher(str(teacher_folder), max_tokens=8, threads=1).vectors(TEXTS)
    assert cosine(ours, usual) == pytest.approx(1, abs=1e-5)


def test_the_teacher_runs_as_a_bundle(teacher_folder: Path, tmp_path: Path) -> None:
    """In our runner, in float32, with its own tokenizer and width."""
    mean = students.mean_pooling_checkpoint(students.pretrained(str(teacher_folder)), SPEC)
    folder = folders.write_float_bundle(tmp_path / "b", mean, open_bundle(BUNDLE))
    found = BundleEncoder(open_bundle(folder)).vectors(TEXTS)
    assert cosine(found, TorchReference(mean).vectors(TEXTS)) == pytest.approx(1, abs=1e-5)


def test_one_layer_is_the_first_of_the_students() -> None:
    """With all its heads."""
    own = a_checkpoint()
    cut = students.with_layers(own, 1, None).model
    state, known = cut.state_dict(), own.model.state_dict()
    assert cut.architecture.layers == 1
    assert all(torch.equal(tensor, known[name]) for name, tensor in state.items())


def test_a_third_layer_is_the_teachers() -> None:
    """On top of the student's own two."""
    own, teacher = a_checkpoint(), a_teacher(4)
    layers = students.with_layers(own, 3, teacher).model.news_encoder.backbone.state_dict()
    known, above = own.model.news_encoder.backbone.state_dict(), teacher.backbone.state_dict()
    for name, tensor in layers.items():
        assert torch.equal(tensor, (above if ".layer.2." in name else known)[name])


def test_a_student_cut_from_a_teacher_has_its_first_layers() -> None:
    """And heads of its own, the same every time."""
    teacher = a_teacher(4)
    first, again = (students.cut_from_teacher(teacher, SPEC, layers=2) for _ in range(2))
    vectors = [TorchReference(one).vectors(TEXTS) for one in (first, again)]
    assert np.array_equal(vectors[0], vectors[1])
    backbone = first.model.news_encoder.backbone.state_dict()
    assert all(torch.equal(t, teacher.backbone.state_dict()[name]) for name, t in backbone.items())


def test_fastembeds_folder_holds_the_same_graph(tmp_path: Path) -> None:
    """Only the inputs have the names that it feeds."""
    checkpoint = a_checkpoint()
    graph = folders.float_graph(checkpoint)
    folder = folders.write_fastembed_folder(
        tmp_path / "f", graph, checkpoint.tokenizer_json, checkpoint.spec.max_tokens
    )
    renamed = (folder / "model.onnx").read_bytes()
    names = [value.name for value in onnx.load_model_from_string(renamed).graph.input]
    assert names == ["input_ids", "attention_mask"]
    tokens = some_tokens(3, 7)
    expected = run_graph(graph, ids=tokens.ids, mask=tokens.mask)[0]
    found = run_graph(renamed, input_ids=tokens.ids, attention_mask=tokens.mask)[0]
    assert np.array_equal(found, expected)
    settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    assert settings == {"model_max_length": 16, "pad_token": "[PAD]"}


def test_a_peers_own_int8_depends_on_the_batch() -> None:
    """One scale a tensor, taken from whoever stands in the batch: that is why it fails a gate."""
    graph = folders.dynamic_int8(folders.float_graph(a_checkpoint()))
    operators = {node.op_type for node in onnx.load_model_from_string(graph).graph.node}
    assert "MatMulInteger" in operators
    tokens = some_tokens(16, 12)
    together = run_graph(graph, ids=tokens.ids, mask=tokens.mask)[0]
    pairs = zip(tokens.ids[:, None], tokens.mask[:, None], strict=True)
    alone = np.concatenate([run_graph(graph, ids=ids, mask=mask)[0] for ids, mask in pairs])
    assert cosine(together, alone).min() < 0.9999


def material(folder: Path, teacher: str, checkpoint: Path | None = None) -> Material:
    """Return what a run of the shipped bundle is made of."""
    bundle = open_bundle(BUNDLE)
    return Material(bundle, BUNDLE, teacher, checkpoint, {}, folder)


def test_without_a_teacher_ours_runs_alone(tmp_path: Path) -> None:
    """What needs it is told, by name and reason."""
    lined = line_up(material(tmp_path, str(tmp_path / "nothing")))
    assert [leg.name for leg in lined.legs] == [OURS, "fastembed-our-graph"]
    assert lined.not_run["teacher"] == "TeacherError"
    assert {"ours-1", "ours-3"} <= set(lined.not_run)


def test_a_bundle_that_is_given_is_not_cut(tmp_path: Path) -> None:
    """It was held to its own checkpoint when it was exported."""
    told = replace(material(tmp_path, str(tmp_path / "nothing")), given={1: BUNDLE})
    given = next(leg for leg in line_up(told).legs if leg.name == "ours-1")
    assert (given.folder, given.weights) == (BUNDLE, "")


def test_what_cannot_be_written_is_told_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A message of the system may name a place of this machine: only its kind is kept."""
    lined = LineUp()

    def missing(at: Path) -> None:
        raise FileNotFoundError(2, "No such file", f"/somewhere/{at}")

    lined.add(Leg("a", "bundle", "ours", Path("secret")), missing)
    lined.add(Leg("b", "bundle", "ours", Path("b")), str)
    assert [leg.name for leg in lined.legs] == ["b"]
    assert lined.not_run == {"a": "FileNotFoundError"}
    assert "secret" in capsys.readouterr().err


def test_a_checkpoint_of_another_bundle_is_refused(tmp_path: Path) -> None:
    """What is not quantised must be the same to the byte: near vectors do not tell."""
    save_checkpoint(tmp_path / "c", a_checkpoint())
    with pytest.raises(BenchmarkError, match="not the one that the bundle was exported from"):
        line_up(material(tmp_path, str(tmp_path / "nothing"), tmp_path / "c"))


def test_a_bundle_knows_its_checkpoint() -> None:
    """By click model, tokenizer and texts."""
    checkpoint = a_checkpoint()
    files = {
        CLICK_MODEL: checkpoint.model.click_model.to_contract().to_json(),
        TOKENIZER: checkpoint.tokenizer_json,
    }
    bundle = draft(checkpoint, files)
    assert is_of(bundle, checkpoint)
    assert not is_of(bundle, replace(checkpoint, spec=TextSpec(max_tokens=17)))
    assert not is_of(draft(checkpoint, {**files, TOKENIZER: b"{}"}), checkpoint)
