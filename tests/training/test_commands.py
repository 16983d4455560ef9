"""Commands: train and evaluate as they are typed."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from training.commands import evaluate, train
from training.config import Config, to_toml


def run_train(folder: Path, config: Path, *more: str) -> Result:
    """Call `newsbert train` on one folder for both purposes."""
    flags = ["--config", config, "--train", folder, "--dev", folder]
    flags += ["--cache", config.with_name("cache"), *more]
    return CliRunner().invoke(train, [str(flag) for flag in flags])


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, mind_folder: Path, config: Config
) -> tuple[Path, Result]:
    """Train once, without any teacher."""
    directory = tmp_path_factory.mktemp("commands")
    (directory / "tiny.toml").write_text(to_toml(config))
    return directory, run_train(
        mind_folder, directory / "tiny.toml", "--out", str(directory / "run")
    )


def test_train_leaves_a_whole_run_directory(trained: tuple[Path, Result]) -> None:
    """Settings, facts, metrics, curves and the checkpoint, and the figures on standard output."""
    directory, result = trained
    assert result.exit_code == 0, result.output
    assert {path.name for path in (directory / "run").iterdir()} == {
        "before_clicks.safetensors",
        "config.toml",
        "run.json",
        "run.lock",
        "card.md",
        "metrics.jsonl",
        "curves.png",
        "state.safetensors",
        "checkpoint",
        "figures.json",
    }
    assert "student, recommendation: auc" in result.stdout
    metrics = json.loads((directory / "run" / "checkpoint" / "checkpoint.json").read_text())
    assert set(metrics["metrics"]) == {"student", "teacher"}


@pytest.mark.parametrize("model", ["student", "teacher"])
def test_evaluate_prints_the_figures_of_the_report(
    trained: tuple[Path, Result], mind_folder: Path, model: str
) -> None:
    """The same impressions give the same figures, as one JSON object, with intervals."""
    run = trained[0] / "run"
    flags = [str(run / "checkpoint"), "--mind", str(mind_folder), "--model", model, "--json"]
    result = CliRunner().invoke(evaluate, flags)
    figures = json.loads(result.stdout)
    reported = json.loads((run / "run.json").read_text())["metrics"][model]["recommendation"]
    assert set(figures.pop("intervals")) == {"auc", "mrr", "ndcg5", "ndcg10"}
    assert figures == pytest.approx(reported)


@pytest.mark.parametrize(
    ("content", "message"),
    [("[model]\ndepth = 3\n", "unknown key: model.depth"), ("[model", "Error")],
)
def test_wrong_settings_are_wrong_usage(
    tmp_path: Path, mind_folder: Path, content: str, message: str
) -> None:
    """Exit code 2, and the key by name."""
    (tmp_path / "bad.toml").write_text(content)
    result = run_train(mind_folder, tmp_path / "bad.toml", "--out", str(tmp_path / "run"))
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_failed_job_is_one_line_and_exit_code_1(
    tmp_path: Path, mind_folder: Path, trained: tuple[Path, Result]
) -> None:
    """A teacher that is nowhere, a checkpoint that is none, a malformed folder."""
    settings = trained[0] / "tiny.toml"
    (tmp_path / "none").mkdir()
    nowhere = ["--teacher", str(tmp_path / "none"), "--out", str(tmp_path / "run")]
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "news.tsv").write_text("only one column\n")
    for result in (
        run_train(mind_folder, settings, *nowhere),
        run_train(tmp_path / "bad", settings, "--out", str(tmp_path / "run")),
        CliRunner().invoke(evaluate, [str(tmp_path / "none"), "--mind", str(mind_folder)]),
    ):
        lines = [line for line in result.stderr.splitlines() if line.startswith("newsbert: ")]
        assert (result.exit_code, len(lines)) == (1, 1), result.output


def test_a_device_that_runs_out_of_memory_is_one_line(
    tmp_path: Path, mind_folder: Path, trained: tuple[Path, Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torch tells it."""

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr("training.pipeline.train_student", full)
    result = run_train(mind_folder, trained[0] / "tiny.toml", "--out", str(tmp_path / "run"))
    assert result.stderr == "newsbert: CUDA out of memory. Tried to allocate 20.00 GiB.\n"
    assert result.exit_code == 1


def test_cuda_where_torch_sees_none_is_refused_before_anything_is_read(
    tmp_path: Path, trained: tuple[Path, Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, and not one about the malformed folder; by flag and by environment alike."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "news.tsv").write_text("only one column\n")
    settings, out = trained[0] / "tiny.toml", ("--out", str(tmp_path / "run"))
    found = [run_train(tmp_path, settings, "--device", "cuda", *out)]
    monkeypatch.setenv("NEWSBERT_DEVICE", "cuda")
    found.append(run_train(tmp_path, settings, *out))
    for result in found:
        assert result.stderr == "newsbert: --device cuda: torch sees no CUDA device here\n"
        assert result.exit_code == 1
    assert not (tmp_path / "run").exists()


def test_every_flag_names_its_environment_variable_and_there_is_an_example() -> None:
    """What --help promises."""
    for command in (train, evaluate):
        text = CliRunner().invoke(command, ["--help"]).stdout
        flags = [p for p in command.params if p.name not in ("help", "what")]
        assert text.count("NEWSBERT_") == len(flags)
        assert "Example: newsbert" in text
