"""Commands: `newsbert bundle verify` and `newsbert bundle show`, without torch."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from contract import verification
from contract.bundle import open_bundle
from contract.bundle_card import card, card_tables
from contract.bundle_errors import BundleError
from contract.contents import check_contents
from contract.verification import Check

if TYPE_CHECKING:
    from rich.console import Console

FAILED = 1
F = TypeVar("F", bound=Callable[..., Any])

_directory = click.argument("directory", type=click.Path(path_type=Path))
_json = click.option(
    "--json",
    "as_json",
    envvar="NEWSBERT_JSON",
    show_envvar=True,
    is_flag=True,
    help="Print one JSON object.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def bundle() -> None:
    """Verify a bundle, or show what it is."""


@bundle.command(epilog="Example: newsbert bundle verify bundles/newsbert")
@_directory
@_json
def verify(*, directory: Path, as_json: bool) -> None:
    """Make every check that a serving process makes, and show each; exit 1 at the first refusal.

    Files by name, size and sha256; contents that make one model; graphs that hold and take what
    they should; the golden answers in ONNX Runtime; vectors that do not depend on their batch.

    It proves integrity, not authorship: whoever can write DIRECTORY can sign it again. Compare the
    model with the one that was published.
    """
    console, passed = _console(), list[Check]()
    try:
        for check in verification.verify(directory):
            passed.append(check)
            if not as_json:
                console.print(f"[green]ok[/]  {check.name:15} {check.found}", soft_wrap=True)
    except BundleError as error:
        _refuse(error, passed, as_json=as_json)
    if as_json:
        click.echo(json.dumps({"sound": True, "checks": [asdict(check) for check in passed]}))
    else:
        console.print(verification.PROVES, soft_wrap=True)


@bundle.command(epilog="Example: newsbert bundle show bundles/newsbert")
@_directory
@_json
def show(*, directory: Path, as_json: bool) -> None:
    """Show model, namespace, shape, text, topics, sizes, quality, provenance and licence.

    The hashes are checked; `newsbert bundle verify` checks the rest.
    """
    try:
        opened = open_bundle(directory)
        check_contents(opened)
    except BundleError as error:
        _refuse(error, [], as_json=as_json)
    facts = card(opened)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    console = _console()
    for table in card_tables(facts):
        console.print(table)


def _refuse(error: BundleError, passed: list[Check], *, as_json: bool) -> NoReturn:
    refusal = type(error).__name__
    if as_json:
        told = {"error": refusal, "file": error.file, "problem": error.problem}
        checks = [asdict(check) for check in passed]
        click.echo(json.dumps({"sound": False, "refusal": told, "checks": checks}))
    click.echo(f"newsbert: {refusal}: {error}", err=True)
    sys.exit(FAILED)


def _console() -> "Console":
    from rich.console import Console

    # For a file or a pipe there is neither colour nor the width of some terminal.
    return Console(width=None if sys.stdout.isatty() else 110, highlight=False, emoji=False)
