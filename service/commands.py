"""The service's sub-commands: serve, refresh, evaluate."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from contract.article import Article
from contract.bundle_errors import BundleError
from contract.evaluate_command import EXAMPLE, HELP, Request, answer, evaluate_options
from contract.golden import verified_encoder
from contract.measuring import model_predictor
from contract.mind import MindError, iter_behaviors
from service.articles import ArticleFileError, read_articles
from service.errors import ServiceError
from service.refresh import Refresher, popularity
from service.settings import Settings

F = TypeVar("F", bound=Callable[..., None])

FAILED = 1
DIRECTORY = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)


def _default(name: str) -> object:
    return Settings.model_fields[name].default


def setting(name: str, flag: str, kind: "click.ParamType[object] | type") -> Callable[[F], F]:
    """Declare an option that is a setting of the service, with its variable and its default."""
    return click.option(
        flag,
        name,
        type=kind,
        default=_default(name),
        show_default=True,
        envvar=f"NEWSBERT_{name.upper()}",
        show_envvar=True,
        help=f"{Settings.model_fields[name].description}.",
    )


bundle_option = setting("bundle", "--bundle", DIRECTORY)
store_option = setting("store", "--store", str)


@contextmanager
def failing_in_one_line() -> Iterator[None]:
    """Turn the errors that a job may meet into one line on stderr and exit code 1."""
    try:
        yield
    except (ServiceError, BundleError, MindError, ArticleFileError, OSError, ValueError) as error:
        click.echo(f"newsbert: {type(error).__name__}: {error}", err=True)
        sys.exit(FAILED)


@click.command()
@bundle_option
@store_option
@setting("host", "--host", str)
@setting("port", "--port", int)
@setting("workers", "--workers", int)
@setting("threads", "--threads", int)
def serve(**flags: object) -> None:
    """Answer recommendation requests over HTTP.

    Example: newsbert serve --bundle bundles/newsbert --store sqlite:///var/newsbert.sqlite
    """
    import uvicorn

    from service.adapters.stores import open_store

    with failing_in_one_line():
        settings = _settings(flags)
        # Worker processes are spawned: the environment is how they learn the flags.
        os.environ.update(settings.as_environment())
        # What would fail in every worker is told once, here; Redis may still be down.
        verified_encoder(settings.bundle)
        open_store(settings.store).close()
        click.echo(f"serving {settings.bundle} on http://{settings.host}:{settings.port}")
        uvicorn.run(
            "service.app:create_app",
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=settings.workers,
            access_log=False,
            server_header=False,
            log_level="warning",
            timeout_worker_healthcheck=60,
            timeout_graceful_shutdown=10,
        )


def _settings(flags: dict[str, object]) -> Settings:
    try:
        return Settings(**flags)  # type: ignore[arg-type]  # click has typed them
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise click.UsageError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


@click.command()
@click.argument("file", type=FILE, envvar="NEWSBERT_FILE")
@bundle_option
@store_option
@click.option(
    "--behaviors",
    type=FILE,
    envvar="NEWSBERT_BEHAVIORS",
    show_envvar=True,
    help="MIND behaviors.tsv whose clicks become the articles' popularity.",
)
@setting("threads", "--threads", int)
def refresh(file: Path, bundle: Path, store: str, behaviors: Path | None, threads: int) -> None:
    """Encode a FILE of articles (news.tsv, .jsonl, .parquet) into the store.

    A text that is stored already is not encoded again, so a killed refresh is just run again.

    Example: newsbert refresh news.tsv --store sqlite:///var/newsbert.sqlite
    """
    from service.adapters.stores import open_store

    with failing_in_one_line():
        articles = read_articles(file, datetime.now(UTC))
        opened, encoder = verified_encoder(bundle, threads=threads)
        target = open_store(store)
        try:
            refresher = Refresher(target, encoder, opened.text, opened.namespace, time.time)
            _run(refresher, articles)
            if behaviors is not None:
                weights = popularity(iter_behaviors(behaviors))
                target.replace_popularity(weights, at=time.time())
        finally:
            target.close()


def _run(refresher: Refresher, articles: list[Article]) -> None:
    started, written, encoded = time.perf_counter(), 0, 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("refresh", total=len(articles))
        for step in refresher.refresh(articles):
            written, encoded = written + step.written, encoded + step.encoded
            bar.advance(task, step.articles)
    took = time.perf_counter() - started
    click.echo(
        f"{len(articles):,} articles: {written:,} written, {encoded:,} texts encoded, {took:.1f} s"
    )


@click.command(help=HELP, epilog=EXAMPLE)
@click.argument("what", type=click.Path(path_type=Path, exists=True, file_okay=False))
@evaluate_options
@setting("threads", "--threads", int)
def evaluate(what: Path, threads: int, **options: Any) -> None:  # noqa: ANN401  (click has typed them)
    """Measure a bundle."""
    request = Request(**options)
    request.check()
    if request.model != "student":
        raise click.UsageError("--model teacher: a bundle holds a student alone")
    with failing_in_one_line():
        bundle, encoder = verified_encoder(what, threads=threads)
        predictor = model_predictor(encoder, encoder.click_model, bundle.text, bundle.topics)
        answer(request, predictor, name="student", line=what.resolve().name)
