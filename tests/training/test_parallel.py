"""Parallel: processes that learn together are one process at the same batch."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, distributed

from tests.tiny import tiny_data
from tests.training.together import CASES, TIMEOUT_S, a_free_port, learn, together
from training import parallel
from training.config import Config, to_toml
from training.errors import ProcessLost
from training.material import Inputs
from training.model import Architecture
from training.pipeline import train_student
from training.progress import ProgressDisplay

# All that a key's bias does is cancelled by the softmax: its gradient is rounding, and Adam scales
# rounding up to steps of the learning rate.
NOISE = re.compile(r"attention\.self\.key\.bias$")


@pytest.fixture(scope="module")
def shape() -> Architecture:
    """Describe a BERT of width 16."""
    return Architecture(
        family="bert", layers=2, hidden=16, heads=2, intermediate=32, vocabulary=50, positions=40,
        token_types=2, activation="gelu", layer_norm_eps=1e-12, pad_id=0, dropout=0.0, dim=8,
        query_width=4, topics=4,
    )  # fmt: skip


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, shape: Architecture) -> Path:
    """Run all cases in two processes; return the folder of what each found."""
    folder = tmp_path_factory.mktemp("together")
    together(2, folder, shape)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_processes_equal_one(two: Path, shape: Architecture, case: str) -> None:
    """Losses of every step, then parameters and Adam's moments, which hold the mean gradient."""
    alone = {name: value for name, value in learn(case, shape).items() if not NOISE.search(name)}
    found = load_file(two / f"{case}.0")
    assert any(name.startswith("step 1/") for name in alone)
    for name, value in alone.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6, msg=name)
    assert alone.keys() <= found.keys()


@pytest.mark.parametrize("case", CASES)
def test_all_processes_hold_the_same_to_the_last_bit(two: Path, case: str) -> None:
    """They would drift apart otherwise."""
    first, second = (load_file(two / f"{case}.{rank}") for rank in (0, 1))
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_all_processes_start_from_what_the_first_knows(two: Path) -> None:
    """Parameters, optimiser, position, scale and decisions; dropout is each one's own."""
    first, second = (load_file(two / f"started.{rank}") for rank in (0, 1))
    assert first["told"].tolist() == [5.0, 2.0, 8.0, 1.0]
    assert not torch.equal(first.pop("dropout"), second.pop("dropout"))
    assert_equal(first, second)


def test_a_step_that_overflows_in_one_process_is_left_out_by_all(two: Path) -> None:
    """The mean gradient holds every overflow: none moves, all halve the scale, and all go on."""
    first, second = (load_file(two / f"overflowed.{rank}") for rank in (0, 1))
    assert_equal(first, second)
    assert (first.pop("overflow/scale"), first.pop("good/scale")) == (256.0, 256.0)
    before, after, later = (
        {name.partition("/")[2]: value for name, value in first.items() if name.startswith(part)}
        for part in ("before", "overflow", "good")
    )
    assert_equal(before, after)
    assert any(not torch.equal(value, later[name]) for name, value in before.items())


def test_a_process_that_is_left_says_so_and_does_not_wait(two: Path) -> None:
    """The second process had returned when the first asked for its gradients."""
    left = json.loads((two / "left").read_text())
    assert left["message"] == str(ProcessLost(0, 2))
    assert left["waited_s"] < TIMEOUT_S / 2


def test_a_process_alone_needs_no_other() -> None:
    """Whatever is asked of the others is answered without any."""
    assert not distributed.is_initialized()
    values = torch.arange(6.0).reshape(3, 2)
    with parallel.processes():
        assert not distributed.is_initialized()
        assert (parallel.count(), parallel.rank()) == (1, 0)
        assert [own.tolist() for own in parallel.shares(np.array([4, 9, 2]))] == [[0, 1, 2]]
        assert parallel.gathered(values, []) is values
        assert parallel.mean(values) is values
        assert parallel.from_the_first(b"told") == b"told"
        assert parallel.as_the_first_decides(True)
        parallel.average_gradients([])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_shares_hold_each_text_once_and_as_many_tokens(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """No process has more than one text, and its length, more than another."""
    monkeypatch.setattr(parallel, "count", lambda: count)
    lengths = tiny_data().texts.lengths
    shares = parallel.shares(lengths)
    assert sorted(np.concatenate(shares).tolist()) == list(range(len(lengths)))
    sizes, tokens = ([f(own) for own in shares] for f in (len, lambda own: lengths[own].sum()))
    assert max(sizes) - min(sizes) <= 1
    assert max(tokens) - min(tokens) <= lengths.max()


def test_torchrun_trains_as_one_process_does(
    tmp_path: Path, config: Config, mind_folder: Path, silent: ProgressDisplay
) -> None:
    """One directory, one report, and the figures of a process alone in every stage."""
    steady = replace(config, model=replace(config.model, dropout=0.0))
    inputs = Inputs(train=mind_folder, dev=mind_folder, cache=tmp_path / "other cache")
    train_student(steady, inputs, tmp_path / "alone", resume=False, progress=silent)
    code, told = torchrun(tmp_path, steady, mind_folder, out=tmp_path / "joined")
    assert code == 0, told
    assert told.count("checkpoint:") == 1
    expected, found = (metrics(tmp_path / name) for name in ("alone", "joined"))
    assert [len(line) for line in found] == [len(line) for line in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4)


def test_a_stop_of_the_first_stops_all(tmp_path: Path, config: Config, mind_folder: Path) -> None:
    """The directory is taken: only the first process finds out, and the other does not wait."""
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "config.toml").touch()
    code, told = torchrun(tmp_path, config, mind_folder, out=tmp_path / "taken")
    assert code != 0
    assert "already holds a run" in told
    assert "Traceback" not in told.split("already holds a run")[0]


def torchrun(folder: Path, config: Config, mind_folder: Path, *, out: Path) -> tuple[int, str]:
    """Run `newsbert train` in two processes; return the status and all that was said."""
    (folder / "tiny.toml").write_text(to_toml(config))
    where = ["--master-addr", "127.0.0.1", "--master-port", str(a_free_port())]
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", *where]
    paths = {"train": mind_folder, "dev": mind_folder, "cache": folder / "cache", "out": out}
    flags = [word for flag, path in paths.items() for word in (f"--{flag}", str(path))]
    flags += ["--device", "cpu"]
    command = [*launcher, "-m", "newsbert", "train", "--config", str(folder / "tiny.toml"), *flags]
    process = subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=TIMEOUT_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, said


def metrics(run: Path) -> list[dict[str, Any]]:
    """Return every recorded number but the speeds."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [
        {k: v for k, v in line.items() if k != "stage" and not k.endswith("_per_s")}
        for line in lines
    ]


def assert_equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    """Compare tensors by name."""
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
