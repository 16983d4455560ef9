"""Run card: one page of Markdown that says what was trained, on what, how well, and how again."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contract.lines import readable_counts
from training.config import Config
from training.progress import clock
from training.run_figures import MODELS, RunFigures

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Facts = Mapping[str, Any]
HASH_DIGITS = 12
# Of what is read; all else that a report counts is an oddity.
SIZES = ("texts", "articles", "impressions", "queries", "clicks_learnt")
# An absolute path of at least two names, not a part of a URL.
ABSOLUTE_PATH = re.compile(r"(?<![\w.:/~-])/(?:[\w.@+~-]+/)+[\w.@+~-]+")
LAST_SHIPS = "Nothing is held out of the training data: the last epoch ships."
SENTENCES = {
    "running": "It is running, or was killed and can be resumed.",
    "finished": "It finished.",
    "stopped early": "It stopped early: {cause}.",
    "interrupted": "It was interrupted ({cause}) and can be resumed.",
    "failed": "**It failed: {cause}**",
}


def run_card(
    name: str, config: Config, facts: Facts, epochs: Sequence[Facts], figures: RunFigures
) -> str:
    """Write the card of a run from run.json, the epochs of metrics.jsonl and figures.json."""
    parts = [
        f"# Run {name}",
        _state(facts),
        "## What was trained",
        _table(["", ""], _trained(config, facts)),
        "## Data",
        *_data(facts),
        "## Settings that differ from the defaults",
        _table(["setting", "here", "default"], different_settings(config)) or "None.",
        "## Figures",
        *_figures(facts, epochs, figures),
        "## Environment",
        _table(["", ""], _environment(facts.get("environment", {}))),
        "## Again",
        _again(name, facts),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def data_facts(path: Path, report: DataclassInstance) -> dict[str, Any]:
    """Return what run.json says of a folder or file: name, sizes and what was odd in it."""
    return {"name": short_path(path), **dataclasses.asdict(report)}


def input_facts(flags: Mapping[str, Path | str | Sequence[Path] | None]) -> dict[str, Any]:
    """Return what run.json says of the flags that named the inputs, local paths shortened."""
    return {flag: _input(value) for flag, value in flags.items() if value}


def short_path(path: Path) -> str:
    """Name a local path by its last two names: the rest is nobody's business."""
    return "/".join(path.absolute().parts[-2:]).lstrip("/")


def without_paths(text: str) -> str:
    """Shorten every absolute path in a message to its last two names."""
    return ABSOLUTE_PATH.sub(lambda found: "/".join(found[0].split("/")[-2:]), text)


def flat_settings(settings: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    """Name every setting of nested tables by its dotted key."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat_settings(value, f"{at}{key}.")
        elif value is not None:
            found[f"{at}{key}"] = list(value) if isinstance(value, tuple) else value
    return found


def different_settings(config: Config) -> list[tuple[str, str, str]]:
    """Return key, value and default of every setting that is not the default."""
    ours, default = (flat_settings(dataclasses.asdict(c)) for c in (config, Config()))
    return [
        (f"`{key}`", str(value), str(default.get(key, "none")))
        for key, value in ours.items()
        if value != default.get(key)
    ]


def _input(value: Path | str | Sequence[Path]) -> str | list[str]:
    if isinstance(value, str):
        return short_path(Path(value)) if Path(value).exists() else value
    return short_path(value) if isinstance(value, Path) else [short_path(path) for path in value]


def _state(facts: Facts) -> str:
    state = SENTENCES[facts.get("state", "running")].format(cause=facts.get("cause"))
    wall_time = f"Wall time so far {clock(facts.get('wall_time_s', 0.0))}"
    started = facts.get("started_at")
    return f"{state} {wall_time}" + (f", started {started}." if started else ".")


def _trained(config: Config, facts: Facts) -> list[tuple[str, str]]:
    sizes = facts.get("parameters", {})
    layers = config.model.student_layers
    student = f"{layers} layer{'s' if layers > 1 else ''}"
    return [
        ("student", _join(student, _parameters(sizes.get("student")))),
        ("teacher", _join(str(facts.get("teacher")), _parameters(sizes.get("teacher")))),
        ("seed", str(config.run.seed)),
        *((f"{s.replace('_', ' ')}", f"{n:,} steps") for s, n in facts.get("steps", {}).items()),
        *([_chosen(facts["best"])] if facts.get("best") else []),
    ]


def _chosen(best: Facts) -> tuple[str, str]:
    if best.get("value") is None:
        return "epoch that ships", f"the last, {best['epoch']}"
    return "best epoch", f"{best['epoch']}, {best['figure']} {best['value']:.4f}"


def _data(facts: Facts) -> list[str]:
    read = [_read(role, found) for role, found in facts.get("data", {}).items()]
    hashes = [(f"`{n}`", f"`{h[:HASH_DIGITS]}`") for n, h in facts.get("data_sha256", {}).items()]
    return ["\n".join(read), _table(["file", f"sha256 ({HASH_DIGITS} digits)"], hashes)]


def _read(role: str, found: Facts) -> str:
    sizes = ", ".join(
        f"{found[name]:,} {name.replace('_', ' ')}" for name in SIZES if name in found
    )
    odd = readable_counts({n: c for n, c in found.items() if n not in {"name", *SIZES}})
    return f"- {role}: `{found.get('name')}`, {sizes}; {', '.join(odd) or 'nothing odd'}"


def _figures(facts: Facts, epochs: Sequence[Facts], figures: RunFigures) -> list[str]:
    names = list(dict.fromkeys(n for e in epochs for n in e if n not in {"stage", "step", "epoch"}))
    best = (facts.get("best") or {}).get("epoch")
    held_out = [
        (f"{e['epoch']}{' (best)' * (e['epoch'] == best)}", *(_value(e.get(n)) for n in names))
        for e in epochs
        if names
    ]
    measured = [m for m in MODELS if figures.of(m)]
    rows = [
        (name, *(_with_interval(figures, model, name) for model in measured))
        for name in dict.fromkeys(n for model in measured for n in figures.of(model))
    ]
    nothing = "Nothing was measured yet." if not (held_out or rows) else ""
    intervals = any(figures.units_of(m, n) for m in measured for n in figures.of(m))
    return [
        nothing,
        "Held out of the training data, after each epoch:" if held_out else "",
        LAST_SHIPS if epochs and not held_out else "",
        _table(["epoch", *names], held_out),
        f"At the end{', with 95 % bootstrap intervals' if intervals else ''}:" if rows else "",
        _table(["figure", *measured], rows),
    ]


def _with_interval(figures: RunFigures, model: str, name: str) -> str:
    units = figures.units_of(model, name)
    value = _value(figures.of(model).get(name))
    if not units:
        return value
    from contract.intervals import interval

    _, low, high = interval(units)
    return f"{value} [{low:.4f}, {high:.4f}]"


def _environment(environment: Facts) -> list[tuple[str, str]]:
    packages = [(name, str(version)) for name, version in environment.get("packages", {}).items()]
    told = ("python", "processor", "device")
    rest = [(k, environment[k]) for k in told if k in environment]
    commit = environment.get("git") or "outside a repository"
    return [("commit", f"`{commit}`"), *((k, str(v)) for k, v in rest), *packages]


def _again(name: str, facts: Facts) -> str:
    inputs = facts.get("inputs", {})
    flags = [word for flag, value in inputs.items() for word in _flag(flag, value)]
    config = ["newsbert", "train", "--config", f"runs/{name}/config.toml", *flags]
    lines = [
        "# repeat it",
        shlex.join([*config, "--out", f"runs/{name}-again"]),
        "# continue it where it stopped",
        shlex.join([*config, "--out", f"runs/{name}", "--resume"]),
    ]
    said = "Paths are shortened to their last two names." if inputs else "Inputs as above."
    return said + "\n\n```sh\n" + "\n".join(lines) + "\n```"


def _flag(flag: str, value: str | list[str] | None) -> list[str]:
    values = value if isinstance(value, list) else [value] if value else []
    return [word for one in values for word in (f"--{flag}", one)]


def _parameters(count: int | None) -> str:
    return f"{count:,} parameters" if count else ""


def _value(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _join(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    found = [list(row) for row in rows]
    if not found:
        return ""
    lines = [list(head), ["---"] * len(head), *found]
    return "\n".join("| " + " | ".join(_cell(c) for c in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
