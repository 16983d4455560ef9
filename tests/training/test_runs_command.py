"""`newsbert runs` and `newsbert runs compare`, as they are typed."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from newsbert import main
from training.config import parse_config, to_toml
from training.runs_command import runs


def write_run(path: Path, *, seed: int, units: list[float]) -> None:
    """Write a finished run with figures."""
    path.mkdir(parents=True)
    auc = sum(units) / len(units)
    facts = {
        "state": "finished",
        "name": "tiny",
        "steps": {"distillation": 1200},
        "best": {"epoch": 2, "figure": "holdout_auc", "value": 0.7},
        "data_sha256": {"dev/news.tsv": f"{seed}" * 64},
        "wall_time_s": 61.0,
    }
    figures = {
        "line": "tiny",
        "seed": seed,
        "models": {"student": {"recommendation": {"auc": auc}}},
        "units": {"student": {"auc": units}},
    }
    (path / "run.json").write_text(json.dumps(facts))
    (path / "figures.json").write_text(json.dumps(figures))
    (path / "config.toml").write_text(to_toml(parse_config({"run": {"seed": seed}})))
    (path / "metrics.jsonl").write_text('{"stage": "distillation", "step": 1100}\n')


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a directory with two runs and something broken."""
    write_run(tmp_path / "a", seed=1, units=[0.25, 0.75])
    write_run(tmp_path / "b", seed=2, units=[0.5, 1.0])
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "run.lock").touch()
    return tmp_path


def call(*words: object) -> Result:
    """Call `newsbert runs …`."""
    return CliRunner().invoke(runs, [str(word) for word in words])


def test_runs_are_a_table(directory: Path) -> None:
    """A line each, and the reason of what is broken below."""
    result = call(directory)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "run  state     config  steps                     held out          auc     time",
        "a    finished  tiny    distillation 1,100/1,200  0.7000 (epoch 2)  0.5000  0:01:01",
        "b    finished  tiny    distillation 1,100/1,200  0.7000 (epoch 2)  0.7500  0:01:01",
        "c    broken    -       -                         -                 -       -",
        "",
        "c: run.json: No such file or directory",
    ]


def test_the_directory_is_runs_unless_named(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where `newsbert train` writes; nothing there is no failure."""
    monkeypatch.chdir(directory)
    assert call().stderr == "no runs in runs\n"
    directory.joinpath("runs").mkdir()
    directory.joinpath("a").rename(directory / "runs" / "a")
    assert call("list").stdout == call().stdout == call("runs").stdout
    assert call().stdout.splitlines()[1].startswith("a  ")


def test_runs_can_be_read_by_a_program(directory: Path) -> None:
    """One JSON array."""
    found = json.loads(call(directory, "--json").stdout)
    assert [(run["name"], run["state"]) for run in found] == [
        ("a", "finished"),
        ("b", "finished"),
        ("c", "broken"),
    ]
    assert found[0]["figures"] == {"auc": 0.5}


def test_a_comparison_is_three_tables(directory: Path) -> None:
    """Settings and data that differ, figures with their distance to the first run's."""
    result = call("compare", directory / "a", directory / "b")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "settings that differ  a  b",
        "run.seed              1  2",
        "",
        "data that differ  a             b",
        "dev/news.tsv      111111111111  222222222222",
        "",
        "figures, difference to the first run [95 % interval]  a       b",
        "auc                                                   0.5000  0.7500 +0.2500",
    ]


def test_a_comparison_has_intervals_where_the_data_are_the_same(directory: Path) -> None:
    """A third run may be named; what does not differ is said."""
    (directory / "c" / "run.lock").unlink()
    (directory / "c").rmdir()
    write_run(directory / "c", seed=1, units=[0.5, 1.0])
    lines = call("compare", directory / "a", directory / "c", directory / "a").stdout.splitlines()
    assert lines[:3:2] == ["settings that differ: none", "data that differ: none"]
    assert "0.7500 +0.2500 [+0.2500, +0.2500]  0.5000 +0.0000 [+0.0000, +0.0000]" in lines[-1]


def test_a_comparison_can_be_read_by_a_program(directory: Path) -> None:
    """One JSON object."""
    found = json.loads(call("compare", directory / "a", directory / "b", "--json").stdout)
    assert found["settings"] == {"run.seed": [1, 2]}
    assert found["figures"]["auc"] == [0.5, 0.75]
    assert found["differences"]["auc"][1]["difference"] == 0.25
    teacher = call("compare", directory / "a", directory / "b", "--model", "teacher", "--json")
    assert json.loads(teacher.stdout)["figures"] == {}


def test_what_cannot_be_compared_is_one_line(directory: Path) -> None:
    """A broken run by name and reason, exit code 1; too few or absent ones are wrong usage."""
    broken = call("compare", directory / "a", directory / "c")
    assert broken.exit_code == 1
    assert broken.stderr == f"Error: {directory / 'c'}: run.json: No such file or directory\n"
    for words in (["compare", directory / "a"], ["compare", directory / "a", directory / "x"]):
        assert call(*words).exit_code == 2


def test_help_names_both_and_the_environment(directory: Path) -> None:
    """`newsbert runs --help`, and that of each sub-command."""
    text = CliRunner().invoke(main, ["runs", "--help"]).stdout
    assert "compare" in text
    assert "Example: newsbert runs" in text
    for command, flags in (("list", 1), ("compare", 2)):
        text = call(command, "--help").stdout
        assert text.count("NEWSBERT_") == flags
        assert "Example: newsbert runs" in text


def test_the_command_is_found_by_name(directory: Path) -> None:
    """`newsbert runs DIR` is this command."""
    assert CliRunner().invoke(main, ["runs", str(directory)]).stdout == call(directory).stdout
