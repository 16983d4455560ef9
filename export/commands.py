"""Command: `newsbert export` turns a checkpoint into a bundle or a sentence-transformers folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from rich.table import Table

    from contract.bundle import Bundle
    from export.package import Scheme
    from export.parity import ParityReport

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
PATH = click.Path(file_okay=False, path_type=Path)
SAMPLES = Path(__file__).resolve().parents[1] / "samples" / "mind" / "dev"
COLUMNS = ("AUC", "MRR", "nDCG@5", "nDCG@10", "mean cosine", "texts/s", "MB")
BUNDLE, SENTENCES = "bundle", "sentence-transformers"
STATIC, ROW = "static", "row"
F = TypeVar("F", bound=Callable[..., Any])


def option(name: str, *names: str, env: str, **settings: Any) -> Callable[[F], F]:  # noqa: ANN401
    """Declare an option that the environment can set as well."""
    return click.option(name, *names, envvar=f"NEWSBERT_{env}", show_envvar=True, **settings)


@click.command(
    epilog="Example: newsbert export runs/sample --dev samples/mind/dev --out bundles/sample; "
    "or: newsbert export runs/sample --to sentence-transformers --out var/sample-vectors"
)
@click.argument("checkpoint", type=FOLDER)
@option(
    "--to",
    env="TO",
    type=click.Choice([BUNDLE, SENTENCES]),
    default=BUNDLE,
    show_default=True,
    help="What to write: all that the service needs, or the news encoder as "
    "SentenceTransformer(OUT) loads it.",
)
@option("--dev", env="DEV", type=FOLDER, help="MIND folder to measure a bundle's parity on.")
@option("--out", env="OUT", type=PATH, required=True, help="Folder to write or replace.")
@option(
    "--samples",
    env="SAMPLES",
    type=FOLDER,
    default=SAMPLES,
    show_default="samples/mind/dev",
    help="MIND folder whose texts may be in the bundle: its golden answers are recorded from it, "
    "and static scales calibrated on it.",
)
@option(
    "--scheme",
    env="SCHEME",
    type=click.Choice([STATIC, ROW]),
    default=STATIC,
    show_default=True,
    help="Scales of a bundle's int8 activations: constants, or one for each token as it comes.",
)
@click.pass_context
def export(
    context: click.Context,
    *,
    checkpoint: Path,
    to: str,
    dev: Path | None,
    out: Path,
    samples: Path,
    scheme: Scheme,
) -> None:
    """Turn a checkpoint into a verified int8 bundle, or a sentence-transformers folder.

    Measures what it built against the checkpoint, and writes nothing when that is further from it
    than the parity budget allows.
    """
    if to == SENTENCES:
        _refuse_measuring(context)
        _report_failures(_write_sentence_folder, checkpoint, out)
        return
    if dev is None:
        raise click.MissingParameter(ctx=context, param_hint="--dev", param_type="option")
    _report_failures(_write_bundle, checkpoint, dev, out, samples, scheme)


def _refuse_measuring(context: click.Context) -> None:
    # What the environment says is for every command alike; what is typed is meant.
    for name in ("dev", "samples", "scheme"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name} is for a bundle: --to {SENTENCES} takes none")


def _report_failures(write: Callable[..., None], *arguments: object) -> None:
    from export.errors import ExportError
    from training.errors import TrainingError

    try:
        write(*arguments)
    except (ExportError, TrainingError, ValueError, OSError) as error:
        click.echo(f"newsbert: {error}", err=True)
        sys.exit(1)


def _write_bundle(checkpoint: Path, dev: Path, out: Path, samples: Path, scheme: Scheme) -> None:
    # torch and transformers take seconds to import: not before the arguments are known to be right.
    from contract.mind import read_folder
    from export.model_card import at_training
    from export.package import export_bundle
    from training.checkpoint import load_student

    loaded = load_student(checkpoint)
    bundle, parity = export_bundle(
        loaded, dev=read_folder(dev), samples=read_folder(samples), target=out, scheme=scheme
    )
    _show(bundle, parity, at_training(loaded, "teacher").get("recommendation"))
    click.echo(f"bundle: {out}  model {bundle.model}  namespace {bundle.namespace}")


def _write_sentence_folder(checkpoint: Path, out: Path) -> None:
    from export.sentence_folder import export_sentence_folder
    from training.checkpoint import load_student

    exported = export_sentence_folder(load_student(checkpoint), out)
    click.echo(
        f"SentenceTransformer({str(out)!r})  {exported.size_bytes / 1e6:.1f} MB, "
        f"cosine to the checkpoint at least {exported.least_cosine:.6f}"
    )


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
        f"alone and in any batch: cosine at least {parity.batch_cosine:.6f}; on hard texts: "
        f"{parity.hard_cosine:.4f}; bundle {size:.1f} MB"
    )
