"""Pipeline: what a whole run keeps, what it tells of its data, and which teacher it refuses."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contract.figures import read_figures
from training.checkpoint import load_pair, load_student
from training.config import Config, HeadConfig, LossWeights, TaskWeights, TextDistillationConfig
from training.errors import ConfigError, DepthMismatch, TeacherError, TrainingError
from training.material import Inputs
from training.pipeline import train_student
from training.progress import ProgressDisplay


@pytest.fixture(scope="module")
def config(config: Config) -> Config:
    """Turn on all tasks, fit the heads and learn no further."""
    return replace(
        config,
        tasks=TaskWeights(1.0, 1.0, 1.0),
        text_distillation=TextDistillationConfig(passes=0),
        heads=HeadConfig(epochs=1),
        distillation=replace(config.distillation, epochs=0),
    )


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory,
    config: Config,
    mind_folder: Path,
    topic_file: Path,
    search_folder: Path,
    silent: ProgressDisplay,
) -> Path:
    """Train the heads alone."""
    directory = tmp_path_factory.mktemp("runs") / "heads"
    files: dict[str, Any] = {"topic_files": (topic_file,), "search": search_folder}
    inputs = Inputs(mind_folder, mind_folder, directory.parent / "cache", **files)
    train_student(config, inputs, directory, resume=False, progress=silent)
    return directory


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
