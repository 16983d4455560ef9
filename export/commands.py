"""Command: `newsbert export` turns a checkpoint into a verified bundle."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from rich.table import Table

    from contract.bundle import Bundle
    from export.parity import ParityReport

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
PATH = click.Path(file_okay=False, path_type=Path)
SAMPLES = Path(__file__).resolve().parents[1] / "samples" / "mind" / "dev"
COLUMNS = ("AUC", "MRR", "nDCG@5", "nDCG@10", "mean cosine", "texts/s", "MB")
F = TypeVar("F", bound=Callable[..., Any])


def option(name: str, *names: str, env: str, **settings: Any) -> Callable[[F], F]:  # noqa: ANN401
    """Declare an option that the environment can set as well."""
    return click.option(name, *names, envvar=f"NEWSBERT_{env}", show_envvar=True, **settings)


@click.command(
    epilog="Example: newsbert export runs/sample --dev samples/mind/dev --out bundles/sample"
)
@click.argument("checkpoint", type=FOLDER)
@option("--dev", env="DEV", type=FOLDER, required=True, help="MIND folder to measure parity on.")
@option("--out", env="OUT", type=PATH, required=True, help="Bundle to write or replace.")
@option(
    "--samples",
    env="SAMPLES",
    type=FOLDER,
    default=SAMPLES,
    show_default="samples/mind/dev",
    help="MIND folder whose texts may be in the bundle: its golden answers are recorded from it.",
)
def export(*, checkpoint: Path, dev: Path, out: Path, samples: Path) -> None:
    """Turn a checkpoint into a verified int8 bundle.

    Builds the graphs, measures them against the checkpoint, and writes nothing when they are
    further from it than the parity budget allows.
    """
    # torch and transformers take seconds to import: not before the arguments are known to be right.
    from contract.mind import read_folder
    from export.errors import ExportError
    from export.model_card import at_training
    from export.package import export_bundle
    from training.checkpoint import load_student
    from training.errors import TrainingError

    try:
        loaded = load_student(checkpoint)
        bundle, parity = export_bundle(
            loaded, dev=read_folder(dev), samples=read_folder(samples), target=out
        )
    except (ExportError, TrainingError, ValueError, OSError) as error:
        _fail(error)
    _show(bundle, parity, at_training(loaded, "teacher").get("recommendation"))
    click.echo(f"bundle: {out}  model {bundle.model}  namespace {bundle.namespace}")


def parity_table(parity: ParityReport, teacher: dict[str, Any] | None) -> Table:
    """Return teacher, student and graphs side by side; what is not known is blank."""
    from rich.table import Table

    from export.model_card import table_row

    table = Table(*("", *COLUMNS), title="Parity")
    if teacher:
        table.add_row(*table_row("teacher (at training)", teacher, "", "", ""))
    speed = f"{parity.torch_texts_per_s:,.0f}"
    table.add_row(*table_row("student, torch", parity.torch.as_dict(), "", speed, ""))
    for name, graph in (("ONNX fp32", parity.fp32), ("ONNX int8", parity.int8)):
        closeness = f"{graph.closeness.mean_cosine:.5f}"
        speed, size = f"{graph.texts_per_s:,.0f}", f"{graph.size_bytes / 1e6:.1f}"
        row = table_row(f"student, {name}", graph.metrics.as_dict(), closeness, speed, size)
        table.add_row(*row)
    return table


def _show(bundle: Bundle, parity: ParityReport, teacher: dict[str, Any] | None) -> None:
    from rich.console import Console

    Console(width=110).print(parity_table(parity, teacher))
    size = sum(map(len, bundle.files.values())) / 1e6
    click.echo(
        f"{parity.torch.impressions:,} impressions, {parity.texts:,} texts, graphs on one thread; "
        f"alone and in any batch: cosine at least {parity.batch_cosine:.6f}; bundle {size:.1f} MB"
    )


def _fail(error: Exception) -> NoReturn:
    click.echo(f"newsbert: {error}", err=True)
    sys.exit(1)
