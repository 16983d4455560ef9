"""The commands: help without cost, exit code 2 for wrong usage, one line for whatever fails."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from contract.mind import read_folder, write_folder
from service.adapters.sqlite_store import SqliteStore
from service.commands import evaluate, refresh, serve
from service.exploration import Drawn, Exploration
from service.feedback_commands import export_feedback, feedback
from service.ports import Amendment
from service.readers import Event, Kind, Record
from tests.builders import a_catalogue, an_impression

HEAVY = ("torch", "transformers", "fastapi", "uvicorn", "faiss", "onnxruntime", "redis")
COMMANDS: dict[str, click.Command] = {
    "serve": serve,
    "refresh": refresh,
    "evaluate": evaluate,
    "feedback export": export_feedback,
}
# Nothing listens on port 1.
UNREACHABLE = "redis://127.0.0.1:1/0"


@pytest.fixture
def run(bundle_path: Path, tmp_path: Path) -> Callable[..., Result]:
    """Give a way to run a sub-command with a good bundle and store unless told otherwise."""
    good = {"NEWSBERT_BUNDLE": str(bundle_path), "NEWSBERT_STORE": f"sqlite:///{tmp_path}/s.sqlite"}

    def run(name: str, *arguments: str | Path, **environment: str) -> Result:
        runner = CliRunner(env={**good, **environment})
        return runner.invoke(COMMANDS[name], [str(a) for a in arguments])

    return run


@pytest.fixture
def news(tmp_path: Path) -> Path:
    """Write a MIND folder; return its news.tsv."""
    articles = a_catalogue(12)
    ids = tuple(article.id for article in articles)
    impression = an_impression(history=ids[:1], candidates=ids[1:5], clicks=(True,) + (False,) * 3)
    write_folder(tmp_path / "mind", articles, [impression])
    return tmp_path / "mind" / "news.tsv"


def fails_in_one_line(result: Result, *words: str) -> bool:
    """Say whether a command ended with 1 and one line that tells these words."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("newsbert: ")]
    told = len(lines) == 1 and result.stderr.strip().endswith(lines[0])
    return result.exit_code == 1 and told and all(word in lines[0] for word in words)


def modules_after(*arguments: str) -> str:
    """Run the program in a process of its own; return which heavy modules it has imported."""
    script = (
        "import sys, newsbert\n"
        f"sys.argv = ['newsbert', *{list(arguments)!r}]\n"
        "try: newsbert.main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"print('imported:', *[m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.partition("imported:")[2].strip()


def test_help_imports_no_stage() -> None:
    """Asking what there is must not take the seconds that torch does."""
    assert modules_after("--help") == ""


def test_an_import_of_a_stage_is_noticed() -> None:
    """The check above fails where something heavy is imported."""
    assert "onnxruntime" not in modules_after("refresh", "--help")
    script = "import sys, faiss; print('faiss' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b"True\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_the_variables_and_an_example(name: str, run: Callable[..., Result]) -> None:
    """Every option has an environment variable."""
    text = run(name, "--help").output
    assert f"Example: newsbert {name} " in " ".join(text.split())
    options = [p for p in COMMANDS[name].params if isinstance(p, click.Option)]
    assert options
    assert all(f"env var: {option.envvar}" in " ".join(text.split()) for option in options)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("serve", ["--no-such-flag"]),
        ("serve", ["--port", "many"]),
        ("serve", ["--port", "70000"]),
        ("serve", ["--workers", "0"]),
        ("serve", ["surplus"]),
        ("refresh", []),
        ("refresh", ["file.tsv", "--threads"]),
        ("evaluate", ["no-such-bundle", "--mind", "."]),
        ("evaluate", ["."]),
        ("feedback export", []),
        ("feedback export", ["--mind", "new", "--since", "yesterday"]),
        ("feedback export", ["--mind", "new", "--until", "2026-11-31"]),
        ("feedback export", ["--mind", "new", "--reader-ttl-h", "0"]),
    ],
)
def test_wrong_usage_ends_with_2(
    name: str, arguments: list[str], run: Callable[..., Result]
) -> None:
    """As click does it, with a line that says what is wrong."""
    result = run(name, *arguments)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("Error: ")


@pytest.mark.parametrize("name", ["serve", "refresh"])
def test_a_missing_bundle_fails_in_one_line(
    name: str, run: Callable[..., Result], news: Path
) -> None:
    """The path is told."""
    arguments = [news] if name == "refresh" else []
    assert fails_in_one_line(run(name, *arguments, NEWSBERT_BUNDLE="/no/bundle"), "/no/bundle")


@pytest.mark.parametrize("name", ["serve", "refresh"])
@pytest.mark.parametrize("url", ["", "nonsense", "mysql://host/db", "sqlite:relative", "redis://"])
def test_a_bad_store_url_fails_in_one_line(
    name: str, url: str, run: Callable[..., Result], news: Path
) -> None:
    """Before any server starts or anything is encoded; the line has examples of good ones."""
    arguments = [news] if name == "refresh" else []
    result = run(name, *arguments, "--store", url)
    assert fails_in_one_line(result, "not a store", "sqlite:///")


def test_an_unreachable_redis_fails_a_refresh_in_one_line(
    run: Callable[..., Result], news: Path
) -> None:
    """A job has nothing to wait for."""
    assert fails_in_one_line(run("refresh", news, "--store", UNREACHABLE), "StoreUnavailable")


def test_a_missing_file_fails_in_one_line(run: Callable[..., Result], tmp_path: Path) -> None:
    """Articles or clicks."""
    assert fails_in_one_line(run("refresh", tmp_path / "none.jsonl"), "no such file")
    folder = tmp_path / "empty"
    folder.mkdir()
    result = run("evaluate", tmp_path, "--mind", folder)
    assert fails_in_one_line(result)


def test_a_malformed_file_fails_in_one_line(run: Callable[..., Result], tmp_path: Path) -> None:
    """File and line are told."""
    file = tmp_path / "bad.jsonl"
    file.write_text('{"id": "N1", "title": "A"}\nnonsense\n')
    assert fails_in_one_line(run("refresh", file), "bad.jsonl, line 2")
    file = tmp_path / "news.tsv"
    file.write_text("N1\tsports\n")
    assert fails_in_one_line(run("refresh", file), "news.tsv, line 1, column")


def test_a_refresh_stores_articles_and_popularity(
    run: Callable[..., Result], news: Path, tmp_path: Path
) -> None:
    """A second run finds nothing to do."""
    behaviors = ("--behaviors", str(news.parent / "behaviors.tsv"))
    first, second = run("refresh", news, *behaviors), run("refresh", news, *behaviors)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "12 articles: 12 written, 12 texts encoded" in first.stdout
    assert "12 articles: 0 written, 0 texts encoded" in second.stdout
    store = SqliteStore(tmp_path / "s.sqlite")
    table = store.popularity(0)
    store.close()
    assert table is not None
    assert table.weights == {"N1": 0.0}


def test_a_bundle_is_evaluated(run: Callable[..., Result], news: Path, bundle_path: Path) -> None:
    """As a table for readers, as JSON for programs."""
    table = run("evaluate", bundle_path, "--mind", news.parent)
    figures = run("evaluate", bundle_path, "--mind", news.parent, "--json")
    assert (table.exit_code, figures.exit_code) == (0, 0)
    assert "auc" in table.stdout
    assert '"auc": ' in figures.stdout


# The first moment of a day long gone.
AT = 1_700_006_400.0
LONG = ("--reader-ttl-h", "1000000")


@pytest.fixture
def clicks(tmp_path: Path) -> None:
    """Store what a reader was shown, once by exploration, and what was clicked."""
    store = SqliteStore(tmp_path / "s.sqlite")
    explored = Exploration(0.25, np.random.default_rng(1), store.secret("cursor"))
    request = explored.told("r", [("N1", Drawn(0, is_best=True, among=2, propensity=0.875))])
    events = [
        Event(Kind.IMPRESSION, "e1", AT, ("N1", "N2"), request),
        Event(Kind.CLICK, "e2", AT + 5, ("N1",), "r"),
        Event(Kind.IMPRESSION, "e3", AT + 3_600, ("N2",), "a.name.of.their.own"),
    ]
    record = Record(read={"N1": AT + 5}).with_events(events).to_bytes()
    made = Amendment({"a" * 32: record}, {}, {})
    store.amend(["a" * 32], lambda _: made, expires_at=AT + 10**9, now=AT)
    store.close()


@pytest.mark.usefixtures("clicks")
def test_feedback_is_exported_as_a_mind_folder(run: Callable[..., Result], tmp_path: Path) -> None:
    """One line says how much; propensities are told by the names of our answers alone."""
    result = run("feedback export", "--mind", tmp_path / "mind", *LONG)
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    assert "2 impressions of 1 readers with 1 clicks" in line
    folder = read_folder(tmp_path / "mind")
    assert [(i.id, i.history, i.clicks) for i in folder.impressions] == [
        ("e1", (), (True, False)),
        ("e3", ("N1",), (False,)),
    ]
    propensities = (tmp_path / "mind" / "propensities.tsv").read_text()
    assert propensities == f"e1\t{'a' * 32}\tN1:0.875\n"


@pytest.fixture
def far_from_utc() -> Iterator[None]:
    """Have the clocks of this machine 13 hours ahead."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "FAR-13")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("clicks", "far_from_utc")
@pytest.mark.parametrize(
    ("flags", "ids"),
    [
        (("--since", "2023-11-15"), ["e1", "e3"]),
        (("--since", "2023-11-15T01:00:00Z"), ["e3"]),
        (("--since", "2023-11-15T02:00:00+01:00"), ["e3"]),
        (("--until", "2023-11-15T01:00:00"), ["e1"]),
        (("--since", "0001-01-01T00:00:00+12:00", "--until", "9999-12-31"), ["e1", "e3"]),
    ],
)
def test_a_period_is_told_in_utc_or_with_an_offset(
    flags: tuple[str, ...], ids: list[str], run: Callable[..., Result], tmp_path: Path
) -> None:
    """A day begins at midnight, wherever the machine stands."""
    target = ("--mind", tmp_path / "mind", *LONG)
    assert run("feedback export", *target, *flags).exit_code == 0
    assert [one.id for one in read_folder(tmp_path / "mind").impressions] == ids


@pytest.mark.usefixtures("clicks")
@pytest.mark.parametrize("flags", [(*LONG, "--until", "2023-11-15"), ()], ids=["period", "ttl"])
def test_an_export_of_nothing_fails_in_one_line(
    flags: tuple[str, ...], run: Callable[..., Result], tmp_path: Path
) -> None:
    """Of a period without impressions, or when they outlived the service's time; no folder."""
    result = run("feedback export", "--mind", tmp_path / "mind", *flags)
    assert fails_in_one_line(result, "no impressions")
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("name", ["typo.sqlite", "no/folder/typo.sqlite"])
def test_an_export_creates_no_store(
    name: str, run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A misspelt file has nothing to export; neither it nor a folder is there afterwards."""
    monkeypatch.chdir(tmp_path)
    for url in (f"sqlite:///{name}", f"sqlite:///{tmp_path}/{name}"):
        result = run("feedback export", "--mind", tmp_path / "mind", "--store", url)
        assert fails_in_one_line(result, f"{name}: no such file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("clicks")
def test_an_export_onto_something_fails_in_one_line(run: Callable[..., Result], news: Path) -> None:
    """A data set is no place for another one."""
    before = news.read_bytes()
    assert fails_in_one_line(run("feedback export", "--mind", news.parent, *LONG), "not empty")
    assert news.read_bytes() == before


def test_an_export_from_nowhere_fails_in_one_line(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    """And leaves no folder."""
    target = tmp_path / "mind"
    result = run("feedback export", "--mind", target, "--store", UNREACHABLE)
    assert fails_in_one_line(result, "StoreUnavailable")
    assert not target.exists()


def test_feedback_alone_tells_what_can_be_done_with_it() -> None:
    """There is one thing."""
    result = CliRunner().invoke(feedback, ["--help"])
    assert result.exit_code == 0
    assert "export" in result.output
