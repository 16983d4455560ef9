"""Figures: the file that tables are computed from."""

import hashlib
import json
from pathlib import Path

import pytest

from contract.figures import FiguresError, FiguresFile, read_figures, write_figures
from contract.measuring import Measured, TaskFigures


def some_figures() -> Measured:
    """Build one group of figures for each kind of task."""
    return {
        "recommendation": TaskFigures(
            {"auc": 0.75, "mrr": 0.5, "impressions": 2},
            {"auc": [1.0, 0.5], "mrr": [0.5, 0.5], "ndcg5": [0, 0], "ndcg10": [1 / 3, 1.0]},
            {},
        ),
        "topics/mind": TaskFigures(
            {"accuracy": 0.5, "macro_f": None, "texts": 2}, {"accuracy": [1.0, 0.0]}, {}
        ),
        "search": TaskFigures(
            {"recall10": 1.0, "queries": 1},
            {"recall10": [1.0], "ndcg10": [0.5], "mrr10": [0.5]},
            {},
        ),
    }


def test_the_file_has_the_form_that_tables_are_made_of(tmp_path: Path) -> None:
    """Figures by model and task, values by model and figure, to six digits."""
    write_figures(tmp_path / "run", {"student": some_figures()}, line="best", seed=3)
    assert json.loads((tmp_path / "run" / "figures.json").read_text()) == {
        "line": "best",
        "seed": 3,
        "models": {
            "student": {
                "recommendation": {"auc": 0.75, "mrr": 0.5, "impressions": 2},
                "topics": {"mind": {"accuracy": 0.5, "macro_f": None, "texts": 2}},
                "search": {"recall10": 1.0, "queries": 1},
            }
        },
        "units": {
            "student": {
                "auc": [1.0, 0.5],
                "ndcg10": [0.333333, 1.0],
                "topics/mind": [1.0, 0.0],
                "search/ndcg10": [0.5],
                "search/recall10": [1.0],
            }
        },
    }


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """By the file or its directory; a baseline has no seed. An older file is replaced."""
    write_figures(tmp_path, {"bm25": {}}, line="old")
    path = write_figures(tmp_path, {"bm25": {}}, line="bm25")
    assert (
        read_figures(path)
        == read_figures(tmp_path)
        == FiguresFile("bm25", None, {"bm25": {}}, {"bm25": {}})
    )
    assert [file.name for file in tmp_path.iterdir()] == ["figures.json"]


def test_figures_may_name_the_data_that_they_depend_on(tmp_path: Path) -> None:
    """By the sha256 of each file; what was written before this was known has none."""
    (tmp_path / "news.tsv").write_bytes(b"N1")
    write_figures(tmp_path, {}, line="bm25", files={"dev/news.tsv": tmp_path / "news.tsv"})
    expected = {"dev/news.tsv": hashlib.sha256(b"N1").hexdigest()}
    assert read_figures(tmp_path).data_sha256 == expected
    write_figures(tmp_path, {}, line="bm25")
    assert read_figures(tmp_path).data_sha256 == {}


def test_figures_of_a_pretrained_model_name_it(tmp_path: Path) -> None:
    """Other figures have no teacher."""
    write_figures(tmp_path, {}, line="frozen-teacher", teacher="folder/model")
    assert read_figures(tmp_path).teacher == "folder/model"
    write_figures(tmp_path, {}, line="bm25")
    assert read_figures(tmp_path).teacher is None


def test_what_is_no_number_is_not_written(tmp_path: Path) -> None:
    """A NaN would spoil every table; the file that was there stays."""
    path = write_figures(tmp_path, {}, line="good")
    spoiled = some_figures()
    spoiled["search"].figures["recall10"] = float("nan")
    with pytest.raises(ValueError, match="JSON compliant"):
        write_figures(tmp_path, {"student": spoiled}, line="bad")
    assert read_figures(path).line == "good"


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"line": "a", "seed": 1, "models": {"student": {}}, "units": {}}'],
)
def test_another_file_is_refused_by_name(tmp_path: Path, content: str) -> None:
    """Cut off, of another form, or of models without values."""
    (tmp_path / "figures.json").write_text(content)
    with pytest.raises(FiguresError, match=r"figures\.json: "):
        read_figures(tmp_path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    """A run that has not finished has none."""
    with pytest.raises(FiguresError, match=r"figures\.json: "):
        read_figures(tmp_path)
