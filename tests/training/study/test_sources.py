"""A page speaks of one teacher and of one version of every file, and says which they are."""

from collections import ChainMap
from pathlib import Path
from typing import Any

import pytest

from contract.evaluate_command import TASKS, Request
from contract.search import NEWS
from tests.training.study.studies import a_study, figures, finish
from training.errors import StudyError
from training.material import Inputs
from training.study.plan import Study
from training.study.sources import Sources, sources_of
from training.study.steps import steps_of


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Read the small study."""
    return a_study(tmp_path / "configs")


def sources(study: Study, directory: Path) -> Sources:
    """Gather the sources of what is finished."""
    return sources_of([s for s in steps_of(study) if s.state(directory) == "finished"], directory)


def a_run(study: Study, directory: Path, name: str, **facts: Any) -> None:
    """Finish a run that says this of itself."""
    finish(study, directory, name, figures({"auc": [0.5]}), **facts)


def a_measurement(study: Study, directory: Path, **facts: Any) -> None:
    """Finish the study's baseline; it has nothing but its figures."""
    content = {**figures({"search/ndcg10": [0.5]}, "bm25"), **facts}
    (finish(study, directory, "baselines/bm25-search", content) / "run.json").unlink()


def test_what_all_runs_were_made_with_is_said_once(study: Study, tmp_path: Path) -> None:
    """The teacher, every data file, and each version of the code, outside of a repository none."""
    for seed, commit in ((1, "def"), (2, "abc"), (3, None)):
        environment = {"python": "3.11", "git": commit, "packages": {"numpy": "2.4"}}
        facts = {"environment": environment, "data_sha256": {"train/news.tsv": "12ab"}}
        a_run(study, tmp_path, f"student-s{seed}", teacher="minilm", **facts)
    a_measurement(study, tmp_path, data_sha256={"search/dev.tsv": "34cd"})
    assert sources(study, tmp_path) == Sources(
        teacher="minilm",
        data={"search/dev.tsv": "34cd", "train/news.tsv": "12ab"},
        versions={"commit": ["abc", "def"], "numpy": ["2.4"], "python": ["3.11"]},
    )


def test_a_measurement_names_its_files_as_a_run_does(tmp_path: Path) -> None:
    """Else two versions of one file would not meet; a run reads texts to learn from besides."""
    train, dev, search = (tmp_path / name for name in ("train", "dev", "search"))
    topics, texts = tmp_path / "papers.jsonl", tmp_path / "headlines.txt"
    for folder in (train, dev, search):
        folder.mkdir()
        for name in ("news.tsv", "behaviors.tsv", *NEWS, "train.tsv", "dev.tsv"):
            (folder / name).touch()
    topics.touch()
    measured = [
        Request(
            task=task, mind=dev, topics=(("", topics),), search=search,
            all_texts=False, model="student", train=train, teacher=None, out=None,
            as_json=False,
        ).files()
        for task in TASKS
    ]  # fmt: skip
    run = Inputs(train, dev, tmp_path, topic_files=(topics,), text_files=(texts,), search=search)
    learnt_from = {"texts/headlines.txt": texts, "search/train.tsv": search / "train.tsv"}
    assert dict(ChainMap(learnt_from, *measured)) == run.files()


def test_without_any_run_there_are_no_sources(study: Study, tmp_path: Path) -> None:
    """Nor does a measurement of an older version, which says nothing, stand in the way."""
    assert sources(study, tmp_path) == Sources()
    a_measurement(study, tmp_path)
    assert sources(study, tmp_path) == Sources()


def test_two_teachers_are_refused(study: Study, tmp_path: Path) -> None:
    """The runs of each are named: those of one are to be set aside."""
    a_run(study, tmp_path, "student-s1", teacher="minilm")
    a_run(study, tmp_path, "student-s2", teacher="minilm")
    a_run(study, tmp_path, "teacher-s1", teacher="mpnet")
    named = "the teacher is not the same for all: minilm for student-s1, student-s2; mpnet for teac"
    with pytest.raises(StudyError, match=named):
        sources(study, tmp_path)


def test_a_measurement_of_another_teacher_is_refused(study: Study, tmp_path: Path) -> None:
    """A frozen teacher is compared with those that were trained."""
    a_run(study, tmp_path, "student-s1", teacher="minilm")
    a_measurement(study, tmp_path, teacher="mpnet")
    with pytest.raises(StudyError, match="minilm for student-s1; mpnet for baselines/bm25-search"):
        sources(study, tmp_path)


def test_a_run_that_lost_its_facts_is_named(study: Study, tmp_path: Path) -> None:
    """Missing or spoiled."""
    a_run(study, tmp_path, "student-s1", teacher="minilm")
    file = tmp_path / "student-s1" / "run.json"
    for spoil in (lambda: file.write_text("{"), file.unlink):
        spoil()
        with pytest.raises(StudyError, match=r"student-s1: run\.json"):
            sources(study, tmp_path)


def test_two_versions_of_a_data_file_are_refused(study: Study, tmp_path: Path) -> None:
    """Of two runs, or of a run and a measurement; other files make no difference."""
    a_run(study, tmp_path, "student-s1", data_sha256={"search/dev.tsv": "12ab", "x": "1"})
    a_measurement(study, tmp_path, data_sha256={"search/dev.tsv": "12ab"})
    assert sources(study, tmp_path).data == {"search/dev.tsv": "12ab", "x": "1"}
    a_measurement(study, tmp_path, data_sha256={"search/dev.tsv": "34cd"})
    named = (
        r"search/dev\.tsv is not the same for all: 12ab for student-s1; 34cd for baselines/bm25-"
    )
    with pytest.raises(StudyError, match=named):
        sources(study, tmp_path)
