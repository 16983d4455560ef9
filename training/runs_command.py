"""Runs command: `newsbert runs` and `newsbert runs compare`, as tables of text or JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import click

from training.commands import option
from training.errors import RunUnreadable
from training.progress import clock
from training.run_comparison import Comparison, Difference, compare
from training.run_figures import MODELS
from training.runs import RunSummary, list_runs, read_run

RUN = click.Path(path_type=Path, file_okay=False, exists=True)
SHOWN = ("auc", "ndcg10", "topics/mind", "topics/huffpost", "search/ndcg10")


class RunsGroup(click.Group):
    """List runs unless another sub-command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take `newsbert runs DIR` for `newsbert runs list DIR`."""
        if not args or args[0] not in {*self.commands, "-h", "--help"}:
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=RunsGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: newsbert runs compare runs/paper runs/best",
)
def runs() -> None:
    """List training runs (`newsbert runs [DIR]`) or compare some of them."""


@runs.command("list", epilog="Example: newsbert runs")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=Path("runs"))
@option("--json", "as_json", env="JSON", is_flag=True, help="Print one JSON array.")
def list_command(*, directory: Path, as_json: bool) -> None:
    """List the runs in DIRECTORY: state, steps, held-out figure, figures on dev, wall time."""
    found = list_runs(directory) if directory.is_dir() else []
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(run) for run in found], indent=2))
        return
    if not found:
        click.echo(f"no runs in {directory}", err=True)
        return
    click.echo(list_text(found))


@runs.command("compare", epilog="Example: newsbert runs compare runs/paper runs/best")
@click.argument("first", type=RUN)
@click.argument("others", type=RUN, nargs=-1, required=True)
@option(
    "--model",
    env="MODEL",
    type=click.Choice(MODELS),
    default=MODELS[0],
    help="Whose figures.",
)
@option("--json", "as_json", env="JSON", is_flag=True, help="Print one JSON object.")
def compare_command(*, first: Path, others: tuple[Path, ...], model: str, as_json: bool) -> None:
    """Show what differs between runs, and how far each figure lies from the FIRST run's."""
    records = []
    for path in (first, *others):
        try:
            records.append(read_run(path))
        except RunUnreadable as error:
            raise click.ClickException(f"{path}: {error}") from error
    comparison = compare(records, model=model)
    shown = json.dumps(comparison.as_dict(), indent=2) if as_json else comparison_text(comparison)
    click.echo(shown)


def list_text(found: Sequence[RunSummary]) -> str:
    """Write summaries as a table; a figure that no run has gets no column."""
    figures = [name for name in SHOWN if any(name in run.figures for run in found)]
    head = ["run", "state", "config", "steps", "held out", *figures, "time"]
    table = _aligned([head, *([*_columns(run, figures)] for run in found)])
    reasons = [f"{run.name}: {run.reason}" for run in found if run.reason]
    return "\n".join([table, *(["", *reasons] if reasons else [])])


def comparison_text(comparison: Comparison) -> str:
    """Write a comparison as tables of settings, data and figures."""
    settings = {name: [_text(v) for v in row] for name, row in comparison.settings.items()}
    data = {name: [v[:12] if v else "-" for v in row] for name, row in comparison.data.items()}
    figures = {
        name: [_figure(v, d) for v, d in zip(row, comparison.differences[name], strict=True)]
        for name, row in comparison.figures.items()
    }
    parts = {
        "settings that differ": settings,
        "data that differ": data,
        "figures, difference to the first run [95 % interval]": figures,
    }
    tables = [
        _aligned([[title, *comparison.runs], *([name, *row] for name, row in rows.items())])
        if rows
        else f"{title}: none"
        for title, rows in parts.items()
    ]
    return "\n\n".join(tables)


def _columns(run: RunSummary, figures: Sequence[str]) -> list[str]:
    steps = f"{run.stage.replace('_', ' ')} {run.steps_done:,}/{_count(run.steps)}".strip()
    held_out = f"{_number(run.held_out)} (epoch {run.best_epoch})" if run.best_epoch else "-"
    return [
        run.name,
        run.state,
        run.config or "-",
        steps if run.stage else "-",
        held_out,
        *(_number(run.figures.get(name)) for name in figures),
        "-" if run.wall_time_s is None else clock(run.wall_time_s),
    ]


def _figure(value: float | None, difference: Difference | None) -> str:
    if difference is None:
        return _number(value)
    shown = f"{_number(value)} {difference.difference:+.4f}"
    if difference.low is None or difference.high is None:
        return shown
    return f"{shown} [{difference.low:+.4f}, {difference.high:+.4f}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _text(value: object) -> str:
    return "-" if value is None else str(value)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
