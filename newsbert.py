"""The command `newsbert`: hands each sub-command to the stage that owns it, imported only then."""

import importlib
import os
import sys
from pathlib import Path

import click

COMMANDS = {
    "train": ("training.commands", "Train a student on a MIND folder with a pretrained teacher."),
    "export": ("export.commands", "Turn a checkpoint into a verified bundle."),
    "evaluate": ("service.commands", "Measure a bundle or checkpoint on a MIND folder."),
    "serve": ("service.commands", "Answer recommendation requests over HTTP."),
    "refresh": ("service.commands", "Encode a file of articles into the store."),
}


class LazyGroup(click.Group):
    """Knows the sub-commands by name and imports a stage only to run one of its own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of a project's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the owner of a sub-command and return the command."""
        if name not in COMMANDS:
            return None
        owner = COMMANDS[name][0]
        if name == "evaluate" and _names_a_checkpoint(sys.argv):
            owner = "training.commands"
        command: click.Command = getattr(importlib.import_module(owner), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the sub-commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _names_a_checkpoint(arguments: list[str]) -> bool:
    marks = ("checkpoint.json", "checkpoint/checkpoint.json")
    return any(Path(argument, mark).is_file() for argument in arguments[2:] for mark in marks)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="newsbert")
def main() -> None:
    """Distil a small news encoder on a publisher's clicks and serve personalised news from it."""
    # The tokenizers library warns after a fork when its own threads are on; ours are enough.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


if __name__ == "__main__":
    main()
