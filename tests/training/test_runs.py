"""Runs: what directories say, whatever their state, and how two runs differ."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from training.config import parse_config, to_toml
from training.errors import RunUnreadable
from training.run_comparison import Difference, compare
from training.run_lock import lock_directory
from training.runs import RunSummary, list_runs, read_run, summarise

EMPTY = {"line": "best", "seed": 1, "units": {"a": {}}}
UNITS = [0.0, 1.0, 0.5, 1.0] * 10


def write_run(
    path: Path,
    *,
    settings: dict[str, Any] | None = None,
    facts: dict[str, Any] | None = None,
    shift: float | None = None,
) -> Path:
    """Write a run directory; with `shift`, its figures.json too, so much better than UNITS."""
    path.mkdir(parents=True)
    known = {
        "state": "finished",
        "name": "best",
        "steps": {"distillation": 20},
        "best": {"epoch": 2, "figure": "holdout_auc", "value": 0.7},
        "data_sha256": {"dev/news.tsv": "a" * 64},
        "wall_time_s": 61.0,
    }
    (path / "run.json").write_text(json.dumps({**known, **(facts or {})}))
    (path / "config.toml").write_text(to_toml(parse_config(settings or {})))
    (path / "metrics.jsonl").write_text('{"stage": "distillation", "step": 20, "click": 0.5}\n')
    if shift is not None:
        (path / "figures.json").write_text(json.dumps(figures_of(shift)))
    return path


def figures_of(shift: float) -> dict[str, Any]:
    """Invent what the pipeline measures at the end."""
    units = [value + shift for value in UNITS]
    mean = sum(units) / len(units)
    recommendation = {"auc": mean, "mrr": 0.3, "impressions": len(units)}
    topics = {"mind": {"accuracy": 0.8, "macro_f": 0.6, "texts": 9}}
    search = {"recall10": 0.9, "ndcg10": 0.5, "queries": 4}
    student = {"recommendation": recommendation, "topics": topics, "search": search}
    return {
        "line": "best",
        "seed": 1,
        "models": {"student": student},
        "units": {"student": {"auc": units}},
    }


def test_a_finished_run_is_summarised(tmp_path: Path) -> None:
    """State, configuration, steps, best held-out figure, the student's figures, time."""
    assert summarise(write_run(tmp_path / "a", shift=0.0)) == RunSummary(
        name="a",
        state="finished",
        config="best",
        stage="distillation",
        steps_done=20,
        steps=20,
        best_epoch=2,
        held_out=0.7,
        figures={
            "auc": 0.625,
            "mrr": 0.3,
            "topics/mind": 0.8,
            "topics/mind/macro_f": 0.6,
            "search/recall10": 0.9,
            "search/ndcg10": 0.5,
        },
        wall_time_s=61.0,
    )


def test_a_run_without_figures_json_has_those_of_run_json(tmp_path: Path) -> None:
    """What runs of older versions wrote; counts are no figures."""
    metrics = {"student": {"auc": 0.6, "impressions": 5}, "best_epoch": 1, "holdout_auc": 0.5}
    facts = {"metrics": metrics, "state": None, "best": None}
    run = summarise(write_run(tmp_path / "a", facts=facts))
    assert (run.state, run.figures, run.held_out) == ("finished", {"auc": 0.6}, 0.5)


def test_running_is_what_holds_the_lock(tmp_path: Path) -> None:
    """A run that says so without holding it was killed."""
    path = write_run(tmp_path / "a", facts={"state": "running"})
    assert summarise(path).state == "interrupted"
    descriptor = lock_directory(path)
    assert summarise(path).state == "running"
    os.close(descriptor)


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("run.json", '{"state": "fin', "run.json: Unterminated string"),
        ("run.json", "[]", "run.json: not a table"),
        ("run.json", '{"steps": 3}', "run.json: 'int' object"),
        ("run.json", '{"wall_time_s": "long"}', "run.json: could not convert"),
        ("run.json", None, "run.json: No such file"),
        ("config.toml", "[mod", "config.toml: "),
        ("config.toml", None, "config.toml: No such file"),
        ("metrics.jsonl", "nothing\nof\nthis", "metrics.jsonl, line 3: not JSON"),
        ("metrics.jsonl", "\xff", "metrics.jsonl"),
        ("figures.json", '{"models": 3}', "figures.json: "),
        ("figures.json", "{", "figures.json: Expecting property name"),
        ("figures.json", "[]", "figures.json: "),
        ("figures.json", json.dumps({**EMPTY, "models": {"a": 3}}), "figures.json: Attribute"),
        ("figures.json", json.dumps({**EMPTY, "models": {"a": {"search": 3}}}), "figures.json: A"),
    ],
)
def test_a_broken_run_is_listed_with_its_reason(
    tmp_path: Path, file: str, content: str | None, reason: str
) -> None:
    """Beside the whole ones, and comparing it is refused for the same reason."""
    path = write_run(tmp_path / "broken")
    write_run(tmp_path / "whole")
    if content is None:
        (path / file).unlink()
    else:
        (path / file).write_text(content, encoding="latin-1")
    broken, whole = list_runs(tmp_path)
    assert (broken.name, broken.state, whole.state) == ("broken", "broken", "finished")
    assert broken.reason.startswith(reason)
    if "steps" not in str(content) and "wall" not in str(content):
        with pytest.raises(RunUnreadable):
            read_run(path)


def test_a_line_that_is_being_written_breaks_nothing(tmp_path: Path) -> None:
    """The last whole one counts; a run that has just begun has none."""
    path = write_run(tmp_path / "a")
    with (path / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "disti')
    assert summarise(path).steps_done == 20
    (path / "metrics.jsonl").unlink()
    assert summarise(path).steps_done == 0


def test_runs_are_found_one_and_two_levels_down(tmp_path: Path) -> None:
    """A study's runs are looked for; files and caches are no runs; a run is itself."""
    write_run(tmp_path / "b")
    write_run(tmp_path / "study" / "line-1")
    (tmp_path / "cache" / "vectors").mkdir(parents=True)
    (tmp_path / "begun").mkdir()
    os.close(lock_directory(tmp_path / "begun"))
    (tmp_path / "note.txt").write_text("x")
    states = {run.name: run.state for run in list_runs(tmp_path)}
    assert states == {"b": "finished", "begun": "broken", "study/line-1": "finished"}
    assert [run.name for run in list_runs(tmp_path / "b")] == ["b"]


def test_what_differs_is_named_and_nothing_else(tmp_path: Path) -> None:
    """Settings and data of all runs, in their order."""
    first = write_run(tmp_path / "a", settings={"run": {"seed": 1}})
    second = write_run(
        tmp_path / "b",
        settings={"run": {"seed": 2}, "random_teacher": {}},
        facts={"data_sha256": {"dev/news.tsv": "b" * 64}},
    )
    found = compare([read_run(first), read_run(second)], model="student")
    assert found.runs == ("a", "b")
    assert found.settings["run.seed"] == [1, 2]
    assert found.settings["random_teacher.layers"] == [None, 4]
    assert len(found.settings) == 5
    assert found.data == {"dev/news.tsv": ["a" * 64, "b" * 64]}


def test_figures_are_compared_with_the_first_runs(tmp_path: Path) -> None:
    """By the paired interval where the units are there, else by the plain difference."""
    runs = [read_run(write_run(tmp_path / str(shift), shift=shift)) for shift in (0.0, 0.25)]
    found = compare(runs, model="student")
    assert found.figures["auc"] == pytest.approx([0.625, 0.875])
    assert found.differences["auc"] == [None, Difference(0.25, 0.25, 0.25)]
    assert found.differences["mrr"] == [None, Difference(0.0)]
    assert compare(runs, model="teacher").figures == {}


def test_other_data_are_not_paired(tmp_path: Path) -> None:
    """Unit i of one run is not unit i of the other; a file that only one read does not matter."""
    more = {"data_sha256": {"dev/news.tsv": "a" * 64, "topics/x": "c"}}
    other = {"data_sha256": {"dev/news.tsv": "b" * 64}}
    runs = [
        read_run(write_run(tmp_path / name, shift=shift, facts=facts))
        for name, shift, facts in (("a", 0.0, {}), ("b", 0.25, more), ("c", 0.25, other))
    ]
    same, different = compare(runs, model="student").differences["auc"][1:]
    assert same == Difference(0.25, 0.25, 0.25)
    assert different == Difference(0.25)


def test_a_figure_that_one_run_lacks_has_no_difference(tmp_path: Path) -> None:
    """It is shown where it is known."""
    runs = [read_run(write_run(tmp_path / "a", shift=0.0)), read_run(write_run(tmp_path / "b"))]
    found = compare(runs, model="student")
    assert (found.figures["auc"], found.differences["auc"]) == ([0.625, None], [None, None])


def test_listing_runs_loads_no_torch() -> None:
    """It answers at once."""
    program = "import sys, training.runs_command; print({'torch', 'transformers'} & {*sys.modules})"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout == "set()\n"
