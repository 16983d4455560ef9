"""The file `figures.json`: what was measured of one or more models, and the values per unit.

Tables and their intervals are computed from such files alone.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contract.measuring import Measured

FIGURES = "figures.json"
DIGITS = 6
# Units that comparisons are made of. Of other figures only the mean is kept: no interval, no pairs.
KEPT_UNITS = {
    "recommendation": {"auc": "auc", "ndcg10": "ndcg10"},
    "topics": {"accuracy": "topics/{taxonomy}"},
    "search": {"ndcg10": "search/ndcg10", "recall10": "search/recall10"},
}


class FiguresError(ValueError):
    """A file is not a sound `figures.json`."""


@dataclass(frozen=True)
class FiguresFile:
    """What a file says: nested figures by model, and values per impression, text or query.

    Of what was only measured it has the teacher, where one was asked for, and the hashes of the
    data files, too; a run has them elsewhere.
    """

    line: str
    seed: int | None
    models: dict[str, dict[str, Any]]
    units: dict[str, dict[str, list[float]]]
    data_sha256: dict[str, str] = field(default_factory=dict)
    teacher: str | None = None


def write_figures(
    directory: Path,
    models: Mapping[str, Measured],
    *,
    line: str,
    seed: int | None = None,
    files: Mapping[str, Path] | None = None,
    teacher: str | None = None,
) -> Path:
    """Write `figures.json` into a directory, whole or not at all, and return its path.

    `files` are the data files that the figures depend on, by the names that a run gives them;
    `teacher` is the pretrained model that was measured.
    """
    content: dict[str, Any] = {
        "line": line,
        "seed": seed,
        "models": {name: nested(measured) for name, measured in models.items()},
        "units": {name: kept_units(measured) for name, measured in models.items()},
    }
    if teacher is not None:
        content["teacher"] = teacher
    if files:
        content["data_sha256"] = file_hashes(files)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / FIGURES
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def read_figures(path: Path) -> FiguresFile:
    """Read what `write_figures` wrote into a directory, or that file itself."""
    file = path / FIGURES if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        found = FiguresFile(**content)
    except (OSError, ValueError, TypeError) as error:
        raise FiguresError(f"{file}: {error}") from error
    if not isinstance(found.models, dict) or set(found.models) != set(found.units):
        raise FiguresError(f"{file}: models and units do not name the same models")
    return found


def file_hashes(files: Mapping[str, Path]) -> dict[str, str]:
    """Return the sha256 of each file under the name it has in a run."""
    return {name: _sha256(path) for name, path in files.items()}


def nested(measured: Measured) -> dict[str, Any]:
    """Return figures by task, those of topics by taxonomy."""
    tasks: dict[str, Any] = {}
    for name, task in measured.items():
        kind, _, taxonomy = name.partition("/")
        if taxonomy:
            tasks.setdefault(kind, {})[taxonomy] = task.figures
        else:
            tasks[kind] = task.figures
    return tasks


def kept_units(measured: Measured) -> dict[str, list[float]]:
    """Return the values per unit that figures are compared by, by the figure's name."""
    kept: dict[str, list[float]] = {}
    for name, task in measured.items():
        kind, _, taxonomy = name.partition("/")
        for figure, key in KEPT_UNITS[kind].items():
            values = [round(value, DIGITS) for value in task.units[figure]]
            kept[key.format(taxonomy=taxonomy)] = values
    return kept


def _sha256(path: Path) -> str:
    # In pieces: a large click log need not fit into memory.
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
