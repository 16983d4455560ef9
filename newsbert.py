"""The command `newsbert`: hands each sub-command to the stage that owns it, imported only then."""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import click

# Sub-command: the module that owns it, the extra that it needs, and what it does.
COMMANDS = {
    "train": (
        "training.commands",
        "training",
        "Train a student on a MIND folder with a pretrained teacher.",
    ),
    "runs": ("training.runs_command", "training", "List training runs and compare them."),
    "export": ("export.commands", "export", "Turn a checkpoint into a bundle or another folder."),
    "bundle": ("contract.bundle_command", "service", "Verify a bundle, or show what it is."),
    "evaluate": (
        "service.commands",
        "service",
        "Measure a bundle, checkpoint or baseline on a task.",
    ),
    "serve": ("service.commands", "service", "Answer recommendation requests over HTTP."),
    "refresh": ("service.commands", "service", "Encode a file of articles into the store."),
    "feedback": (
        "service.feedback_commands",
        "service",
        "Turn what readers were shown and clicked into a MIND folder.",
    ),
}
# Options of `evaluate` without a value: what follows them may be what is measured.
EVALUATE_FLAGS = ("--all-texts", "--json")


class LazyGroup(click.Group):
    """Knows the sub-commands by name and imports a stage only to run one of its own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of a project's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the owner of a sub-command and return the command."""
        if name not in COMMANDS:
            return None
        owner, extra, _ = COMMANDS[name]
        if name == "evaluate" and _is_for_training(sys.argv):
            owner, extra = "training.commands", "training"
        if extra == "service":
            # Before NumPy is imported: its own threads would fight the requests for the cores.
            os.environ.setdefault("OMP_NUM_THREADS", "1")
        with _naming_what_is_missing(extra):
            command: click.Command = getattr(importlib.import_module(owner), name)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the sub-command; stages import their heavy libraries only then."""
        with _naming_what_is_missing("service,training,export"):
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the sub-commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (*_, text) in COMMANDS.items()])


@contextmanager
def _naming_what_is_missing(extra: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        line = f"{error.name} is not installed: pip install '.[{extra}]'"
        raise click.ClickException(line) from error


def _is_for_training(arguments: list[str]) -> bool:
    from training.baselines import BASELINES

    # What follows an option is its value: a run may be the teacher of what is measured.
    measured = [
        argument
        for before, argument in pairwise(arguments[1:])
        if not before.startswith("-") or before in EVALUATE_FLAGS or "=" in before
    ]
    marks = ("checkpoint.json", "checkpoint/checkpoint.json")
    return any(
        argument in BASELINES or any(Path(argument, mark).is_file() for mark in marks)
        for argument in measured
    )


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="newsbert")
def main() -> None:
    """Distil a small news encoder on a publisher's clicks and serve personalised news from it."""


if __name__ == "__main__":
    main()
