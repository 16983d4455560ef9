"""Run: the directory of a training run, its metrics and the position it can resume from."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import platform
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from training.config import Config, to_toml
from training.errors import ResumeError
from training.files import write_bytes
from training.optimisation import Optimisation
from training.progress import ProgressDisplay
from training.resume import Position, State, load_state, save_state

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")


class Run:
    """Keep config.toml, metrics.jsonl, run.json, curves.png, state and checkpoint of one run."""

    def __init__(
        self, directory: Path, config: Config, *, teacher: str, progress: ProgressDisplay
    ) -> None:
        self.directory = directory
        self.teacher = teacher
        self.position = Position()
        self.config = config
        self._progress = progress
        self._started_s = self._stepped_s = time.monotonic()
        self._seconds_before = 0.0

    @property
    def checkpoint(self) -> Path:
        """Return where the best model is kept."""
        return self.directory / "checkpoint"

    def begin(self, facts: Mapping[str, Any], *, resume: bool) -> State:
        """Open the directory and return the state to continue from (a fresh one if none is)."""
        exists = (self.directory / "config.toml").exists()
        if exists and not resume:
            raise ResumeError(f"{self.directory} already holds a run: add --resume or change --out")
        self.directory.mkdir(parents=True, exist_ok=True)
        if exists:
            self._check_same_run(facts)
        state = load_state(self._state_path) if exists else State()
        self.position = state.position
        self._forget_metrics_after(state.position)
        write_bytes(self.directory / "config.toml", to_toml(self.config).encode())
        self.describe({**facts, "teacher": self.teacher, "environment": environment()})
        return state

    def describe(self, facts: Mapping[str, Any]) -> None:
        """Add facts to run.json."""
        known = self.facts()
        self._seconds_before = self._seconds_before or float(known.get("wall_time_s", 0.0))
        elapsed_s = self._seconds_before + time.monotonic() - self._started_s
        content = {**known, **facts, "wall_time_s": round(elapsed_s, 1)}
        write_bytes(self.directory / "run.json", (json.dumps(content, indent=2) + "\n").encode())

    def facts(self) -> dict[str, Any]:
        """Return what run.json says."""
        path = self.directory / "run.json"
        known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return known

    def start_stage(self, stage: str, *, steps: int, done: int) -> None:
        """Enter a stage."""
        self.position = dataclasses.replace(self.position, stage=stage, steps_done=done)
        self._stepped_s = time.monotonic()
        self._progress.start(stage, steps=steps, done=done)

    def log(self, step: int, losses: Mapping[str, Tensor], *, news: int) -> None:
        """Record the losses of a step (from 0) and how many articles it encoded."""
        now_s = time.monotonic()
        news_per_s = news / max(1e-9, now_s - self._stepped_s)
        self._stepped_s = now_s
        figures = {name: float(value.detach()) for name, value in losses.items()}
        self._append({"step": step + 1, **figures, "news_per_s": round(news_per_s, 1)})
        self._progress.step(step + 1, loss=sum(figures.values()), news_per_s=news_per_s)

    def log_epoch(self, epoch: int, figures: Mapping[str, float]) -> bool:
        """Record what was measured after an epoch; tell whether its `holdout_auc` is the best."""
        self._append({"step": self.position.steps_done, "epoch": epoch, **figures})
        text = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
        self.note(f"epoch {epoch}: {text}")
        is_best = figures["holdout_auc"] > self.position.best_auc
        if is_best:
            self.position = dataclasses.replace(
                self.position, best_epoch=epoch, best_auc=figures["holdout_auc"]
            )
        return is_best

    def note(self, text: str) -> None:
        """Tell whoever watches."""
        self._progress.note(text)

    def save_if_due(self, step: int, *, model: nn.Module, optimisation: Optimisation) -> None:
        """Save the state after every `run.save_every_steps` steps."""
        self.position = dataclasses.replace(self.position, steps_done=step + 1)
        if (step + 1) % self.config.run.save_every_steps == 0:
            self.save(model=model, optimisation=optimisation)

    def finish_epoch(self, epoch: int, *, model: nn.Module, optimisation: Optimisation) -> None:
        """Save the state after an epoch and its measurement."""
        self.position = dataclasses.replace(self.position, epochs_done=epoch)
        self.save(model=model, optimisation=optimisation)

    def save(self, *, model: nn.Module, optimisation: Optimisation | None) -> None:
        """Save the state now."""
        save_state(self._state_path, model=model, optimisation=optimisation, position=self.position)

    def metrics(self) -> list[dict[str, Any]]:
        """Return every recorded line."""
        path = self.directory / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if _is_whole(line)]

    def close(self) -> None:
        """Stop showing progress."""
        self._progress.close()

    @property
    def _state_path(self) -> Path:
        return self.directory / "state.safetensors"

    def _append(self, record: Mapping[str, Any]) -> None:
        line = json.dumps({"stage": self.position.stage, **record})
        with (self.directory / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def _forget_metrics_after(self, position: Position) -> None:
        kept = [m for m in self.metrics() if position.covers(m["stage"], m["step"])]
        content = "".join(json.dumps(record) + "\n" for record in kept)
        write_bytes(self.directory / "metrics.jsonl", content.encode())

    def _check_same_run(self, facts: Mapping[str, Any]) -> None:
        try:
            config = (self.directory / "config.toml").read_text(encoding="utf-8")
            known = json.loads((self.directory / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ResumeError(f"{self.directory}: no run to resume ({error})") from error
        if config != to_toml(self.config):
            raise ResumeError(f"{self.directory}: config.toml differs from the given configuration")
        for key, value in {**facts, "teacher": self.teacher}.items():
            if known.get(key) != value:
                raise ResumeError(f"{self.directory}: {key} differs from the run to resume")


def environment() -> dict[str, Any]:
    """Name the versions and the commit that a run depends on."""
    return {
        "python": platform.python_version(),
        "processor": platform.machine(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "git": git_commit(),
    }


def git_commit() -> str | None:
    """Return the commit of the code, or None outside a repository."""
    try:
        commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}-dirty" if changes else commit


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    found = subprocess.run(  # noqa: S603  (constant commands)
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    return found.stdout.strip()


def file_hashes(files: Mapping[str, Path]) -> dict[str, str]:
    """Return the sha256 of each file under the name it has in the run."""
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


def _is_whole(line: str) -> bool:
    # A killed run may leave half a line.
    return line.endswith("}")
