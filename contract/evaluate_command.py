"""The options and the output of `newsbert evaluate`, which two stages answer."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import click

from contract.figures import write_figures
from contract.measuring import EvaluationData, Measured, Predictor, TaskFigures, measure, read_data
from contract.search import NEWS
from contract.text import TextSpec

F = TypeVar("F", bound=Callable[..., Any])

TASKS = ("recommendation", "topics", "search")
HELP = """Measure WHAT: a bundle, a checkpoint or run, or a baseline.

Each figure is printed with its 95 % interval. Baselines are popularity, topic-popularity, tf-idf,
bm25, frozen-teacher and majority.
"""
EXAMPLE = "Example: newsbert evaluate bundles/newsbert --task search --search data/search --json"
_DATA_FILES = {
    "recommendation": ("news.tsv", "behaviors.tsv"),
    "topics": ("news.tsv",),
    "search": (*NEWS, "dev.tsv"),
}
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


class _TopicFile(click.ParamType[tuple[str, Path]]):
    """A file of labelled texts, with its taxonomy before it where that is not the file's stem."""

    name = "[taxonomy=]file"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Path]:
        """Split at the first equals sign, unless there is a file of the whole name."""
        text = str(value)
        taxonomy, _, name = ("", "", text) if Path(text).is_file() else text.partition("=")
        if not name or not Path(name).is_file():
            self.fail(f"there is no file {name or text!r}", param, ctx)
        return taxonomy, Path(name)


def _option(*names: str, env: str, **settings: Any) -> Callable[[F], F]:  # noqa: ANN401
    return click.option(*names, envvar=f"NEWSBERT_{env}", show_envvar=True, **settings)


_OPTIONS: Sequence[Callable[[Any], Any]] = (
    _option(
        "--task",
        env="TASK",
        type=click.Choice(TASKS),
        default="recommendation",
        show_default=True,
        help="What to measure.",
    ),
    _option(
        "--mind",
        env="MIND",
        type=_FOLDER,
        help="MIND folder: its impressions for recommendation, its news.tsv for topics.",
    ),
    _option(
        "--topics",
        env="TOPICS",
        type=_TopicFile(),
        multiple=True,
        help="Labelled texts (.jsonl or .tsv) for topics; may be repeated.",
    ),
    _option(
        "--search",
        env="SEARCH",
        type=_FOLDER,
        help="Folder of news.jsonl.gz and dev.tsv for search.",
    ),
    _option(
        "--all-texts",
        env="ALL_TEXTS",
        is_flag=True,
        help="Measure topics on all labelled texts, not only on the tenth that is held out.",
    ),
    _option(
        "--model",
        env="MODEL",
        type=click.Choice(["student", "teacher"]),
        default="student",
        show_default=True,
        help="Which of a checkpoint's two models.",
    ),
    _option("--train", env="TRAIN", type=_FOLDER, help="MIND folder that baselines learn from."),
    _option("--teacher", env="TEACHER", help="Hub id or folder, for the baseline frozen-teacher."),
    _option(
        "--out",
        env="OUT",
        type=click.Path(file_okay=False, path_type=Path),
        help="Directory to write figures.json into.",
    ),
    _option("--json", "as_json", env="JSON", is_flag=True, help="Print one JSON object."),
)


def evaluate_options(command: F) -> F:
    """Give a command every option of `newsbert evaluate`, by the names of `Request`."""
    return reduce(lambda wrapped, option: option(wrapped), reversed(_OPTIONS), command)


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line."""

    task: str
    mind: Path | None
    topics: tuple[tuple[str, Path], ...]
    search: Path | None
    all_texts: bool
    model: str
    train: Path | None
    teacher: str | None
    out: Path | None
    as_json: bool

    def check(self) -> None:
        """Refuse a task whose data is not named."""
        if self.task == "recommendation" and self.mind is None:
            raise click.UsageError("--task recommendation needs --mind DIR")
        if self.task == "topics" and not self.topic_files:
            raise click.UsageError("--task topics needs --topics FILE or --mind DIR (or both)")
        if self.task == "search" and self.search is None:
            raise click.UsageError("--task search needs --search DIR")

    @property
    def topic_files(self) -> list[tuple[str, Path]]:
        """Return the files of labelled texts: MIND's articles first."""
        return [*([("", self.mind / "news.tsv")] if self.mind else []), *self.topics]

    def files(self) -> dict[str, Path]:
        """Return the data files that the task's figures depend on, by their names in a run."""
        clicks = {"train": self.train, "dev": self.mind}
        folders = {"search": self.search} if self.task == "search" else clicks
        files = {
            f"{name}/{file}": folder / file
            for name, folder in folders.items()
            for file in _DATA_FILES[self.task]
            if folder
        }
        if self.task == "topics":
            files |= {f"topics/{path.name}": path for _, path in self.topics}
        return {name: path for name, path in files.items() if path.exists()}

    def read(self, spec: TextSpec) -> EvaluationData:
        """Read what the task needs, and tell on stderr what is odd about it."""
        data = read_data(
            spec,
            impressions=self.mind if self.task == "recommendation" else None,
            topics=self.topic_files if self.task == "topics" else (),
            search=self.search if self.task == "search" else None,
            all_texts=self.all_texts,
        )
        for oddity in data.oddities:
            click.echo(oddity, err=True)
        return data


def answer(
    request: Request, predictor: Predictor, *, name: str, line: str, teacher: str | None = None
) -> None:
    """Measure, write figures.json where `--out` says, and print every figure's interval.

    `name` is the model's name in that file, `line` says what was measured, `teacher` which
    pretrained model where it was one.
    """
    measured = measure(predictor, request.read(predictor.spec))
    if request.out is not None:
        write_figures(
            request.out, {name: measured}, line=line, files=request.files(), teacher=teacher
        )
    click.echo(as_json(measured) if request.as_json else as_table(measured))


def as_json(measured: Measured) -> str:
    """Write the figures of one task with their intervals; those of topics by taxonomy."""
    parts = {
        name.partition("/")[2]: {**task.figures, "intervals": task.intervals()}
        for name, task in measured.items()
    }
    return json.dumps(parts.get("", parts))


def as_table(measured: Measured) -> str:
    """Write one figure a line: its name, its value, its 95 % interval."""
    return "\n".join(
        line
        for name, task in measured.items()
        for line in [*([name] if "/" in name else []), *_lines(task)]
    )


def _lines(task: TaskFigures) -> list[str]:
    intervals = task.intervals()
    return [_line(name, value, intervals.get(name)) for name, value in task.figures.items()]


def _line(name: str, value: float | int | None, limits: tuple[float, float] | None) -> str:
    if value is None:
        return f"{name:12} too few texts of any topic"
    if limits is None:
        return f"{name:12} {value:,}"
    return f"{name:12} {value:.4f}  [{limits[0]:.4f}, {limits[1]:.4f}]"
