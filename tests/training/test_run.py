"""Run directory: config.toml, run.json, metrics.jsonl, curves.png."""

import json
import tomllib
from pathlib import Path

import pytest
import torch
from rich.console import Console

from training.config import Config, parse_config
from training.curves import draw_curves
from training.errors import ResumeError
from training.progress import ProgressBar, ProgressDisplay, ProgressLines
from training.resume import Position
from training.run import Run, environment, file_hashes


@pytest.fixture
def run(tmp_path: Path, config: Config, silent: ProgressDisplay) -> Run:
    """Return an opened run in its first stage."""
    run = Run(tmp_path / "run", config, teacher="tiny", progress=silent)
    run.begin({"seed": 1}, resume=False)
    run.start_stage("text_distillation", steps=3, done=0)
    return run


def test_the_configuration_and_the_facts_are_written(run: Run, config: Config) -> None:
    """Enough to repeat the run, and no path of this machine."""
    written = tomllib.loads((run.directory / "config.toml").read_text())
    facts = run.facts()
    assert parse_config(written) == config
    assert facts["teacher"] == "tiny"
    assert set(facts) == {"seed", "teacher", "environment", "wall_time_s"}
    assert str(run.directory.parent) not in json.dumps(facts)


def test_every_step_and_epoch_is_a_line(run: Run) -> None:
    """Losses by name, articles per second, what was held out."""
    run.log(0, {"click": torch.tensor(0.5)}, news=7)
    run.log_epoch(1, {"holdout_auc": 0.75})
    step, epoch = run.metrics()
    assert (step["stage"], step["step"], step["click"]) == ("text_distillation", 1, 0.5)
    assert step["news_per_s"] > 0
    assert (epoch["epoch"], epoch["holdout_auc"]) == (1, 0.75)


def test_the_best_epoch_is_the_one_with_the_highest_held_out_auc(run: Run) -> None:
    """A later, worse epoch does not replace it."""
    assert run.log_epoch(1, {"holdout_auc": 0.7})
    assert not run.log_epoch(2, {"holdout_auc": 0.6})
    assert (run.position.best_epoch, run.position.best_auc) == (1, 0.7)


def test_a_half_written_line_is_forgotten(run: Run) -> None:
    """A killed run may leave one."""
    run.log(0, {"click": torch.tensor(0.5)}, news=7)
    with (run.directory / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "text_dist')
    assert len(run.metrics()) == 1


def test_resume_where_nothing_is_starts_afresh(
    tmp_path: Path, config: Config, silent: ProgressDisplay
) -> None:
    """So one command serves for the first and for every later start."""
    state = Run(tmp_path / "new", config, teacher="tiny", progress=silent).begin({}, resume=True)
    assert state.position == Position()
    assert not state.tensors


def test_another_teacher_is_refused(run: Run, config: Config, silent: ProgressDisplay) -> None:
    """Half a run with one teacher and half with another is no run."""
    other = Run(run.directory, config, teacher="other", progress=silent)
    with pytest.raises(ResumeError, match="teacher differs"):
        other.begin({"seed": 1}, resume=True)


def test_curves_are_drawn(run: Run) -> None:
    """A picture of both stages."""
    metrics = [
        {"stage": "text_distillation", "step": 1, "cosine": 0.5, "news_per_s": 3.0},
        {"stage": "text_distillation", "step": 2, "cosine": 0.4, "news_per_s": 3.0},
        {"stage": "distillation", "step": 1, "click": 0.4, "news_per_s": 3.0},
        {"stage": "distillation", "step": 1, "epoch": 1, "holdout_auc": 0.6},
    ]
    draw_curves(metrics, run.directory / "curves.png")
    assert (run.directory / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_hashes_and_versions(tmp_path: Path) -> None:
    """Data by sha256 under the name it has in the run, packages by version."""
    (tmp_path / "news.tsv").write_bytes(b"abc")
    assert (
        file_hashes({"train/news.tsv": tmp_path / "news.tsv"})["train/news.tsv"][:8] == "ba7816bf"
    )
    # A build may add a suffix to the version that it was installed by.
    assert torch.__version__.startswith(environment()["packages"]["torch"].partition("+")[0])


def test_progress_is_a_line_now_and_then_without_a_terminal(tmp_path: Path) -> None:
    """The first line names the stage, the last one is always written."""
    with (tmp_path / "log").open("w") as file:
        lines = ProgressLines(Console(file=file), interval_s=60.0)
        lines.start("distillation", steps=100, done=0)
        for done in range(1, 101):
            lines.step(done, loss=0.5, news_per_s=10.0)
        lines.close()
    written = (tmp_path / "log").read_text().splitlines()
    assert written[0] == "distillation: 100 steps, 0 done"
    assert len(written) == 2
    assert "100/100  loss 0.5000  10 news/s  0 s left" in written[1]


def test_progress_is_a_bar_on_a_terminal(tmp_path: Path) -> None:
    """It shows the stage, the loss and the speed."""
    with (tmp_path / "log").open("w") as file:
        bar = ProgressBar(Console(file=file, force_terminal=True, width=100))
        bar.start("distillation", steps=2, done=0)
        bar.step(2, loss=0.5, news_per_s=10.0)
        bar.note("epoch 1")
        bar.close()
    written = (tmp_path / "log").read_text()
    for part in ("distillation", "2/2", "loss 0.5000", "10 news/s", "epoch 1"):
        assert part in written
