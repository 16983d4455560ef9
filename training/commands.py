"""Commands: `newsbert train` and `newsbert evaluate` for checkpoints."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from training.config import load_config
from training.errors import ConfigError, TrainingError

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
PATH = click.Path(path_type=Path)
F = TypeVar("F", bound=Callable[..., Any])


def option(name: str, *names: str, env: str, **settings: Any) -> Callable[[F], F]:  # noqa: ANN401
    """Declare an option that the environment can set as well."""
    return click.option(name, *names, envvar=f"NEWSBERT_{env}", show_envvar=True, **settings)


@click.command(
    epilog="Example: newsbert train --config training/configs/sample.toml "
    "--train samples/mind/train --dev samples/mind/dev"
)
@option("--config", "file", env="CONFIG", type=FILE, required=True, help="Settings (TOML).")
@option("--train", "train_folder", env="TRAIN", type=FOLDER, required=True, help="MIND folder.")
@option("--dev", env="DEV", type=FOLDER, required=True, help="MIND folder for the report.")
@option(
    "--teacher", env="TEACHER", help="Hub id or local folder of a BERT- or RoBERTa-family model."
)
@option(
    "--topics",
    env="TOPICS",
    type=FILE,
    multiple=True,
    help="Headlines for text distillation (.jsonl, .tsv or plain text); may be repeated.",
)
@option("--search", env="SEARCH", type=FOLDER, help="Folder whose news.jsonl.gz has more titles.")
@option("--out", env="OUT", type=PATH, help="Run directory [default: runs/<name of the config>].")
@option(
    "--resume",
    env="RESUME",
    is_flag=True,
    help="Continue the run in --out where it stopped, if any.",
)
def train(
    *,
    file: Path,
    train_folder: Path,
    dev: Path,
    teacher: str | None,
    topics: tuple[Path, ...],
    search: Path | None,
    out: Path | None,
    resume: bool,
) -> None:
    """Distil a student from a teacher on a MIND folder's clicks."""
    try:
        config = load_config(file)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    # torch and transformers take seconds to import: not before the settings are known to be right.
    from training.pipeline import Inputs, train_student
    from training.progress import progress_display

    inputs = Inputs(train_folder, dev, teacher, topics, search)
    directory = out or Path("runs") / file.stem
    progress = progress_display()
    try:
        figures = train_student(config, inputs, directory, resume=resume, progress=progress)
    except (TrainingError, ValueError, OSError) as error:
        _fail(error)
    finally:
        progress.close()
    click.echo(f"checkpoint: {directory / 'checkpoint'}")
    for name in ("student", "teacher"):
        click.echo(f"{name}: {_one_line(figures[name])}")


@click.command(epilog="Example: newsbert evaluate runs/sample/checkpoint --mind samples/mind/dev")
@click.argument("checkpoint", type=FOLDER)
@option("--mind", env="MIND", type=FOLDER, required=True, help="MIND folder to measure on.")
@option(
    "--model",
    env="MODEL",
    type=click.Choice(["student", "teacher"]),
    default="student",
    help="Which of the two.",
)
@option("--json", "as_json", env="JSON", is_flag=True, help="Print one JSON object.")
def evaluate(*, checkpoint: Path, mind: Path, model: str, as_json: bool) -> None:
    """Measure a checkpoint by MIND's metrics, averaged over impressions."""
    from contract.mind import read_folder
    from training.checkpoint import load_pair, load_student
    from training.encoding import evaluate_model

    try:
        if model == "student":
            loaded = load_student(checkpoint)
            chosen = loaded.model
        else:
            pair, loaded = load_pair(checkpoint)
            chosen = pair.teacher
        measured = evaluate_model(chosen, loaded.tokenizer(), read_folder(mind), loaded.spec)
    except (TrainingError, ValueError, OSError) as error:
        _fail(error)
    figures = measured.as_dict()
    click.echo(json.dumps(figures) if as_json else _one_line(figures))


def _one_line(figures: dict[str, Any]) -> str:
    return "  ".join(
        f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value:,}"
        for name, value in figures.items()
    )


def _fail(error: Exception) -> NoReturn:
    click.echo(f"newsbert: {error}", err=True)
    sys.exit(1)
