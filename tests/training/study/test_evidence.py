"""Evidence is what finished runs say; figures that do not belong together are refused."""

import json
from pathlib import Path

import pytest

from tests.training.study.studies import BASE, STUDY, a_study, figures, finish
from training.errors import StudyError
from training.study.evidence import gather, read_evidence, to_json
from training.study.ledger import Entry, Ledger
from training.study.plan import Study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Read the small study."""
    return a_study(tmp_path / "configs")


def test_a_row_holds_figures_by_seed_and_units_averaged_over_them(
    study: Study, tmp_path: Path
) -> None:
    """A unit's value is its mean over the seeds that were run."""
    finish(study, tmp_path, "student-s1", figures({"auc": [0.2, 0.4]}))
    finish(study, tmp_path, "student-s3", figures({"auc": [0.6, 0.6]}))
    row = gather(study, tmp_path).row("student")
    assert {seed: f["auc"] for seed, f in row.figures.items()} == {"1": 0.3, "3": 0.6}
    assert row.units == {"auc": [0.4, 0.5]}
    assert row.mean("auc") == pytest.approx(0.45)
    assert (row.planned, row.against) == (3, None)


def test_figures_of_all_tasks_have_one_name_each(study: Study, tmp_path: Path) -> None:
    """The names are those of the units; macro-F and counts have none per unit."""
    units = {"auc": [0.5], "topics/mind": [1.0, 0.0], "search/recall10": [0.25]}
    finish(study, tmp_path, "student-s1", figures(units))
    found = gather(study, tmp_path).row("student").figures["1"]
    assert found == {
        "auc": 0.5,
        "topics/mind": 0.5,
        "topics/mind/macro_f": 0.25,
        "topics/mind/texts": 2,
        "search/recall10": 0.25,
    }


def test_a_row_shows_the_model_that_its_line_names(tmp_path: Path) -> None:
    """A run may have measured both."""
    text = STUDY.replace('title = "the student"', 'title = "x"\nmodel = "teacher"')
    study = a_study(tmp_path / "configs", text)
    one, other = figures({"auc": [0.1]}), figures({"auc": [0.9]}, model="teacher")
    both = {**one, **{key: {**one[key], **other[key]} for key in ("models", "units")}}
    finish(study, tmp_path, "student-s1", both)
    assert gather(study, tmp_path).row("student").mean("auc") == 0.9


def test_an_ablation_names_the_row_that_it_is_compared_with(study: Study, tmp_path: Path) -> None:
    """A main line that is based on another is no ablation of it."""
    against = {row.name: row.against for row in gather(study, tmp_path).rows}
    assert against["minus-joint"] == "student"
    assert against["teacher"] is None


def test_a_line_has_part_in_the_tasks_that_it_weighs(tmp_path: Path) -> None:
    """Its base says the rest; how much it holds out of the training impressions, too."""
    text = STUDY.replace("{ student_layers = 6 }", "{ student_layers = 6 }, tasks = { topics = 0 }")
    study = a_study(tmp_path / "configs", text, BASE + "[run]\nholdout_share = 0.25\n")
    rows = {row.name: row for row in gather(study, tmp_path).rows}
    assert rows["student"].tasks == ("recommendation", "topics")
    assert rows["teacher"].tasks == ("recommendation",)
    assert (rows["teacher"].held_out, rows["bm25"].held_out) == (0.25, None)


def test_what_was_spent_outside_of_the_queue_is_kept(tmp_path: Path) -> None:
    """The queue's ledger does not know of it."""
    spent = '[spent_before]\ncpu_hours = 1.1\nremark = "choosing"\n'
    found = gather(a_study(tmp_path / "configs", STUDY + spent), tmp_path).spent_before
    assert found is not None
    assert (found.cpu_hours, found.remark) == (1.1, "choosing")


def test_the_tasks_of_a_baseline_make_one_row(tmp_path: Path) -> None:
    """Each was measured by a step of its own, under whatever name the baseline has."""
    text = STUDY.replace('["search"]', '["search", "recommendation"]')
    study = a_study(tmp_path / "configs", text)
    finish(study, tmp_path, "baselines/bm25-search", figures({"search/mrr10": [1.0]}, "bm25"))
    finish(study, tmp_path, "baselines/bm25-recommendation", figures({"auc": [0.5]}, "bm25"))
    row = gather(study, tmp_path).row("bm25")
    assert row.figures == {"-": {"search/mrr10": 1.0, "auc": 0.5}}
    assert row.units == {"search/mrr10": [1.0], "auc": [0.5]}


def test_a_run_with_other_settings_counts_as_not_run(study: Study, tmp_path: Path) -> None:
    """The page never shows the figures of one configuration under the name of another."""
    folder = finish(study, tmp_path, "student-s1", figures({"auc": [0.5]}))
    assert gather(study, tmp_path).row("student").figures
    (folder / "config.toml").write_text("[model]\nstudent_layers = 1\n")
    assert gather(study, tmp_path).row("student").figures == {}


def test_cpu_time_is_that_of_every_row(study: Study, tmp_path: Path) -> None:
    """Seeds and attempts add up; what a line took that is gone still counts."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for step, cpu_s in (("student-s1", 10.0), ("student-s2", 5.0), ("dropped-s1", 1.0)):
        ledger.add(Entry(step, 1, "finished", cpu_s=cpu_s))
    assert gather(study, tmp_path).cpu_s == {"student": 15.0, "no longer planned": 1.0}


def test_the_evidence_says_what_the_finished_runs_were_made_with(
    study: Study, tmp_path: Path
) -> None:
    """Of a run that has not finished nothing is on the page."""
    finish(study, tmp_path, "student-s1", figures({"auc": [0.5]}), teacher="minilm")
    begun = finish(study, tmp_path, "student-s2", figures({"auc": [0.5]}), teacher="other")
    (begun / "figures.json").unlink()
    assert gather(study, tmp_path).sources.teacher == "minilm"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("student-s2", "student: its seeds were measured on different units"),
        ("teacher-s1", "auc: student has 2 values and teacher 3"),
    ],
)
def test_values_of_different_units_are_not_paired(
    name: str, message: str, study: Study, tmp_path: Path
) -> None:
    """Neither the seeds of a row nor two rows."""
    finish(study, tmp_path, "student-s1", figures({"auc": [0.5, 0.5]}))
    finish(study, tmp_path, name, figures({"auc": [0.5, 0.5, 0.5]}))
    with pytest.raises(StudyError, match=message):
        gather(study, tmp_path)


def test_a_figure_that_is_not_the_mean_of_its_units_is_refused(
    study: Study, tmp_path: Path
) -> None:
    """Figure and interval would speak of different things."""
    wrong = figures({"auc": [0.5, 0.7]})
    wrong["models"]["student"]["recommendation"]["auc"] = 0.61
    finish(study, tmp_path, "student-s1", wrong)
    with pytest.raises(StudyError, match=r"student-s1/figures.json: auc is not the mean of its 2"):
        gather(study, tmp_path)


def test_a_figure_that_could_not_be_measured_is_left_out(study: Study, tmp_path: Path) -> None:
    """Too few texts of any topic give no macro-F."""
    content = figures({"topics/mind": [1.0]})
    content["models"]["student"]["topics"]["mind"]["macro_f"] = None
    finish(study, tmp_path, "student-s1", content)
    assert gather(study, tmp_path).row("student").mean("topics/mind/macro_f") is None


@pytest.mark.parametrize("content", [[], {}, figures({}, model="teacher")])
def test_a_file_of_something_else_is_named(content: object, study: Study, tmp_path: Path) -> None:
    """JSON that holds no figures is an error, not an empty row."""
    finish(study, tmp_path, "student-s1", content)
    with pytest.raises(StudyError, match=r"student-s1/figures.json: not the figures of a"):
        gather(study, tmp_path)


def test_evidence_is_kept_whole_and_small(study: Study, tmp_path: Path) -> None:
    """What is read again is what was written; values have four digits, whole ones none."""
    finish(study, tmp_path, "student-s1", figures({"auc": [1 / 3, 1.0, 0.0]}))
    evidence = gather(study, tmp_path)
    text = to_json(evidence)
    assert '"auc":[0.3333,1,0]' in text
    (tmp_path / "kept.json").write_text(text, "utf-8")
    assert read_evidence(tmp_path / "kept.json") == evidence
    assert len(text.splitlines()) > len(evidence.rows)
    assert json.loads(text)["rows"][0]["name"] == "student"


def test_kept_evidence_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A page is not written from half a file."""
    (tmp_path / "kept.json").write_text('{"rows": [')
    with pytest.raises(StudyError, match=r"kept\.json"):
        read_evidence(tmp_path / "kept.json")
