"""Commands: `newsbert train` and `newsbert evaluate` for checkpoints."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from contract.evaluate_command import EXAMPLE, HELP, Request, answer, evaluate_options
from contract.measuring import Predictor
from training.baselines import BASELINES
from training.baselines.choice import check_baseline, make_baseline
from training.config import Config, load_config
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
@option("--train", env="TRAIN", type=FOLDER, required=True, help="MIND folder.")
@option("--dev", env="DEV", type=FOLDER, required=True, help="MIND folder for the report.")
@option(
    "--teacher", env="TEACHER", help="Hub id or local folder of a BERT- or RoBERTa-family model."
)
@option(
    "--topics",
    "topic_files",
    env="TOPICS",
    type=FILE,
    multiple=True,
    help="Headlines with topics (.jsonl or .tsv), a taxonomy named like the file; repeatable.",
)
@option(
    "--texts",
    "text_files",
    env="TEXTS",
    type=FILE,
    multiple=True,
    help="Headlines to distil from (.txt, .jsonl or .tsv), their topics unread; repeatable.",
)
@option("--search", env="SEARCH", type=FOLDER, help="Folder of articles and queries.")
@option(
    "--teacher-run",
    env="TEACHER_RUN",
    type=FOLDER,
    help="Finished run whose model teaches where distillation.joint is off.",
)
@option(
    "--cache",
    env="CACHE",
    type=PATH,
    default=Path("runs/cache"),
    show_default=True,
    help="Folder for what several runs can share: teacher vectors and distilled encoders.",
)
@option("--seed", env="SEED", type=click.IntRange(min=0), help="Instead of the config's run.seed.")
@option("--out", env="OUT", type=PATH, help="Run directory [default: runs/<name of the config>].")
@option(
    "--device",
    env="DEVICE",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to train; auto is CUDA where torch sees a device.",
)
@option(
    "--resume",
    env="RESUME",
    is_flag=True,
    help="Continue the run in --out where it stopped, if any.",
)
def train(
    *,
    file: Path,
    seed: int | None,
    out: Path | None,
    device: str,
    resume: bool,
    **inputs: Any,  # noqa: ANN401  (click has typed them)
) -> None:
    """Distil a student from a teacher on a MIND folder's clicks."""
    config = _settings(file, seed)
    directory = out or Path("runs") / file.stem
    # torch and transformers take seconds to import: not before the settings are known to be right.
    from torch import OutOfMemoryError

    from training.device import take_device
    from training.material import Inputs
    from training.pipeline import train_student
    from training.progress import progress_display

    progress = progress_display()
    try:
        chosen, read = take_device(device), Inputs(**inputs, config_name=file.stem)
        figures = train_student(
            config, read, directory, resume=resume, progress=progress, device=chosen
        )
    except (TrainingError, ValueError, OSError, OutOfMemoryError) as error:
        # Before the line of the failure, so that the bar does not overwrite it.
        progress.close()
        _fail(error)
    finally:
        progress.close()
    if not figures:
        return  # beside the process that keeps the run
    click.echo(f"checkpoint: {directory / 'checkpoint'}")
    for model, tasks in figures.items():
        for task, measured in _by_task(tasks).items():
            click.echo(f"{model}, {task}: {_one_line(measured)}")


@click.command(help=HELP, epilog=EXAMPLE)
@click.argument("what")
@evaluate_options
def evaluate(what: str, **options: Any) -> None:  # noqa: ANN401  (click has typed them)
    """Measure a checkpoint, a run or a baseline."""
    request = Request(**options)
    request.check()
    if what in BASELINES:
        check_baseline(what, request)
        name, predictor = what, partial(make_baseline, what, request)
    elif Path(what).is_dir():
        name, predictor = request.model, partial(_trained, Path(what), request.model)
    else:
        raise click.UsageError(f"{what} is neither a directory nor one of {', '.join(BASELINES)}")
    try:
        line, teacher = Path(what).resolve().name, _teacher(what, request)
        answer(request, predictor(), name=name, line=line, teacher=teacher)
    except (TrainingError, ValueError, OSError) as error:
        _fail(error)


def _teacher(what: str, request: Request) -> str | None:
    if what != "frozen-teacher" or request.teacher is None:
        return None
    from training.teacher import short_name

    return short_name(request.teacher)


def _trained(path: Path, model: str) -> Predictor:
    from training.checkpoint import load_pair, load_student
    from training.encoding import predictor_of

    if model == "student":
        checkpoint = load_student(path)
        return predictor_of(checkpoint.model, checkpoint)
    pair, checkpoint = load_pair(path)
    return predictor_of(pair.teacher, checkpoint)


def _by_task(tasks: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return figures by task, those of topics by taxonomy too."""
    topics = tasks.get("topics", {})
    of_taxonomies = {f"topics of {name}": figures for name, figures in topics.items()}
    return {name: f for name, f in tasks.items() if name != "topics"} | of_taxonomies


def _one_line(figures: dict[str, Any]) -> str:
    return "  ".join(
        f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}"
        for name, value in figures.items()
        if value is not None
    )


def _settings(file: Path, seed: int | None) -> Config:
    try:
        config = load_config(file)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    if seed is None:
        return config
    return dataclasses.replace(config, run=dataclasses.replace(config.run, seed=seed))


def _fail(error: Exception) -> NoReturn:
    click.echo(f"newsbert: {error}", err=True)
    sys.exit(1)
