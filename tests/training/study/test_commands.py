"""The commands of the study: what is wrong on the command line, and a page from kept figures."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.training.study.studies import STUDY, a_study, figures, finish, study_file
from training.study.__main__ import main

ROOT = Path(__file__).parents[3]


def call(*arguments: object) -> Result:
    """Call a command."""
    return CliRunner().invoke(main, [str(one) for one in arguments])


def test_the_plan_is_shown(tmp_path: Path) -> None:
    """A dry run lists every step and makes no directory."""
    file = study_file(tmp_path / "configs")
    runs = tmp_path / "runs"
    shown = call("run", "--study", file, "--data", tmp_path, "--directory", runs, "--dry-run")
    assert (shown.exit_code, len(shown.output.splitlines())) == (0, 9)
    assert not runs.exists()


def test_a_row_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    """The rows that there are are named."""
    file = study_file(tmp_path / "configs")
    wrong = call("run", "--study", file, "--data", tmp_path, "--only", "studnt", "--dry-run")
    assert wrong.exit_code == 2
    assert "no row is named studnt; rows: student, teacher, bm25, minus-joint" in wrong.output


def test_a_wrong_table_of_experiments_is_one_line(tmp_path: Path) -> None:
    """It names the line and the key, and exits with 1."""
    file = study_file(tmp_path / "configs", STUDY.replace("momentum = 0.0", "momentun = 0.0"))
    wrong = call("run", "--study", file, "--data", tmp_path)
    assert wrong.exit_code == 1
    assert wrong.output.startswith("newsbert: line minus-momentum: unknown key: ")
    assert len(wrong.output.splitlines()) == 1


def test_a_page_is_written_again_from_the_figures_kept_beside_it(tmp_path: Path) -> None:
    """Byte for byte, without the runs."""
    file = study_file(tmp_path / "configs")
    study = a_study(tmp_path / "configs")
    units = {"auc": [1 / 3, 2 / 3, 0.5], "topics/mind": [1.0, 0.0], "search/ndcg10": [0.5]}
    finish(study, tmp_path / "runs", "student-s1", figures(units))
    finish(study, tmp_path / "runs", "teacher-s1", figures(units))
    page = tmp_path / "docs" / "page.md"
    made = call("page", "--study", file, "--directory", tmp_path / "runs", "--out", page)
    assert made.exit_code == 0, made.output
    again = tmp_path / "again.md"
    made = call("page", "--from", page.with_suffix(".json"), "--out", again)
    assert made.exit_code == 0, made.output
    assert again.read_bytes() == page.read_bytes()
    assert "0.5000 [0.3333, 0.6667]" in page.read_text("utf-8")


def test_figures_that_do_not_belong_together_leave_the_old_page(tmp_path: Path) -> None:
    """Nothing is written before everything is known to be right."""
    file = study_file(tmp_path / "configs")
    page = tmp_path / "page.md"
    call("page", "--study", file, "--directory", tmp_path / "runs", "--out", page)
    before = page.read_bytes()
    finish(a_study(tmp_path / "configs"), tmp_path / "runs", "student-s1", {})
    wrong = call("page", "--study", file, "--directory", tmp_path / "runs", "--out", page)
    assert wrong.exit_code == 1
    assert wrong.output.startswith(
        "newsbert: student-s1/figures.json: not the figures of a student"
    )
    assert page.read_bytes() == before


@pytest.mark.parametrize("module", ["training.study.__main__", "training.study.queue"])
def test_the_study_loads_no_torch(module: str) -> None:
    """The queue waits for hours beside a training run: it takes no memory from it."""
    code = f"import sys, {module}; print(sorted({{'torch', 'transformers'}} & set(sys.modules)))"
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
