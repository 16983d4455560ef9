"""Steps: the runs and measurements of a study, in an order that a cut-off leaves useful."""

from __future__ import annotations

import hashlib
import itertools
import json
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from contract.figures import FIGURES
from training.config import Config, parse_config, to_toml
from training.errors import ConfigError
from training.study.plan import Baseline, Line, Study, Task

State = Literal["new", "begun", "finished", "changed"]
_Options: TypeAlias = dict[str, list[str]]  # each value of an option repeats its name


@dataclass(frozen=True)
class Inputs:
    """Name what every step reads: the data folder and the pretrained teacher."""

    data: Path
    teacher: str | None = None


class Step(Protocol):
    """Be run in a process of its own, with a directory of its own."""

    @property
    def name(self) -> str:
        """Return the directory, relative to the study's."""

    @property
    def row(self) -> str:
        """Return the name of the table's row that the step is for."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Return the names of the steps that must be finished before."""

    def settings(self) -> str:
        """Return what the step is run with, as TOML: it stands beside the directory."""

    def state(self, study_directory: Path) -> State:
        """Tell from the directory alone how far the step is, and whether with these settings."""

    def arguments(self, study: Study, inputs: Inputs, study_directory: Path) -> list[str]:
        """Return the arguments for `newsbert`."""


@dataclass(frozen=True)
class TrainingStep:
    """Train one line with one seed."""

    line: Line
    seed: int
    config: Config
    needs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return `<line>-s<seed>`."""
        return run_name(self.line.name, self.seed)

    @property
    def row(self) -> str:
        """Return the line's name."""
        return self.line.name

    def settings(self) -> str:
        """Return the run's whole configuration."""
        return to_toml(self.config).rstrip("\n") + "\n"

    def state(self, study_directory: Path) -> State:
        """Compare the run's own config.toml by value: a new key with its default is no change."""
        directory = study_directory / self.name
        written = directory / "config.toml"
        if not written.exists():
            return "new"
        try:
            same = parse_config(tomllib.loads(written.read_text("utf-8"))) == self.config
        except (ValueError, ConfigError):
            same = False
        if not same:
            return "changed"
        return "finished" if _is_json(directory / FIGURES) else "begun"

    def arguments(self, study: Study, inputs: Inputs, study_directory: Path) -> list[str]:
        """Return `train …`, always with `--resume`: a fresh directory starts afresh."""
        options: _Options = {
            **_data_options(study, inputs),
            "--config": [str(settings_file(study_directory, self))],
            "--dev": [str(inputs.data / study.data.dev)],
            "--texts": [str(inputs.data / file) for file in study.data.texts],
            "--teacher-run": [str(study_directory / name) for name in self.needs],
            "--out": [str(study_directory / self.name)],
        }
        return ["train", *_flat(options), "--resume"]


@dataclass(frozen=True)
class MeasuringStep:
    """Measure one baseline, or a bundle, on one task."""

    baseline: Baseline
    task: Task
    needs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return `baselines/<name>-<task>`."""
        return measurement_name(self.baseline.name, self.task)

    @property
    def row(self) -> str:
        """Return the baseline's name."""
        return self.baseline.name

    def settings(self) -> str:
        """Return what is measured; a bundle with its hash, since another may take its place."""
        lines = [f'what = "{self.baseline.what}"', f'task = "{self.task}"']
        manifest = Path(self.baseline.what) / "manifest.json"
        if manifest.exists():
            lines.append(f'manifest = "{hashlib.sha256(manifest.read_bytes()).hexdigest()}"')
        return "\n".join(lines) + "\n"

    def state(self, study_directory: Path) -> State:
        """Compare the settings that stand beside the directory."""
        directory = study_directory / self.name
        if not directory.exists():
            return "new"
        file = settings_file(study_directory, self)
        if not file.exists() or file.read_text("utf-8") != self.settings():
            return "changed"
        return "finished" if _is_json(directory / FIGURES) else "begun"

    def arguments(self, study: Study, inputs: Inputs, study_directory: Path) -> list[str]:
        """Return `evaluate …`."""
        options: _Options = {
            **_data_options(study, inputs),
            "--task": [self.task],
            "--mind": [str(inputs.data / study.data.dev)],
            "--out": [str(study_directory / self.name)],
        }
        return ["evaluate", self.baseline.what, *_flat(options)]


def run_name(line: str, seed: int) -> str:
    """Return the directory of a line's run."""
    return f"{line}-s{seed}"


def measurement_name(baseline: str, task: Task) -> str:
    """Return the directory of a measurement."""
    return f"baselines/{baseline}-{task}"


def settings_file(study_directory: Path, step: Step) -> Path:
    """Return where a step's settings are written: beside its directory, not in it."""
    return study_directory / f"{step.name}.toml"


def steps_of(study: Study, *, only: Sequence[str] = ()) -> list[Step]:
    """Return all steps, or those of some rows and what they need, in the order to run them.

    The main lines' first seed comes first, then baselines, then the ablation lines, then further
    seeds: wherever the queue is cut off, the tables say as much as they can. What a step needs
    comes before it.
    """
    first = [_training(study, line, line.seeds[0]) for line in study.main]
    measured = [MeasuringStep(one, task) for one in study.baseline for task in one.tasks]
    ablations = [_training(study, line, line.seeds[0]) for line in study.ablation]
    further = [
        _training(study, line, line.seeds[number])
        for number in range(1, max(len(line.seeds) for line in study.lines.values()))
        for line in study.lines.values()
        if number < len(line.seeds)
    ]
    ranked: list[Step] = [*first, *measured, *ablations, *further]
    return _needs_first([s for s in ranked if not only or s.row in only], among=ranked)


def set_aside(study_directory: Path, step: Step) -> Path:
    """Move away a directory that was made with other settings; nothing trained is deleted."""
    folder = study_directory / "superseded"
    folder.mkdir(parents=True, exist_ok=True)
    names = (folder / f"{step.name.replace('/', '-')}-{n}" for n in itertools.count(1))
    target = next(path for path in names if not path.exists())
    (study_directory / step.name).rename(target)
    return target


def _training(study: Study, line: Line, seed: int) -> TrainingStep:
    needs: tuple[str, ...] = ()
    if teacher := study.teacher_of(line):
        same = seed if seed in teacher.seeds else teacher.seeds[0]
        needs = (run_name(teacher.name, same),)
    return TrainingStep(line, seed, study.configuration(line, seed), needs)


def _needs_first(steps: Iterable[Step], *, among: Iterable[Step]) -> list[Step]:
    known = {step.name: step for step in among}
    placed: dict[str, Step] = {}

    def place(step: Step) -> None:
        for name in step.needs:
            place(known[name])
        placed.setdefault(step.name, step)

    for step in steps:
        place(step)
    return list(placed.values())


def _data_options(study: Study, inputs: Inputs) -> _Options:
    return {
        "--train": [str(inputs.data / study.data.train)],
        "--topics": [str(inputs.data / file) for file in study.data.topics],
        "--search": [str(inputs.data / study.data.search)],
        "--teacher": [inputs.teacher] if inputs.teacher else [],
    }


def _flat(options: _Options) -> list[str]:
    return [word for name, values in options.items() for value in values for word in (name, value)]


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return True
