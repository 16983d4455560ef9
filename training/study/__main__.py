"""Commands: `python -m training.study run` and `python -m training.study page`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import click

from training.commands import FILE, FOLDER, PATH, option
from training.errors import TrainingError
from training.study.evidence import gather, read_evidence, to_json
from training.study.plan import read_study
from training.study.queue import Queue
from training.study.steps import Inputs
from training.study.tables import page as page_of

STUDY = Path(__file__).parents[1] / "configs" / "study.toml"
NEWSBERT = (sys.executable, "-m", "newsbert")

study_option = option(
    "--study",
    "study_file",
    env="STUDY",
    type=FILE,
    default=STUDY,
    show_default="training/configs/study.toml",
    help="Table of experiments.",
)
directory_option = option(
    "--directory",
    env="STUDY_DIRECTORY",
    type=PATH,
    default="runs/study",
    show_default=True,
    help="Where the runs are.",
)


@click.group()
def main() -> None:
    """Run the experiments of the result tables and write them up."""


@main.command(epilog="Example: python -m training.study run --data DATA --teacher MODEL --dry-run")
@study_option
@directory_option
@option("--data", env="DATA", type=FOLDER, required=True, help="Folder of mind, topics, search.")
@option("--teacher", env="TEACHER", help="Hub id or local folder of the pretrained encoder.")
@option("--only", env="ONLY", multiple=True, help="Run this row and what it needs; repeatable.")
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing.")
def run(
    *,
    study_file: Path,
    directory: Path,
    data: Path,
    teacher: str | None,
    only: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Run what is not finished, one after another.

    Start it again after a cut-off and it goes on; start it once more beside, and both share the
    work, each on a core of its own.
    """
    try:
        study = read_study(study_file)
        if unknown := sorted(set(only) - set(study.rows)):
            rows = ", ".join(study.rows)
            raise click.UsageError(f"no row is named {unknown[0]}; rows: {rows}")
        queue = Queue(
            study, Inputs(data, teacher), directory, program=NEWSBERT, only=only, say=click.echo
        )
        failed = {} if dry_run else queue.run()
        if dry_run:
            queue.show()
    except (TrainingError, OSError) as error:
        _fail(str(error))
    if failed:
        _fail("; ".join(f"{step} failed: {cause}" for step, cause in failed.items()))


@main.command(epilog="Example: python -m training.study page --from docs/results/training.json")
@study_option
@directory_option
@click.option("--from", "kept", type=FILE, help="Figures kept before, instead of the runs.")
@option(
    "--out",
    env="PAGE",
    type=PATH,
    default="docs/results/training.md",
    show_default=True,
    help="The page; the figures it is made from go beside it, as .json.",
)
def page(*, study_file: Path, directory: Path, kept: Path | None, out: Path) -> None:
    """Write the page of results, from the finished runs or from the figures kept beside it."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if kept is None:
            kept = out.with_suffix(".json")
            kept.write_text(to_json(gather(read_study(study_file), directory)), "utf-8")
        # Always from the kept figures: what they leave out cannot reach the page.
        out.write_text(page_of(read_evidence(kept)), "utf-8")
    except (TrainingError, OSError) as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    click.echo(f"newsbert: {message}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
