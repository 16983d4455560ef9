"""Resume: a run that was killed anywhere ends as if it had not been."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from training.checkpoint import load_student
from training.config import Config, to_toml
from training.errors import ResumeError
from training.material import Inputs
from training.pipeline import train_student
from training.progress import ProgressDisplay

TIMES = {"news_per_s", "examples_per_s"}


def losses_of(run: Path) -> list[dict[str, Any]]:
    """Return every recorded figure but the speed."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]


def assert_same_runs(first: Path, second: Path) -> None:
    """Compare losses to the last digit and the weights that came out."""
    assert losses_of(first) == losses_of(second)
    assert_same_weights(first, second)


def assert_same_weights(first: Path, second: Path) -> None:
    """Compare every parameter of the students."""
    ours, theirs = load_student(first).model, load_student(second).model
    for name, parameter in ours.named_parameters():
        assert torch.equal(parameter, theirs.get_parameter(name)), name


@pytest.fixture
def copied(tmp_path: Path, whole: Path) -> Path:
    """Return a copy of the whole run that a test may spoil."""
    return shutil.copytree(whole, tmp_path / "copy")


@pytest.mark.parametrize(
    ("stage", "step"),
    [
        ("text_distillation", 1),
        ("text_distillation", 4),
        ("heads", 2),
        ("distillation", 1),
        ("distillation", 5),
    ],
)
def test_losses_after_a_resume_equal_the_uninterrupted_runs(
    tmp_path: Path,
    everything: Config,
    inputs: Inputs,
    whole: Path,
    silent: ProgressDisplay,
    stopping: Callable[[str, int], ProgressDisplay],
    stage: str,
    step: int,
) -> None:
    """Killed before the first save, between saves, in a stage without any, and inside an epoch."""
    broken = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        train_student(everything, inputs, broken, resume=False, progress=stopping(stage, step))
    train_student(everything, inputs, broken, resume=True, progress=silent)
    assert_same_runs(whole, broken)


def test_a_killed_process_can_be_continued(
    tmp_path: Path,
    everything: Config,
    inputs: Inputs,
    whole: Path,
    silent: ProgressDisplay,
) -> None:
    """The same after a real kill -9 at no particular step."""
    broken = tmp_path / "broken"
    (tmp_path / "tiny.toml").write_text(to_toml(everything))
    command = [sys.executable, "-c", "from training.commands import train; train()"]
    flags = ["--config", tmp_path / "tiny.toml", "--train", inputs.train, "--dev", inputs.dev]
    flags += ["--topics", *inputs.topic_files, "--search", inputs.search or "", "--device", "cpu"]
    process = subprocess.Popen(
        [*command, *map(str, flags), "--out", str(broken), "--cache", str(tmp_path / "cache")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    deadline_s = time.monotonic() + 60
    while not (broken / "state.safetensors").exists() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    train_student(everything, inputs, broken, resume=True, progress=silent)
    assert_same_runs(whole, broken)


def test_a_run_that_finds_its_encoder_in_the_cache_ends_equal(
    tmp_path: Path, everything: Config, inputs: Inputs, whole: Path, silent: ProgressDisplay
) -> None:
    """Only the lines of the stage that it left out are missing."""
    shared = replace(inputs, cache=whole.parent / "cache")
    train_student(everything, shared, tmp_path / "second", resume=False, progress=silent)
    later = [line for line in losses_of(whole) if line["stage"] != "text_distillation"]
    assert losses_of(tmp_path / "second") == later
    assert_same_weights(whole, tmp_path / "second")


def test_a_finished_run_is_reported_again_and_not_trained_again(
    everything: Config, inputs: Inputs, copied: Path, silent: ProgressDisplay
) -> None:
    """Resuming what is complete changes no line."""
    before = losses_of(copied)
    figures = train_student(everything, inputs, copied, resume=True, progress=silent)
    assert losses_of(copied) == before
    assert figures["student"]["recommendation"]["impressions"] == 30


def test_an_existing_run_is_not_overwritten(
    everything: Config, inputs: Inputs, copied: Path, silent: ProgressDisplay
) -> None:
    """Without --resume it is refused."""
    with pytest.raises(ResumeError, match="already holds a run"):
        train_student(everything, inputs, copied, resume=False, progress=silent)


def test_another_configuration_or_other_data_are_refused(
    tmp_path: Path,
    everything: Config,
    inputs: Inputs,
    mind_folder: Path,
    copied: Path,
    silent: ProgressDisplay,
) -> None:
    """A run continues with what it began with."""
    other = replace(everything, distillation=replace(everything.distillation, epochs=7))
    with pytest.raises(ResumeError, match=r"config\.toml differs"):
        train_student(other, inputs, copied, resume=True, progress=silent)
    longer = shutil.copytree(mind_folder, tmp_path / "mind")
    with (longer / "behaviors.tsv").open("a") as file:
        file.write("99\tU99\t\tN1\tN2-1 N3-0\n")
    with pytest.raises(ResumeError, match="data_sha256 differs"):
        train_student(
            everything, replace(inputs, train=longer), copied, resume=True, progress=silent
        )


def test_a_damaged_state_is_named(
    everything: Config, inputs: Inputs, copied: Path, silent: ProgressDisplay
) -> None:
    """Half a file is no state."""
    (copied / "state.safetensors").write_bytes(b"half")
    with pytest.raises(ResumeError, match=r"state\.safetensors"):
        train_student(everything, inputs, copied, resume=True, progress=silent)
