"""`newsbert evaluate` for a bundle: three tasks, refusals by name, figures with intervals."""

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from contract.figures import read_figures
from contract.mind import write_folder
from service.commands import evaluate
from tests.builders import a_catalogue, an_impression


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Write a folder that is everything at once: MIND, labelled texts, search."""
    articles = a_catalogue(120)
    ids = [article.id for article in articles]
    impressions = [
        an_impression(str(i), history=ids[i : i + 1], candidates=ids[i + 1 : i + 5])
        for i in range(10)
    ]
    write_folder(tmp_path, articles, impressions)
    lines = (json.dumps({"id": a.id, "title": a.title}) for a in articles)
    (tmp_path / "news.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (tmp_path / "dev.tsv").write_text("".join(f"{a.id}\t{a.title}\t{a.id}\n" for a in articles[:5]))
    (tmp_path / "own.tsv").write_text("Team wins\tsport\n")
    return tmp_path


def run(bundle: Path, *arguments: str | Path) -> Result:
    """Evaluate a bundle."""
    return CliRunner().invoke(evaluate, [str(a) for a in (bundle, *arguments)])


def figures(result: Result) -> dict[str, object]:
    """Read the printed figures."""
    assert result.exit_code == 0, result.output
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_a_bundle_is_measured_on_recommendation(bundle_path: Path, data: Path) -> None:
    """MIND's metrics, each with its interval."""
    found = figures(run(bundle_path, "--mind", data, "--json"))
    assert found["impressions"] == 10
    assert set(found["intervals"]) == {"auc", "mrr", "ndcg5", "ndcg10"}  # type: ignore[call-overload]


def test_a_bundle_is_measured_on_topics(bundle_path: Path, data: Path) -> None:
    """On the tenth that is held out, or on all; bare topic names are MIND's."""
    flags = ("--task", "topics", "--mind", data, "--json")
    tenth = figures(run(bundle_path, *flags))
    everything = figures(run(bundle_path, *flags, "--all-texts"))
    assert tenth["mind"]["texts"] < 30  # type: ignore[index]
    assert everything["mind"]["texts"] == 120  # type: ignore[index]
    assert everything["mind"]["accuracy"] == 1  # type: ignore[index]


def test_a_bundle_is_measured_on_search(bundle_path: Path, data: Path) -> None:
    """A title finds its own article."""
    found = figures(run(bundle_path, "--task", "search", "--search", data, "--json"))
    assert (found["queries"], found["recall10"]) == (5, 1)


def test_figures_are_written_where_they_are_wanted(bundle_path: Path, data: Path) -> None:
    """In the form of a run's."""
    out = data / "figures"
    result = run(bundle_path, "--mind", data, "--out", out)
    assert result.stdout.startswith("auc ")
    written = read_figures(out)
    assert written.line == bundle_path.name
    assert len(written.units["student"]["auc"]) == 10


def test_a_taxonomy_that_the_bundle_does_not_know_is_refused(bundle_path: Path, data: Path) -> None:
    """By name, with those that it knows."""
    result = run(bundle_path, "--task", "topics", "--topics", data / "own.tsv", "--all-texts")
    assert result.exit_code == 1
    assert result.stderr.endswith("the model has no topics of 'own'; it knows mind\n")


def test_a_bundle_has_no_teacher(bundle_path: Path, data: Path) -> None:
    """Wrong usage, not the student's figures."""
    result = run(bundle_path, "--mind", data, "--model", "teacher")
    assert result.exit_code == 2
    assert "--model teacher" in result.stderr
