"""Options and output of `newsbert evaluate`: which data a task needs, how figures are shown."""

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from contract.evaluate_command import Request, as_json, as_table, evaluate_options
from contract.measuring import Measured, TaskFigures

SEARCH: Measured = {
    "search": TaskFigures({"recall10": 0.5, "queries": 1_200}, {}, {"recall10": lambda: (0.4, 0.6)})
}
TOPICS: Measured = {
    "topics/mind": TaskFigures({"macro_f": None, "texts": 3}, {}, {"macro_f": lambda: None})
}


def asked(*arguments: str, **environment: str) -> tuple[Result, list[Request]]:
    """Run a command that has the options and only checks them."""
    requests: list[Request] = []

    @click.command()
    @evaluate_options
    def command(**options: Any) -> None:
        requests.append(Request(**options))
        requests[0].check()

    return CliRunner(env=environment).invoke(command, arguments), requests


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        ([], "--mind DIR"),
        (["--task", "recommendation", "--search", "."], "--mind DIR"),
        (["--task", "topics", "--search", "."], "--topics FILE or --mind DIR"),
        (["--task", "search", "--mind", "."], "--search DIR"),
        (["--task", "ranking", "--mind", "."], "'ranking' is not one of"),
        (["--task", "topics", "--topics", "none.tsv"], "there is no file 'none.tsv'"),
        (["--task", "topics", "--topics", "own="], "there is no file 'own='"),
        (["--mind", "no-such-folder"], "does not exist"),
    ],
)
def test_a_task_without_its_data_is_wrong_usage(arguments: list[str], needed: str) -> None:
    """Exit code 2 and the option by name."""
    result, _ = asked(*arguments)
    assert result.exit_code == 2
    assert needed in result.stderr


def test_recommendation_is_what_is_measured_unless_told_otherwise(tmp_path: Path) -> None:
    """Of the student, printed for readers, written nowhere."""
    result, (request,) = asked("--mind", str(tmp_path))
    assert result.exit_code == 0
    assert (request.task, request.model, request.out) == ("recommendation", "student", None)
    assert not request.as_json


def test_topics_come_from_the_mind_folder_and_from_files(tmp_path: Path) -> None:
    """Their taxonomy stands before the file where the file is named otherwise."""
    file, odd = tmp_path / "own.tsv", tmp_path / "a=b.tsv"
    file.touch()
    odd.touch()
    files = [str(file), f"huffpost={file}", str(odd)]
    flags = [word for name in files for word in ("--topics", name)]
    result, (request,) = asked("--task", "topics", "--mind", str(tmp_path), *flags)
    assert result.exit_code == 0
    assert request.topic_files == [
        ("", tmp_path / "news.tsv"),
        ("", file),
        ("huffpost", file),
        ("", odd),
    ]


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("recommendation", ["dev/behaviors.tsv", "dev/news.tsv", "train/behaviors.tsv"]),
        ("topics", ["dev/news.tsv", "topics/own.tsv"]),
        ("search", ["search/dev.tsv", "search/news.jsonl"]),
    ],
)
def test_figures_depend_on_the_data_of_their_task(
    task: str, expected: list[str], tmp_path: Path
) -> None:
    """Under the names that a training run gives the same files; what is absent is left out."""
    for name in ("dev/news.tsv", *expected, "search/README"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for folder in ("train", "dev", "topics", "search"):
        (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / "topics" / "own.tsv").touch()
    named = {
        "--train": "train",
        "--mind": "dev",
        "--search": "search",
        "--topics": "topics/own.tsv",
    }
    flags = [word for flag, name in named.items() for word in (flag, str(tmp_path / name))]
    _, (request,) = asked("--task", task, *flags)
    assert sorted(request.files()) == expected
    assert all(path == tmp_path / name for name, path in request.files().items())


def test_the_environment_can_set_every_option(tmp_path: Path) -> None:
    """As everywhere in the program."""
    result, (request,) = asked(NEWSBERT_TASK="search", NEWSBERT_SEARCH=str(tmp_path))
    assert result.exit_code == 0
    assert request.search == tmp_path


def test_json_has_figures_and_their_intervals() -> None:
    """On the top level, by taxonomy where there may be several."""
    assert json.loads(as_json(SEARCH)) == {
        "recall10": 0.5,
        "queries": 1200,
        "intervals": {"recall10": [0.4, 0.6]},
    }
    assert json.loads(as_json(TOPICS)) == {
        "mind": {"macro_f": None, "texts": 3, "intervals": {"macro_f": None}}
    }


def test_a_table_has_a_figure_and_its_interval_a_line() -> None:
    """Counts have none; what too few texts leave unknown is said so."""
    assert as_table(SEARCH).splitlines() == [
        "recall10     0.5000  [0.4000, 0.6000]",
        "queries      1,200",
    ]
    assert as_table(TOPICS).splitlines() == [
        "topics/mind",
        "macro_f      too few texts of any topic",
        "texts        3",
    ]
