"""Run: the directory of a training run, its metrics and the position it can resume from."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
import weakref
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from training.config import Config, load_config, to_toml
from training.device import CPU, numbers_of
from training.environment import environment
from training.errors import ConfigError, ResumeError, TrainingError
from training.files import disk_full, recover_directory, write_bytes
from training.optimisation import Optimisation
from training.progress import ProgressDisplay
from training.resume import Position, State, load_state, save_state
from training.run_card import run_card, without_paths
from training.run_figures import read_run_figures
from training.run_lock import lock_directory
from training.run_metrics import RunMetrics

CHOSEN_BY = "holdout_auc"


class Run:
    """Keep config.toml, run.json, metrics.jsonl, card.md, state and checkpoint of one run.

    It holds the directory's lock from `begin` to `close`. As a context manager it also records
    how the run ended: finished, stopped early, interrupted or failed with a named cause.
    """

    def __init__(
        self,
        directory: Path,
        config: Config,
        *,
        teacher: str,
        progress: ProgressDisplay,
        name: str = "",
        device: torch.device = CPU,
    ) -> None:
        self.directory = directory
        self.teacher = teacher
        self.position = Position()
        self.config = config
        self.device = device
        self._name = name or directory.name
        self._metrics = RunMetrics(directory)
        self._progress = progress
        self._started_s = self._stepped_s = time.monotonic()
        self._seconds_before = 0.0
        self._stage_steps = 0
        self._unlock: weakref.finalize[[int], Run] | None = None

    def __enter__(self) -> Self:
        """Return the run."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Record how the run ended and let go of the directory; name a full disk wherever met."""
        full = disk_full(self.directory, error)
        try:
            if self._unlock is not None:
                self.finish() if error is None else self.fail(full or error)
        finally:
            self.close()
        if full is not None:
            raise full from error

    @property
    def checkpoint(self) -> Path:
        """Return where the best model is kept."""
        return self.directory / "checkpoint"

    def begin(self, facts: Mapping[str, Any], *, resume: bool) -> State:
        """Lock the directory and return the state to continue from (a fresh one if none is)."""
        self.directory.mkdir(parents=True, exist_ok=True)
        descriptor = lock_directory(self.directory)
        try:
            state = self._open(facts, resume=resume)
        except BaseException:
            os.close(descriptor)
            raise
        # A run that nobody closed lets go of its directory at the latest when it is collected.
        self._unlock = weakref.finalize(self, os.close, descriptor)
        return state

    def _open(self, facts: Mapping[str, Any], *, resume: bool) -> State:
        exists = (self.directory / "config.toml").exists()
        if exists and not resume:
            raise ResumeError(f"{self.directory} already holds a run: add --resume or change --out")
        if exists:
            self._check_same_run(facts)
        recover_directory(self.checkpoint)
        state = load_state(self._state_path) if exists else State()
        self.position = state.position
        self._metrics.forget_after(state.position)
        known = self.facts() if exists else {}
        self._seconds_before = float(known.get("wall_time_s", 0.0))
        self._describe_only({**known, **facts, **self._own_facts(known)})
        # Last, because it is what says that here is a run.
        write_bytes(self.directory / "config.toml", to_toml(self.config).encode())
        self.write_card()
        return state

    def describe(self, facts: Mapping[str, Any]) -> None:
        """Add facts to run.json."""
        self._describe_only({**self.facts(), **facts})

    def facts(self) -> dict[str, Any]:
        """Return what run.json says."""
        path = self.directory / "run.json"
        known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return known

    def start_stage(self, stage: str, *, steps: int, done: int) -> None:
        """Enter a stage."""
        self.position = dataclasses.replace(self.position, stage=stage, steps_done=done)
        self._stage_steps = steps
        self.describe({"steps": {**self.facts().get("steps", {}), stage: steps}})
        self._stepped_s = time.monotonic()
        self._progress.start(stage, steps=steps, done=done)

    def log(
        self,
        step: int,
        losses: Mapping[str, Tensor],
        *,
        news: int,
        examples: int = 0,
        total: Tensor | None = None,
        learning_rate: float | None = None,
    ) -> None:
        """Record a step (from 0): its losses, how many articles it encoded, of how many examples.

        `total` is the loss that was minimised, where the losses are weighted.
        """
        now_s = time.monotonic()
        seconds = max(1e-9, now_s - self._stepped_s)
        self._stepped_s = now_s
        figures = dict(zip(losses, numbers_of(losses.values()), strict=True))
        speeds = {"news_per_s": news / seconds, "examples_per_s": examples / seconds}
        rate = {} if learning_rate is None else {"learning_rate": learning_rate}
        recorded = {name: round(value, 1) for name, value in speeds.items() if value}
        self._append({"step": step + 1, **figures, **rate, **recorded})
        loss = sum(figures.values()) if total is None else float(total.detach())
        self._progress.step(step + 1, loss=loss, **speeds)

    def log_epoch(self, epoch: int, figures: Mapping[str, float]) -> bool:
        """Record what was measured after an epoch; tell whether it is the best by held-out AUC.

        Where nothing is held out, the last epoch is the best.
        """
        self._append({"step": self.position.steps_done, "epoch": epoch, **figures})
        text = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
        self.note(f"epoch {epoch}: {text}")
        value = figures.get(CHOSEN_BY)
        is_best = value is None or value > self.position.best_auc
        self.position = dataclasses.replace(self.position, epochs_done=epoch)
        if is_best:
            self.position = dataclasses.replace(
                self.position, best_epoch=epoch, best_auc=value or 0.0
            )
            self.describe({"best": {"epoch": epoch, "figure": CHOSEN_BY, "value": value}})
        return is_best

    def should_stop(self) -> bool:
        """Tell whether `run.patience` epochs have passed without a better held-out figure."""
        done, best = self.position.epochs_done, self.position.best_epoch
        return is_stale(done, best, patience=self.config.run.patience)

    def note(self, text: str) -> None:
        """Tell whoever watches."""
        self._progress.note(text)

    def save_if_due(self, step: int, *, model: nn.Module, optimisation: Optimisation) -> None:
        """Save the state after every `run.save_every_steps` steps."""
        self.position = dataclasses.replace(self.position, steps_done=step + 1)
        if (step + 1) % self.config.run.save_every_steps == 0:
            self.save(model=model, optimisation=optimisation)

    def finish_epoch(self, epoch: int, *, model: nn.Module, optimisation: Optimisation) -> None:
        """Save the state after an epoch and its measurement, and renew the card."""
        self.position = dataclasses.replace(self.position, epochs_done=epoch)
        self.save(model=model, optimisation=optimisation)
        self.write_card()

    def save(self, *, model: nn.Module, optimisation: Optimisation | None) -> None:
        """Save the state now; weights that are not finite are refused, the old state stays."""
        self._metrics.flush()
        save_state(self._state_path, model=model, optimisation=optimisation, position=self.position)
        self.describe({})
        # Neither measuring nor saving counts as the next step's time.
        self._stepped_s = time.monotonic()

    def metrics(self) -> list[dict[str, Any]]:
        """Return every recorded line."""
        return self._metrics.records()

    def write_card(self) -> None:
        """Write card.md as things stand."""
        facts = self.facts()
        epochs = [record for record in self.metrics() if "epoch" in record]
        figures = read_run_figures(self.directory, facts)
        card = run_card(self.directory.name, self.config, facts, epochs, figures)
        write_bytes(self.directory / "card.md", card.encode())

    def finish(self) -> None:
        """Record that the run is over, and whether it stopped early."""
        if self.should_stop() and self.position.steps_done < self._stage_steps:
            best, patience = self.position.best_epoch, self.config.run.patience
            cause = f"no better held-out figure in {patience} epochs after epoch {best}"
            self.describe({"state": "stopped early", "cause": cause})
        else:
            self.describe({"state": "finished", "cause": None})
        self.write_card()

    def fail(self, error: BaseException) -> None:
        """Record why the run ended; a disk that is full for this too keeps the old record."""
        state = "failed" if isinstance(error, Exception) else "interrupted"
        cause = f"{type(error).__name__}: {error}".split("\n", 1)[0].removesuffix(": ")
        with contextlib.suppress(TrainingError, OSError, ValueError):
            self.describe({"state": state, "cause": without_paths(cause)})
            self.write_card()

    def close(self) -> None:
        """Stop showing progress and let go of the directory."""
        self._progress.close()
        if self._unlock is not None:
            self._unlock()

    @property
    def _state_path(self) -> Path:
        return self.directory / "state.safetensors"

    def _own_facts(self, known: Mapping[str, Any]) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return {
            "teacher": self.teacher,
            "environment": environment(self.device),
            "name": self._name,
            "started_at": known.get("started_at", now),
            "state": "running",
            "cause": None,
        }

    def _describe_only(self, facts: Mapping[str, Any]) -> None:
        elapsed_s = self._seconds_before + time.monotonic() - self._started_s
        content = {**facts, "wall_time_s": round(elapsed_s, 1)}
        write_bytes(self.directory / "run.json", (json.dumps(content, indent=2) + "\n").encode())

    def _append(self, record: Mapping[str, Any]) -> None:
        self._metrics.append({"stage": self.position.stage, **record})

    def _check_same_run(self, facts: Mapping[str, Any]) -> None:
        try:
            config = load_config(self.directory / "config.toml")
            known = json.loads((self.directory / "run.json").read_text(encoding="utf-8"))
        except (ConfigError, OSError, ValueError) as error:
            raise ResumeError(f"{self.directory}: no run to resume ({error})") from error
        # By value, not by text: a new setting at its default is no change.
        if config != self.config:
            raise ResumeError(f"{self.directory}: config.toml differs from the given configuration")
        for key, value in {**facts, "teacher": self.teacher}.items():
            if known.get(key) != value:
                raise ResumeError(f"{self.directory}: {key} differs from the run to resume")


def is_stale(epochs_done: int, best_epoch: int, *, patience: int) -> bool:
    """Tell whether the best epoch lies `patience` or more epochs back; 0 never loses patience."""
    return 0 < patience <= epochs_done - best_epoch
