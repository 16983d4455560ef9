"""Figures of search are of right answers: of the mode asked for, and the offline ones by vector."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks import finding
from benchmarks.comparison import BenchmarkError
from contract.search import Query
from tests.builders import a_bundle, a_catalogue

QUERIES = [Query("q1", "the cup", ("N1", "N2")), Query("q2", "a law", ("N3",))]
FOUND = [["N1", "N9"], ["N9", "N3"]]
GOOD = {"strategy": "dense", "degraded": [], "items": [{"id": "N1"}, {"id": "N9"}]}


def answering(status: int = 200, **changes: Any) -> finding.Ask:
    """Build a service that always gives one answer."""
    return lambda _: (status, json.dumps({**GOOD, **changes}).encode())


def test_ids_are_those_of_the_answers() -> None:
    """One list a query, asked as it is written and without collapsing stories."""
    asked: list[Mapping[str, Any]] = []

    def ask(body: Mapping[str, Any]) -> tuple[int, bytes]:
        asked.append(body)
        return answering()(body)

    assert finding.ids_found(ask, QUERIES, "dense") == [["N1", "N9"]] * 2
    assert [body["query"] for body in asked] == ["the cup", "a law"]
    assert {(body["n"], body["collapse"], body["mode"]) for body in asked} == {(10, False, "dense")}


def test_words_that_nobody_has_find_nothing() -> None:
    """Which is an answer, and counts as one."""
    ask = answering(strategy="none", items=[])
    assert finding.ids_found(ask, QUERIES, "bm25") == [[], []]


@pytest.mark.parametrize(
    "changes",
    [{"strategy": "bm25"}, {"degraded": ["encoder"]}, {"degraded": ["stale"]}, {"status": 503}],
)
def test_an_answer_that_is_less_is_refused(changes: dict[str, Any]) -> None:
    """Of another mode, degraded, or an error."""
    with pytest.raises(BenchmarkError, match="query q1 in mode dense"):
        finding.ids_found(answering(**changes), QUERIES, "dense")


def test_the_dense_mode_must_have_the_offline_figures() -> None:
    """Another order has another nDCG, another article another recall."""
    finding.check_dense(QUERIES, FOUND, FOUND)
    with pytest.raises(BenchmarkError, match="dense ndcg10"):
        finding.check_dense(QUERIES, [["N9", "N1"], ["N9", "N3"]], FOUND)
    with pytest.raises(BenchmarkError, match="dense recall10"):
        finding.check_dense(QUERIES, [["N8", "N9"], ["N9", "N3"]], FOUND)


def test_figures_have_paired_intervals() -> None:
    """Of the same queries: what equals itself differs by nothing, for certain."""
    worse = [["N9", "N8"], ["N9", "N3"]]
    found = {"dense": FOUND, "bm25": worse, "hybrid": FOUND, finding.BASELINE: worse}
    told = finding.figures(finding.values(QUERIES, found))
    assert told["mean_low_high"]["dense"]["recall10"][0] == 0.75
    assert told["difference_low_high"]["hybrid - dense"]["ndcg10"] == [0, 0, 0]
    assert told["difference_low_high"]["dense - bm25"]["recall10"][0] == 0.25


def test_overlap_is_of_what_the_other_found() -> None:
    """Nothing found is left out."""
    assert finding.overlap([["a", "b"], ["x"], []], [["b", "c"], ["x"], []]) == 0.75


@pytest.mark.slow
def test_the_whole_of_it_on_a_few_articles(tmp_path: Path) -> None:
    """From the folder to the result file, through a service of its own."""
    data = tmp_path / "data" / "search"
    data.mkdir(parents=True)
    articles = a_catalogue(40)
    lines = ({"id": a.id, "title": a.title, "abstract": ""} for a in articles)
    (data / "news.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    queries = (f"q{i}\t{articles[i].title}\t{articles[i].id}\n" for i in range(8))
    (data / "dev.tsv").write_text("".join(queries))
    a_bundle(tmp_path / "bundle")
    asked = ["--data", data.parent, "--bundle", tmp_path / "bundle", "--out", tmp_path]
    done = CliRunner().invoke(finding.main, [str(word) for word in asked])
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "finding.json").read_text())
    assert told["figures"]["auto"]["mean_low_high"]["bm25"]["recall10"] == [1.0, 1.0, 1.0]
    assert told["settings"]["articles"] == 40
    assert len(told["runs"]) == 8
