"""Steps: a cut-off leaves a useful table, and a directory tells how far its step is."""

from pathlib import Path

import pytest

from tests.training.study.studies import (
    BASE,
    INPUTS,
    STUDY,
    a_study,
    figures,
    finish,
    settings,
    step_named,
)
from training.study.steps import set_aside, settings_file, steps_of

FIGURES = figures({"auc": [0.5, 0.7]})
TAUGHT = STUDY.replace('base = "student"\nseeds', 'base = "base.toml"\nseeds').replace(
    'title = "the student"', 'title = "x"\nteacher_run = "teacher"'
)


def test_what_the_tables_need_most_is_run_first(tmp_path: Path) -> None:
    """The main lines' first seed, the baselines, the ablations, then one more seed at a time."""
    assert [step.name for step in steps_of(a_study(tmp_path))] == [
        "student-s1",
        "teacher-s1",
        "baselines/bm25-search",
        "minus-joint-s1",
        "minus-momentum-s1",
        "student-s2",
        "teacher-s2",
        "student-s3",
    ]


def test_a_fixed_teacher_is_trained_before(tmp_path: Path) -> None:
    """A line that needs another line's run comes after it, wherever it stands."""
    names = [step.name for step in steps_of(a_study(tmp_path, TAUGHT))]
    assert names[:2] == ["teacher-s1", "student-s1"]


@pytest.mark.parametrize(
    ("step", "needs"), [("student-s2", "teacher-s2"), ("student-s3", "teacher-s1")]
)
def test_the_fixed_teacher_has_the_same_seed_where_there_is_one(
    step: str, needs: str, tmp_path: Path
) -> None:
    """Without a run of the same seed it is the first."""
    assert step_named(a_study(tmp_path, TAUGHT), step).needs == (needs,)


def test_some_rows_can_be_run_alone_with_what_they_need(tmp_path: Path) -> None:
    """Choosing a row chooses the fixed teacher that it learns from."""
    steps = steps_of(a_study(tmp_path), only=["minus-joint", "bm25"])
    assert [s.name for s in steps] == ["baselines/bm25-search", "teacher-s1", "minus-joint-s1"]


def test_a_step_is_new_until_it_has_a_configuration(tmp_path: Path) -> None:
    """A directory without config.toml holds no run."""
    study = a_study(tmp_path / "configs")
    assert step_named(study, "student-s1").state(tmp_path) == "new"
    (tmp_path / "student-s1").mkdir()
    assert step_named(study, "student-s1").state(tmp_path) == "new"


@pytest.mark.parametrize("name", ["student-s1", "baselines/bm25-search"])
@pytest.mark.parametrize("left", [None, '{"models": '])
def test_a_step_is_begun_until_its_figures_are_whole(
    name: str, left: str | None, tmp_path: Path
) -> None:
    """No figures, or half a file, are no result."""
    study = a_study(tmp_path / "configs")
    folder = finish(study, tmp_path, name, FIGURES)
    assert step_named(study, name).state(tmp_path) == "finished"
    (folder / "figures.json").unlink()
    if left:
        (folder / "figures.json").write_text(left)
    assert step_named(study, name).state(tmp_path) == "begun"


@pytest.mark.parametrize("change", ["other value", "no configuration", "no TOML", "unknown key"])
def test_a_run_with_another_configuration_is_not_this_step(change: str, tmp_path: Path) -> None:
    """Its figures belong to a line that the study no longer has."""
    study = a_study(tmp_path / "configs")
    config = finish(study, tmp_path, "student-s1", FIGURES) / "config.toml"
    content = {
        "other value": config.read_text().replace("0.15", "0.1"),
        "no configuration": "",
        "no TOML": "[",
        "unknown key": "[modle]\n",
    }[change]
    config.write_text(content)
    assert step_named(study, "student-s1").state(tmp_path) == "changed"


def test_a_key_that_a_run_did_not_know_is_no_change_at_its_default(tmp_path: Path) -> None:
    """A new setting that changes nothing costs no hours of training."""
    study = a_study(tmp_path / "configs")
    config = finish(study, tmp_path, "student-s1", FIGURES) / "config.toml"
    kept = [line for line in config.read_text().splitlines() if "central_encoding" not in line]
    assert len(kept) + 1 == len(config.read_text().splitlines())
    config.write_text("\n".join(kept))
    assert step_named(study, "student-s1").state(tmp_path) == "finished"


def test_another_bundle_in_the_same_place_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures of the shipped bundle are those of the one that is there."""
    monkeypatch.chdir(tmp_path)
    manifest = Path("bundle", "manifest.json")
    manifest.parent.mkdir()
    manifest.write_text("one")
    study = a_study(tmp_path / "configs", STUDY.replace('what = "bm25"', 'what = "bundle"'))
    finish(study, tmp_path, "baselines/bm25-search", FIGURES)
    assert step_named(study, "baselines/bm25-search").state(tmp_path) == "finished"
    manifest.write_text("another")
    assert step_named(study, "baselines/bm25-search").state(tmp_path) == "changed"


def test_a_run_is_given_its_data_teacher_and_configuration(tmp_path: Path) -> None:
    """Files are those of the study, in the data folder that was named."""
    step = step_named(a_study(tmp_path), "student-s2")
    command = " ".join(step.arguments(a_study(tmp_path), INPUTS, Path("runs")))
    assert command == (
        "train --train data/mind/train --topics data/topics/a.jsonl --topics data/topics/b.tsv "
        "--search data/search --teacher minilm --config runs/student-s2.toml --dev data/mind/dev "
        "--texts data/topics/c.txt --out runs/student-s2 --resume"
    )


def test_a_fixed_teacher_is_named_to_the_run(tmp_path: Path) -> None:
    """It is the finished run of the line that the study names."""
    study = a_study(tmp_path)
    arguments = step_named(study, "minus-joint-s1").arguments(study, INPUTS, Path("runs"))
    assert arguments[arguments.index("--teacher-run") + 1] == "runs/teacher-s1"


def test_a_measurement_is_given_its_task(tmp_path: Path) -> None:
    """Each task of a baseline is a step with a directory of its own."""
    study = a_study(tmp_path)
    step = step_named(study, "baselines/bm25-search")
    arguments = step.arguments(study, INPUTS, Path("runs"))
    assert arguments[:2] == ["evaluate", "bm25"]
    assert arguments[arguments.index("--task") + 1] == "search"
    assert arguments[arguments.index("--out") + 1] == "runs/baselines/bm25-search"


def test_the_settings_of_a_run_are_its_whole_configuration(tmp_path: Path) -> None:
    """Defaults are written out, so that a later default does not change what is resumed."""
    study = a_study(tmp_path / "configs", base=BASE)
    folder = finish(study, tmp_path, "student-s3", FIGURES)
    assert settings(folder)["run"]["seed"] == 3
    assert settings(folder)["distillation"]["rows_per_step"] > 0
    assert settings_file(tmp_path, step_named(study, "student-s3")) == tmp_path / "student-s3.toml"


def test_what_is_set_aside_is_kept(tmp_path: Path) -> None:
    """However often settings change, nothing that was trained is deleted."""
    study = a_study(tmp_path / "configs")
    for number in (1, 2):
        finish(study, tmp_path, "baselines/bm25-search", {"number": number})
        target = set_aside(tmp_path, step_named(study, "baselines/bm25-search"))
        assert target == tmp_path / "superseded" / f"baselines-bm25-search-{number}"
        assert (target / "figures.json").read_text() == f'{{"number": {number}}}'
    assert not (tmp_path / "baselines" / "bm25-search").exists()
