"""Sources: the teacher, the data and the code that finished steps were made with."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict

from contract.figures import FIGURES
from training.errors import StudyError
from training.study.steps import Step, TrainingStep

# What a step says of itself, by the step's name.
_Facts: TypeAlias = Mapping[str, Mapping[str, Any]]


class Sources(BaseModel):
    """Hold one teacher, one sha256 of each data file, and every version of the code in use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    teacher: str | None = None
    data: dict[str, str] = {}
    versions: dict[str, list[str]] = {}


def sources_of(finished: Iterable[Step], directory: Path) -> Sources:
    """Gather what steps were made with; two teachers, or versions of a file, raise StudyError."""
    facts = {step.name: _facts(step, directory / step.name) for step in finished}
    hashes = {step: found.get("data_sha256", {}) for step, found in facts.items()}
    teachers = {step: found["teacher"] for step, found in facts.items() if "teacher" in found}
    data = {
        file: _the_one(file, {step: found[file] for step, found in hashes.items() if file in found})
        for file in sorted(set().union(*hashes.values()))
    }
    teacher = _the_one("the teacher", teachers) if teachers else None
    return Sources(teacher=teacher, data=data, versions=_versions(facts))


def _facts(step: Step, folder: Path) -> dict[str, Any]:
    """Read run.json, or of what is only measured the hashes that stand beside its figures."""
    file = folder / ("run.json" if isinstance(step, TrainingStep) else FIGURES)
    try:
        facts: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"{step.name}: {file.name}: {error}") from error
    return facts


def _the_one(what: str, by_step: Mapping[str, str]) -> str:
    """Return what all steps have in common: one page speaks of one teacher and of one data."""
    steps = defaultdict(list)
    for step, value in by_step.items():
        steps[value].append(step)
    if len(steps) > 1:
        each = "; ".join(f"{value} for {', '.join(names)}" for value, names in steps.items())
        raise StudyError(f"{what} is not the same for all: {each}")
    return next(iter(steps))


def _versions(facts: _Facts) -> dict[str, list[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for one in facts.values():
        environment = one.get("environment", {})
        versions = {"commit": environment.get("git"), "python": environment.get("python")}
        for name, version in {**versions, **environment.get("packages", {})}.items():
            if version:
                found[name].add(version)
    return {name: sorted(versions) for name, versions in sorted(found.items())}
