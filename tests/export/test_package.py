"""The bundle that export writes: whole, verified, reproducible, or not there at all."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from contract import bundle as b
from contract.bundle_errors import ClickModelMalformed
from contract.golden import TOP, check_golden, verified_encoder
from contract.mind import MindFolder
from export.calibration import calibration_record, calibration_rows
from export.errors import ParityExceeded, SamplesMissing, UnsupportedModel
from export.package import build_graphs, export_bundle
from export.parity import ParityBudget
from tests.builders import an_article
from tests.export.models import a_checkpoint, a_clear_folder, a_folder, an_architecture
from training.checkpoint import StudentCheckpoint, save_checkpoint
from training.model import build_student

ROOT = Path(__file__).parents[2]


def exported(target: Path, checkpoint: StudentCheckpoint | None = None) -> b.Bundle:
    """Export a tiny checkpoint with invented articles."""
    checkpoint = checkpoint or a_checkpoint()
    dev = a_clear_folder(checkpoint)
    return export_bundle(checkpoint, dev=dev, samples=a_folder(), target=target)[0]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a bundle made of a tiny checkpoint."""
    target = tmp_path_factory.mktemp("export") / "bundle"
    exported(target)
    return target


def test_the_bundle_opens_and_gives_its_golden_answers(path: Path) -> None:
    """What is written passes the checks that the service makes."""
    bundle, encoder = verified_encoder(path)
    report = check_golden(bundle, encoder)
    assert report.rankings == 3
    assert report.min_cosine > 0.9999


def test_every_golden_ranking_has_a_gap_after_the_top(path: Path) -> None:
    """Candidates left out of the middle keep near ties away from the top 10."""
    import json

    for line in b.open_bundle(path).file(b.GOLDEN).splitlines():
        scores = np.sort(json.loads(line)["scores"])[::-1]
        gaps = -np.diff(scores)
        assert len(scores) == 2 * TOP
        assert gaps[TOP - 1] >= np.median(gaps)


def test_the_manifest_tells_shape_quality_and_origin(path: Path) -> None:
    """Dimensions, text specification, figures before and after quantisation, provenance."""
    manifest = b.open_bundle(path).manifest
    assert (manifest.dim, manifest.layers, manifest.topics) == (8, 2, 4)
    assert manifest.text.max_tokens == 16
    figures = {"torch", "fp32", "int8", "batch_cosine", "hard_cosine"}
    assert figures <= set(manifest.quality["parity"])
    assert manifest.quality["at_training"]["teacher"]["recommendation"]["auc"] == 0.7
    assert manifest.provenance["teacher"] == "a-teacher"
    rows = calibration_rows(a_checkpoint(), a_folder())
    assert manifest.provenance["quantisation"] == {
        "scheme": "static",
        "calibration": calibration_record(rows),
    }


def test_the_same_checkpoint_gives_the_same_bundle(path: Path, tmp_path: Path) -> None:
    """Namespace, model and every byte are those of the first export."""
    first, second = b.open_bundle(path), exported(tmp_path / "again")
    assert second.model == first.model
    assert second.namespace == first.namespace
    assert second.files == first.files


EXPORT = """
import sys
from pathlib import Path
from tests.export.test_package import exported
from training.checkpoint import load_student
exported(Path("bundle"), load_student(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_checkpoint_gives_the_same_bundle_anywhere(
    path: Path, tmp_path: Path, threads: str
) -> None:
    """Another process, directory, hash seed and number of threads: the same bytes."""
    checkpoint = tmp_path / "somewhere" / "checkpoint"
    checkpoint.parent.mkdir()
    save_checkpoint(checkpoint, a_checkpoint())
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": threads,
        "PYTHONHASHSEED": "12345",
        "PYTHONPATH": str(ROOT),
        "TZ": "Asia/Tokyo",
    }
    command = [sys.executable, "-c", EXPORT, str(checkpoint)]
    subprocess.run(command, check=True, cwd=tmp_path, env=environment, timeout=120)
    again = {entry.name: entry.read_bytes() for entry in (tmp_path / "bundle").iterdir()}
    assert again == {entry.name: entry.read_bytes() for entry in path.iterdir()}


def test_another_checkpoint_gives_another_namespace(path: Path, tmp_path: Path) -> None:
    """Vectors of two encoders are never of one namespace."""
    other = exported(tmp_path / "other", a_checkpoint(layers=1))
    assert other.namespace != b.open_bundle(path).namespace


def test_static_scales_are_those_of_the_samples() -> None:
    """Other samples may give other vectors; what is in float32 is the same."""
    tokenizer, spec = a_checkpoint().tokenizer(), a_checkpoint().spec
    samples = [[spec.text(article) for article in a_folder().articles], ["senate " * 40]]
    graphs = [build_graphs(a_checkpoint(), calibration=tokenizer.rows(one)) for one in samples]
    assert graphs[0].shipped[b.NEWS_ENCODER] != graphs[1].shipped[b.NEWS_ENCODER]
    assert graphs[0].fp32 == graphs[1].fp32


def test_the_manifest_says_when_scales_are_per_row(tmp_path: Path) -> None:
    """Nothing is calibrated then, and nothing said of it."""
    checkpoint = a_checkpoint()
    dev, target = a_clear_folder(checkpoint), tmp_path / "bundle"
    bundle, _ = export_bundle(checkpoint, dev=dev, samples=a_folder(), target=target, scheme="row")
    assert bundle.manifest.provenance["quantisation"] == {"scheme": "row"}
    assert bundle.file(b.NEWS_ENCODER) == build_graphs(checkpoint).shipped[b.NEWS_ENCODER]


def test_no_file_names_a_directory_of_the_machine(tmp_path: Path) -> None:
    """A teacher read from a local folder is named by the folder's last two names only."""
    teacher = "/" + "home/someone/models/big-bert"
    checkpoint = replace(a_checkpoint(), provenance={"teacher": teacher, "runs": ["./a/b/c"]})
    bundle = exported(tmp_path / "bundle", checkpoint)
    assert bundle.manifest.provenance["teacher"] == "models/big-bert"
    assert bundle.manifest.provenance["runs"] == ["b/c"]
    for file in (tmp_path / "bundle").iterdir():
        assert b"someone" not in file.read_bytes()
        assert str(tmp_path).encode() not in file.read_bytes()


def test_over_the_budget_nothing_is_written(tmp_path: Path) -> None:
    """The gate comes before the first byte."""
    target = tmp_path / "bundle"
    with pytest.raises(ParityExceeded):
        export_bundle(
            a_checkpoint(), dev=a_folder(), samples=a_folder(), target=target,
            budget=ParityBudget(mean_cosine=1.1),
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_what_the_service_would_refuse_is_never_put_in_place(tmp_path: Path) -> None:
    """A scale below zero passes the parity budget; an older bundle stays as it was."""
    target = tmp_path / "bundle"
    before = exported(target)
    spoilt = a_checkpoint()
    with torch.no_grad():
        spoilt.model.click_model.scale.fill_(-1.0)
    with pytest.raises(ClickModelMalformed):
        exported(target, spoilt)
    assert b.open_bundle(target) == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_too_few_samples_are_named(tmp_path: Path) -> None:
    """Golden answers need articles and a reader."""
    checkpoint, nothing = a_checkpoint(), MindFolder([an_article("N1")], [])
    with pytest.raises(SamplesMissing, match="golden answers need 20 articles"):
        export_bundle(
            checkpoint, dev=a_clear_folder(checkpoint), samples=nothing, target=tmp_path / "bundle"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_that_knows_more_than_the_model_is_refused() -> None:
    """A text could otherwise hold a token without a row in the table."""
    with pytest.raises(UnsupportedModel, match="the model only 50"):
        build_graphs(a_checkpoint(vocabulary=50))


MINILM = {
    "hidden": 384, "heads": 12, "intermediate": 1536, "vocabulary": 30_522, "positions": 512,
    "dim": 256, "query_width": 200, "topics": 51,
}  # fmt: skip


@pytest.mark.parametrize(("layers", "megabytes"), [(1, 15), (2, 17)])
def test_a_bundle_of_the_usual_shape_stays_small(layers: int, megabytes: int) -> None:
    """Layers of MiniLM's shape, with all other files of the bundle that ships."""
    tiny = a_checkpoint()
    model = build_student(an_architecture(layers=layers, **MINILM))
    spec = tiny.spec.model_copy(update={"max_tokens": 64})
    graphs = build_graphs(replace(tiny, model=model, spec=spec), calibration=[[5, 6, 7]]).shipped
    made = {b.NEWS_ENCODER, b.USER_ENCODER}
    others = [f for f in (ROOT / "bundles" / "newsbert").iterdir() if f.name not in made]
    size = sum(len(graphs[name]) for name in made) + sum(f.stat().st_size for f in others)
    assert size <= megabytes * 1e6


def test_the_model_card_tells_what_a_user_must_know(path: Path) -> None:
    """Teacher, figures, topics, data, limits and licence are on the card."""
    card = b.open_bundle(path).file(b.MODEL_CARD).decode()
    for part in (
        "a-teacher",
        "ONNX int8 (shipped)",
        "teacher (at training)",
        "sports",
        "0.7000",
        "teacher, topics of mind: accuracy 0.7500, 40 texts",
        "teacher, search: recall10 0.5000, 20 queries",
    ):
        assert part in card
    assert "research use only" not in card


@pytest.mark.parametrize("by", ["provenance", "address"])
def test_weights_trained_on_mind_are_marked_research_only(by: str, tmp_path: Path) -> None:
    """MIND is known by the provenance or by the addresses of its articles."""
    checkpoint = a_checkpoint()
    dev = a_clear_folder(checkpoint)
    if by == "provenance":
        checkpoint = replace(checkpoint, provenance={"data": "MIND small"})
    else:
        url = "https://assets.msn.com/labs/mind/AAJ.html"
        articles = [article.model_copy(update={"url": url}) for article in dev.articles]
        dev = MindFolder(articles, dev.impressions)
    bundle, _ = export_bundle(checkpoint, dev=dev, samples=a_folder(), target=tmp_path / "bundle")
    assert "research use only" in bundle.file(b.MODEL_CARD).decode()
