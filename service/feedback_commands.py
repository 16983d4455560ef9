"""The sub-command feedback: what readers were shown and clicked, for the next training."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from math import inf
from pathlib import Path

import click

from service.commands import DIRECTORY, failing_in_one_line, setting, store_option
from service.exploration import TokenRefused, read
from service.mind_folder import Period, export


class Moment(click.ParamType[float]):
    """A time as RFC 3339 or a date has it; one without an offset is in UTC."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return epoch seconds."""
        if isinstance(value, float):
            return value
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not like 2026-11-21 or 2026-11-21T17:30:00Z", param, ctx)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


@click.group()
def feedback() -> None:
    """Turn what readers were shown and clicked into a MIND folder."""


@feedback.command("export")
@click.option(
    "--mind",
    type=DIRECTORY,
    required=True,
    envvar="NEWSBERT_MIND",
    show_envvar=True,
    help="New folder for news.tsv and behaviors.tsv (and propensities.tsv where any are known).",
)
@click.option(
    "--since",
    type=Moment(),
    default=-inf,
    envvar="NEWSBERT_SINCE",
    show_envvar=True,
    help="Impressions from a time on, such as 2026-11-21 or 2026-11-21T17:30:00+01:00; in UTC "
    "where it has no offset.",
)
@click.option(
    "--until",
    type=Moment(),
    default=inf,
    envvar="NEWSBERT_UNTIL",
    show_envvar=True,
    help="Impressions before a time; in UTC where it has no offset.",
)
@store_option
@setting("reader_ttl_h", "--reader-ttl-h", click.FloatRange(min=0, min_open=True))
def export_feedback(
    mind: Path, since: float, until: float, store: str, reader_ttl_h: float
) -> None:
    """Write the impressions in the store, their histories and clicks, as a MIND folder.

    The folder appears whole or not at all; where there are no impressions, not at all. Readers
    have pseudonyms there.

    Example: newsbert feedback export --mind var/clicks --store sqlite:///var/newsbert.sqlite
    """
    from service.adapters.stores import open_store

    with failing_in_one_line():
        _check_is_there(store)
        with closing(open_store(store)) as source:
            earliest = time.time() - reader_ttl_h * 3_600
            period = Period(since, until)
            propensities = partial(_propensities, source.secret("cursor"))
            counts = export(source, mind.resolve(), period, propensities, earliest=earliest)
            click.echo(f"{mind}: {counts.line()}")


def _check_is_there(url: str) -> None:
    """Raise FileNotFoundError for a SQLite file that opening the store would create."""
    scheme, _, path = url.partition(":///")
    if scheme == "sqlite" and not Path(path).exists():
        raise FileNotFoundError(f"{path}: no such file")


def _propensities(key: bytes, request: str, ids: Sequence[str]) -> Mapping[str, float]:
    try:
        return read(key, request, ids)
    except TokenRefused:
        # Publishers may name answers as they like; only ours tell propensities.
        return {}
