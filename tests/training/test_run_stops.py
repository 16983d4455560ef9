"""Runs that cannot go on: one clear line, exit code 1, and what was saved before is whole."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file

from training.commands import train
from training.config import Config, to_toml

LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
from training.commands import train
train()
"""


def flags(folder: Path, config: Config, out: Path, *more: str) -> list[str]:
    """Write the settings and return the command line of `newsbert train`."""
    file = out.with_suffix(".toml")
    file.write_text(to_toml(config))
    words = ["--config", file, "--train", folder, "--dev", folder, "--out", out]
    return [str(word) for word in (*words, "--cache", out.with_name("cache"), *more)]


def run_train(folder: Path, config: Config, out: Path, *more: str) -> Result:
    """Call `newsbert train`."""
    return CliRunner().invoke(train, flags(folder, config, out, *more))


def failure(stderr: str) -> str:
    """Return the one line that says what went wrong."""
    (line,) = [line for line in stderr.splitlines() if line.startswith("newsbert: ")]
    return line


@pytest.fixture
def exploding(config: Config) -> Config:
    """Return settings whose first step of joint learning throws the weights out of range."""
    rates = replace(config.distillation.learning_rates, user=1e38, click=1e38)
    settings = replace(config.distillation, learning_rates=rates, warmup_share=0.0)
    return replace(config, distillation=settings, run=replace(config.run, save_every_steps=1000))


def test_a_loss_that_is_not_a_number_stops_the_run(
    tmp_path: Path, mind_folder: Path, exploding: Config
) -> None:
    """The line, the card and run.json name step and loss; metrics end with the step before."""
    result = run_train(mind_folder, exploding, tmp_path / "run")
    assert result.exit_code == 1, result.output
    assert "is not finite" in failure(result.stderr)
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["state"] == "failed"
    assert f"**It failed: {facts['cause']}**" in (tmp_path / "run" / "card.md").read_text()
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["stage"] == "distillation"
    assert facts["cause"].startswith(f"NonFiniteLoss: step {last['step'] + 1}: ")


def test_the_last_good_state_survives_it(
    tmp_path: Path, mind_folder: Path, exploding: Config
) -> None:
    """It is the one from which joint learning began, so the run can be looked at and repeated."""
    run_train(mind_folder, exploding, tmp_path / "run")
    state = load_file(tmp_path / "run" / "state.safetensors")
    assert all(bool(torch.isfinite(t).all()) for t in state.values() if t.is_floating_point())
    again = run_train(mind_folder, exploding, tmp_path / "run", "--resume")
    assert "is not finite" in failure(again.stderr)


def test_weights_beyond_all_numbers_are_not_saved(
    tmp_path: Path, mind_folder: Path, exploding: Config
) -> None:
    """A step may spoil them before any loss shows it; a state saved then would be lost."""
    rates = replace(exploding.distillation.learning_rates, user=1e39)
    settings = replace(exploding.distillation, learning_rates=rates)
    saving = replace(exploding.run, save_every_steps=1)
    result = run_train(
        mind_folder, replace(exploding, distillation=settings, run=saving), tmp_path / "run"
    )
    assert "so nothing was saved" in failure(result.stderr)
    state = load_file(tmp_path / "run" / "state.safetensors")
    assert all(bool(torch.isfinite(t).all()) for t in state.values() if t.is_floating_point())


def test_a_disk_that_fills_is_one_line_and_loses_nothing(
    tmp_path: Path, mind_folder: Path, config: Config
) -> None:
    """Files of at most 40 kB: the run begins and ends at its first large file, then goes on."""
    out = tmp_path / "run"
    command = [sys.executable, "-c", LIMITED, *flags(mind_folder, config, out)]
    full = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert full.returncode == 1, full.stderr
    assert "File too large on the disk at /" in failure(full.stderr)
    assert "Traceback" not in full.stderr
    assert "It failed: DiskFull" in (out / "card.md").read_text()
    assert not list(out.rglob("*.partial*"))
    again = run_train(mind_folder, config, out, "--resume")
    assert again.exit_code == 0, again.output
    assert "It finished." in (out / "card.md").read_text()


def test_patience_ends_a_run(tmp_path: Path, mind_folder: Path, config: Config) -> None:
    """With a learning rate of zero nothing gets better after the first epoch."""
    still = replace(
        config.distillation.learning_rates,
        **dict.fromkeys(("encoder", "pooling", "user", "topic", "click", "content"), 0.0),
    )
    settings = replace(config.distillation, epochs=6, learning_rates=still)
    patient = replace(config, distillation=settings, run=replace(config.run, patience=1))
    out = tmp_path / "run"
    assert run_train(mind_folder, patient, out).exit_code == 0
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in metrics if "epoch" in record] == [1, 2]
    assert json.loads((out / "run.json").read_text())["state"] == "stopped early"
    again = run_train(mind_folder, patient, out, "--resume")
    assert again.exit_code == 0
    assert len((out / "metrics.jsonl").read_text().splitlines()) == len(metrics)


def test_a_seed_on_the_command_line_overrides_the_configuration(
    tmp_path: Path, mind_folder: Path, config: Config
) -> None:
    """The run's own config.toml has it, so that the card repeats the run as it was."""
    assert run_train(mind_folder, config, tmp_path / "run", "--seed", "5").exit_code == 0
    assert "seed = 5" in (tmp_path / "run" / "config.toml").read_text()
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (facts["seed"], facts["name"]) == (5, "run")
    assert run_train(mind_folder, config, tmp_path / "x", "--seed", "-1").exit_code == 2
