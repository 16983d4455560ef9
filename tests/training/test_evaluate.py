"""`newsbert evaluate` for checkpoints, runs and baselines, and which stage answers it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import newsbert
from contract.evaluate_command import HELP
from contract.figures import read_figures
from contract.mind import write_folder
from contract.text import TextSpec
from tests.builders import WORDS, a_catalogue, a_tokenizer_json, an_impression
from tests.tiny import save_pretrained
from training.baselines import BASELINES
from training.checkpoint import StudentCheckpoint, save_checkpoint
from training.commands import evaluate
from training.model import Architecture, build_backbone, pair_with_teacher

TASK_FLAGS = {
    "recommendation": ("--mind",),
    "topics": ("--task", "topics", "--mind"),
    "search": ("--task", "search", "--search"),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a folder that is everything at once: MIND, labelled texts, search."""
    folder = tmp_path_factory.mktemp("data")
    articles = a_catalogue(160)
    ids = [article.id for article in articles]
    impressions = [
        an_impression(str(i), history=ids[i : i + 1], candidates=ids[i + 1 : i + 5])
        for i in range(10)
    ]
    write_folder(folder, articles, impressions)
    lines = (json.dumps({"id": a.id, "title": a.title}) for a in articles)
    (folder / "news.jsonl").write_text("\n".join(lines))
    queries = (f"{a.id}\t{a.title}\t{a.id}\n" for a in articles[:5])
    (folder / "dev.tsv").write_text("".join(queries))
    (folder / "own.tsv").write_text("Team wins\tsport\n")
    return folder


@pytest.fixture
def run_directory(architecture: Architecture, tmp_path: Path) -> Path:
    """Write a run whose random teacher and student know MIND's topics."""
    shape = replace(architecture, vocabulary=200, topics=len(WORDS)).with_layers(2)
    pair = pair_with_teacher(shape, build_backbone(shape), student_layers=1)
    topics = [f"mind/{topic}" for topic in WORDS]
    checkpoint = StudentCheckpoint(pair.student, TextSpec(), a_tokenizer_json(), topics)
    save_checkpoint(tmp_path / "run" / "checkpoint", checkpoint, pair.teacher)
    return tmp_path / "run"


def run(*arguments: str | Path) -> Result:
    """Type the command."""
    return CliRunner().invoke(evaluate, [str(argument) for argument in arguments])


def figures(*arguments: str | Path) -> dict[str, Any]:
    """Return what the command prints as JSON."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("model", ["student", "teacher"])
def test_both_models_of_a_run_do_all_three_tasks(
    run_directory: Path, data: Path, model: str
) -> None:
    """From the run's directory or from its checkpoint's."""
    for what in (run_directory, run_directory / "checkpoint"):
        found = {
            task: figures(what, *flags, data, "--model", model)
            for task, flags in TASK_FLAGS.items()
        }
        assert found["recommendation"]["impressions"] == 10
        assert found["topics"]["mind"]["texts"] > 5
        assert found["search"]["queries"] == 5


def test_the_two_models_are_different_ones(run_directory: Path, data: Path) -> None:
    """Otherwise a table compares a model with itself."""
    student, teacher = (
        figures(run_directory, "--mind", data, "--model", model) for model in ("student", "teacher")
    )
    assert student["mrr"] != teacher["mrr"]


def test_figures_are_written_under_the_models_name(run_directory: Path, data: Path) -> None:
    """With the values that intervals are made of."""
    out = run_directory / "again"
    run(run_directory, "--mind", data, "--model", "teacher", "--out", out)
    assert read_figures(out).line == "run"
    assert len(read_figures(out).units["teacher"]["auc"]) == 10


def test_a_taxonomy_that_the_model_does_not_know_is_refused(
    run_directory: Path, data: Path
) -> None:
    """By name, with those that it knows."""
    flags = ("--task", "topics", "--all-texts", "--topics", data / "own.tsv")
    result = run(run_directory, *flags)
    assert result.exit_code == 1
    assert result.stderr == "newsbert: the model has no topics of 'own'; it knows mind\n"


@pytest.mark.parametrize(
    ("name", "task"),
    [(n, t) for n, tasks in BASELINES.items() for t in tasks if n != "frozen-teacher"],
)
def test_a_baseline_is_measured_like_a_model(
    name: str, task: str, data: Path, tmp_path: Path
) -> None:
    """The same figures, intervals and files."""
    flags = [*TASK_FLAGS[task], data, "--train", data]
    found = figures(name, *flags, "--out", tmp_path)
    assert (found if task != "topics" else found["mind"])["intervals"]
    assert read_figures(tmp_path).line == name
    assert set(read_figures(tmp_path).models) == {name}
    assert read_figures(tmp_path).data_sha256


def test_a_frozen_teacher_is_named_beside_its_figures(data: Path, tmp_path: Path) -> None:
    """By the last names of its folder: two teachers make two lines of a table."""
    save_pretrained(tmp_path / "pretrained" / "tiny", "bert")
    flags = (*TASK_FLAGS["search"], data, "--teacher", tmp_path / "pretrained" / "tiny")
    assert figures("frozen-teacher", *flags, "--out", tmp_path / "out")["queries"] == 5
    assert read_figures(tmp_path / "out").teacher == "pretrained/tiny"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["bm25", "--mind", "{data}"], "bm25 does search, not recommendation"),
        (["popularity", "--mind", "{data}"], "popularity needs --train DIR"),
        (["frozen-teacher", "--mind", "{data}"], "frozen-teacher needs --teacher"),
        (["tf-idf", "--task", "topics", "--mind", "{data}", "--all-texts"], "--all-texts"),
        (["tf-idf", "--mind", "{data}", "--model", "teacher"], "--model is for checkpoints"),
        (["no-such-run", "--mind", "{data}"], "no-such-run is neither a directory nor one of"),
        (["tf-idf", "--task", "search"], "--task search needs --search DIR"),
    ],
)
def test_what_a_baseline_cannot_do_is_wrong_usage(
    arguments: list[str], told: str, data: Path
) -> None:
    """Exit code 2, before anything is read."""
    result = run(*(argument.format(data=data) for argument in arguments))
    assert result.exit_code == 2
    assert told in result.stderr


def test_a_directory_without_a_checkpoint_fails_in_one_line(data: Path) -> None:
    """It is named."""
    result = run(data, "--mind", data)
    assert result.exit_code == 1
    assert result.stderr.startswith("newsbert: ")
    assert "checkpoint.json" in result.stderr


def test_the_help_names_every_baseline() -> None:
    """The contract, which has the help, does not know them."""
    assert all(name in HELP for name in BASELINES)


@pytest.mark.parametrize(
    ("arguments", "is_for_training"),
    [
        (["run", "--mind", "d"], True),
        (["run/checkpoint", "--mind", "d"], True),
        (["--mind", "d", "run"], True),
        (["--mind=d", "run"], True),
        (["--json", "run"], True),
        (["--all-texts", "bm25"], True),
        (["bm25", "--search", "d"], True),
        (["bundle", "--mind", "d"], False),
        (["bundle", "--teacher", "run", "--out", "bm25"], False),
        (["--help"], False),
    ],
)
def test_the_stage_that_owns_what_is_measured_answers(
    arguments: list[str],
    is_for_training: bool,
    run_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the one argument that is no option's value: a run may be an option's."""
    monkeypatch.chdir(run_directory.parent)
    found = newsbert._is_for_training(["newsbert", "evaluate", *arguments])
    assert found is is_for_training


def test_the_flags_without_a_value_are_known_to_the_dispatcher() -> None:
    """It parses nothing, so a new one has to be added there."""
    flags = {o for p in evaluate.params for o in p.opts if getattr(p, "is_flag", False)}
    assert flags == set(newsbert.EVALUATE_FLAGS)


def test_a_baseline_keeps_its_name_beside_a_directory_of_that_name(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory can still be meant, as a path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bm25").mkdir()
    assert run("bm25", "--task", "search", "--search", data).exit_code == 0
    assert "checkpoint.json" in run("./bm25", "--task", "search", "--search", data).stderr
