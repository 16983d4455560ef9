"""Pipeline: what a whole run keeps, what it tells of its data, and which teacher it refuses."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contract.figures import read_figures
from contract.held_out import hold_out
from training.checkpoint import load_pair, load_student
from training.config import Config, HeadConfig, LossWeights, TaskWeights, TextDistillationConfig
from training.errors import ConfigError, DataError, DepthMismatch, TeacherError, TrainingError
from training.material import Inputs, read_material
from training.pipeline import data_read, train_student
from training.progress import ProgressDisplay


@pytest.fixture(scope="module")
def config(config: Config) -> Config:
    """Turn on all tasks, fit the heads and learn no further."""
    return replace(
        config,
        tasks=TaskWeights(1.0, 1.0, 1.0),
        # Longer than the teacher reads, but nothing is distilled.
        text_distillation=TextDistillationConfig(passes=0, max_tokens=129),
        heads=HeadConfig(epochs=1),
        distillation=replace(config.distillation, epochs=0),
    )


@pytest.fixture(scope="module")
def run(train_all: Callable[[Config, str], Path], config: Config) -> Path:
    """Train the heads alone."""
    return train_all(config, "heads")


def facts_of(run: Path) -> dict[str, Any]:
    """Return what run.json says."""
    facts: dict[str, Any] = json.loads((run / "run.json").read_text())
    return facts


def test_without_an_epoch_of_joint_learning_the_heads_ship_as_they_were_fitted(
    run: Path, config: Config, inputs: Inputs, silent: ProgressDisplay
) -> None:
    """A checkpoint is kept and both models are measured; resuming measures again."""
    pair, checkpoint = load_pair(run / "checkpoint")
    assert pair.student.click_model.content.detach().any()
    figures = read_figures(run)
    assert set(figures.models) == set(checkpoint.metrics) == {"student", "teacher"}
    assert set(figures.models["student"]) == {"recommendation", "topics", "search"}
    assert facts_of(run)["state"] == "finished"
    assert "| search/ndcg10 |" in (run / "card.md").read_text()
    again = train_student(config, inputs, run, resume=True, progress=silent)
    assert again == figures.models


def test_the_run_tells_what_it_read_of_every_task(run: Path) -> None:
    """Folders, labelled texts by file and the search folder, each with its sizes."""
    data = facts_of(run)["data"]
    assert set(data) == {"train", "dev", "topics/news.tsv", "topics/papers.jsonl", "search"}
    assert (data["topics/news.tsv"]["texts"], data["topics/papers.jsonl"]["texts"]) == (30, 40)
    assert (data["search"]["articles"], data["search"]["queries"]) == (12, 12)
    card = (run / "card.md").read_text()
    assert all(f"- {role}: `" in card for role in data)


def test_headlines_and_how_many_clicks_were_learnt_are_told(
    tmp_path: Path, config: Config, inputs: Inputs
) -> None:
    """Clicks that are held out, or that no task learns, are not among them."""
    (tmp_path / "rain.txt").write_text("Rain\n\n")
    ours = replace(inputs, text_files=(tmp_path / "rain.txt",))
    told = data_read(ours, read_material(ours, config), config)
    assert (told["texts/rain.txt"]["texts"], told["texts/rain.txt"]["empty_texts"]) == (1, 1)
    kept = [n for n in range(30) if not hold_out(str(n), config.run.holdout_share)]
    assert told["train"]["clicks_learnt"] == len(kept)
    off = replace(config, tasks=TaskWeights(0.0, 1.0, 1.0))
    assert data_read(ours, read_material(ours, off), off)["train"]["clicks_learnt"] == 0


def test_figures_are_written_last(
    run: Path, tmp_path: Path, config: Config, inputs: Inputs, silent: ProgressDisplay
) -> None:
    """They say that a run is complete: one killed before is not, and is repaired by resuming."""
    killed = shutil.copytree(run, tmp_path / "killed")
    (killed / "curves.png").unlink()
    (killed / "curves.png").mkdir()  # the last thing but the figures cannot be written
    with pytest.raises(OSError, match="directory"):
        train_student(config, inputs, killed, resume=True, progress=silent)
    assert not (killed / "figures.json").exists()
    assert set(load_student(killed).metrics) == {"student", "teacher"}
    (killed / "curves.png").rmdir()
    train_student(config, inputs, killed, resume=True, progress=silent)
    assert read_figures(killed).models == read_figures(run).models


def test_a_text_longer_than_the_teacher_reads_is_refused(
    tmp_path: Path, config: Config, inputs: Inputs, silent: ProgressDisplay
) -> None:
    """By its setting, before there is a run; in text distillation only where there is any."""
    ranked = replace(config, text=replace(config.text, max_tokens=129))
    learnt = replace(config, text_distillation=TextDistillationConfig(passes=1, max_tokens=129))
    for ours, key in ((ranked, "text"), (learnt, "text_distillation")):
        message = rf"^{key}\.max_tokens = 129, but the teacher reads at most 128 tokens$"
        with pytest.raises(TeacherError, match=message):
            train_student(ours, inputs, tmp_path / "run", resume=False, progress=silent)
    assert not (tmp_path / "run").exists()


def test_patience_is_refused_where_no_impression_is_held_out(
    tmp_path: Path, config: Config, inputs: Inputs, silent: ProgressDisplay
) -> None:
    """Of a few impressions, a small share may be none."""
    patient = replace(config.run, patience=1, holdout_share=1e-9)
    ours = replace(config, run=patient)
    with pytest.raises(DataError, match=r"run\.patience is on, but no impression is held out"):
        train_student(ours, inputs, tmp_path / "run", resume=False, progress=silent)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def taught(
    tmp_path: Path, config: Config, inputs: Inputs, run: Path, silent: ProgressDisplay
) -> Callable[..., Path]:
    """Return a function that trains a student whose teacher is the first run's model."""
    assert config.random_teacher is not None

    def train(
        *,
        teacher_run: Path | None = run,
        files: Any = inputs.topic_files,
        layers: int = 1,
        hidden: int = 16,
        weights: LossWeights = config.distillation.weights,
        **text: Any,
    ) -> Path:
        changes = {"joint": False, "momentum": 0.0, "epochs": 1, "weights": weights}
        ours = replace(
            config,
            distillation=replace(config.distillation, **changes),
            text=replace(config.text, **text),
            model=replace(config.model, student_layers=layers),
            random_teacher=replace(config.random_teacher, hidden=hidden),
        )
        given = replace(inputs, teacher_run=teacher_run, topic_files=files)
        train_student(ours, given, tmp_path / "taught", resume=False, progress=silent)
        return tmp_path / "taught"

    return train


def test_a_finished_run_teaches_one_of_the_same_texts_and_topics(
    taught: Callable[..., Path], run: Path
) -> None:
    """The teacher's figures are its own run's."""
    student = load_student(taught() / "checkpoint")
    assert student.metrics["teacher"] == load_student(run).metrics["student"]


def test_a_teacher_of_another_width_teaches_by_its_predictions(
    taught: Callable[..., Path],
) -> None:
    """Only losses between states need equal widths."""
    student = load_student(taught(hidden=32, weights=LossWeights(embedding=0, hidden=0, pooled=0)))
    assert student.model.architecture.hidden == 32


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"teacher_run": None}, ConfigError, "name the teacher's run with --teacher-run"),
        ({"max_tokens": 11}, TeacherError, "teacher run heads: its spec differs"),
        ({"files": ()}, TeacherError, "teacher run heads: its topics differs"),
        ({"layers": 2}, DepthMismatch, "a student of 2 layers does not divide a teacher of 1"),
        ({"hidden": 32}, TeacherError, "teacher run heads: its states are 16 wide, this run's 32"),
    ],
    ids=["no teacher run", "other texts", "other topics", "fewer layers", "other width"],
)
def test_a_teacher_of_other_texts_topics_or_sizes_is_refused(
    taught: Callable[..., Path],
    tmp_path: Path,
    change: dict[str, Any],
    error: type[TrainingError],
    message: str,
) -> None:
    """By name, and before anything is learnt: there is no run."""
    with pytest.raises(error, match=message):
        taught(**change)
    assert not (tmp_path / "taught").exists()
