"""Plan: the table of experiments (`configs/study.toml`) and what each of its lines is run with."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from contract.lines import place_and_problem
from training.config import Config, parse_config
from training.errors import ConfigError, StudyError

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Task = Literal["recommendation", "topics", "search"]
Figure = Literal[
    "auc", "ndcg10", "topics/mind", "topics/huffpost", "search/recall10", "search/ndcg10"
]
TASKS: tuple[Task, ...] = ("recommendation", "topics", "search")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Line(_Table):
    """Describe one row that is trained: a base configuration and what is changed in it.

    `base` is a file beside the study, or the name of another line: then all that is not changed is
    as in that line, and an ablation is compared with it. `teacher_run` names the line whose
    finished run is the fixed teacher.
    """

    name: Name
    title: str
    base: str
    changes: dict[str, Any] = {}
    seeds: tuple[int, ...] = Field(default=(1,), min_length=1)
    model: Literal["student", "teacher"] = "student"
    teacher_run: Name | None = None


class Baseline(_Table):
    """Describe one row that is only measured: `what` is a baseline's name or a bundle."""

    name: Name
    title: str
    what: str
    tasks: tuple[Task, ...] = Field(min_length=1)


class Goal(_Table):
    """State a goal: `at_least` a value, or a share of another row's, or `within` its distance."""

    title: str
    row: Name
    figure: Figure
    of: Name | None = None
    at_least: float | None = None
    within: float | None = None
    remark: str = ""  # what was tried, what limits it: shown whatever the verdict

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Goal:
        if (self.at_least is None) == (self.within is None):
            raise ValueError("a goal has either `at_least` or `within`")
        if self.within is not None and self.of is None:
            raise ValueError("`within` needs the row that it is a distance `of`")
        return self


class Spent(_Table):
    """Count what was spent outside of the queue, which knows only of its own runs."""

    cpu_hours: float = Field(ge=0)
    remark: str


class Data(_Table):
    """Name the files that are read, relative to the data folder given on the command line."""

    train: str
    dev: str
    search: str
    topics: tuple[str, ...]  # labelled texts
    texts: tuple[str, ...]  # unlabelled ones


class Study(_Table):
    """Hold the experiments in the order of the page, and the folder of their base files."""

    folder: Path
    budget_cpu_hours: float
    spent_before: Spent | None = None
    data: Data
    references: dict[Task, tuple[Name, ...]] = {}
    main: tuple[Line, ...] = Field(min_length=1)
    ablation: tuple[Line, ...] = ()
    baseline: tuple[Baseline, ...] = ()
    goal: tuple[Goal, ...] = ()

    @cached_property
    def lines(self) -> dict[str, Line]:
        """Return every trained line by name."""
        return {line.name: line for line in (*self.main, *self.ablation)}

    @property
    def rows(self) -> dict[str, Line | Baseline]:
        """Return every row of the tables by name, in the order of the page."""
        rows: list[Line | Baseline] = [*self.main, *self.baseline, *self.ablation]
        return {row.name: row for row in rows}

    def configuration(self, line: Line, seed: int) -> Config:
        """Return the checked configuration of a line's run; a wrong key raises StudyError."""
        table = merged(self._table(line), {"run": {"seed": seed}})
        try:
            return parse_config(table)
        except ConfigError as error:
            raise StudyError(f"line {line.name}: {error}") from error

    def base_of(self, line: Line) -> Line | None:
        """Return the line that a line is based on, if it is not based on a file."""
        return self.lines.get(line.base)

    def teacher_of(self, line: Line) -> Line | None:
        """Return the line whose run is a line's fixed teacher: its own, or that of its base."""
        base = self.base_of(line)
        inherited = self.teacher_of(base) if base else None
        return self.lines.get(line.teacher_run) if line.teacher_run else inherited

    def _table(self, line: Line) -> dict[str, Any]:
        base = self.base_of(line)
        table = self._table(base) if base else _read_toml(self.folder / line.base)
        return merged(table, line.changes)

    @model_validator(mode="after")
    def _names_are_unique_and_known(self) -> Study:
        names = [row.name for row in self.baseline]
        names += [line.name for line in (*self.main, *self.ablation)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two rows are named {name}")
        asked = [name for goal in self.goal for name in (goal.row, goal.of or goal.row)]
        for name in (*asked, *chain.from_iterable(self.references.values())):
            if name not in names:
                raise ValueError(f"a goal or reference names {name}, which is no row")
        # Bases first: a base that leads back to itself has no end.
        for check in (self._check_bases, self._check_teacher):
            for line in self.lines.values():
                check(line)
        return self

    def _check_bases(self, line: Line) -> None:
        if line in self.ablation and line.base not in self.lines:
            raise ValueError(f"{line.name}: an ablation is based on the line it is compared with")
        seen, at = {line.name}, line
        while (base := self.base_of(at)) is not None:
            if base.name in seen:
                raise ValueError(f"{line.name} is based on itself")
            seen.add(base.name)
            at = base
        if not at.base.endswith(".toml"):
            raise ValueError(f"{at.name}: base {at.base} is neither a line nor a .toml file")

    def _check_teacher(self, line: Line) -> None:
        if line.teacher_run and line.teacher_run not in self.lines:
            raise ValueError(f"{line.name}: teacher_run {line.teacher_run} is no line")
        teacher = self.teacher_of(line)
        if teacher and self.teacher_of(teacher):
            raise ValueError(f"{line.name}: its teacher {teacher.name} has a fixed teacher itself")


def read_study(path: Path) -> Study:
    """Read and check the table of experiments, every line's configuration included."""
    try:
        study = Study.model_validate({**_read_toml(path), "folder": path.parent})
    except ValidationError as error:
        raise StudyError(f"{path.name}: {place_and_problem(error)}") from error
    for line in study.lines.values():
        study.configuration(line, line.seeds[0])
    return study


def merged(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a nested table with other values in some places."""
    result = dict(table)
    for key, value in changes.items():
        both_tables = isinstance(value, Mapping) and isinstance(table.get(key), Mapping)
        result[key] = merged(table[key], value) if both_tables else value
    return result


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(f"{path.name}: {error.strerror}") from error
    except ValueError as error:
        raise StudyError(f"{path.name}: {error}") from error
