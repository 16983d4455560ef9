"""The page says what was measured, on how much, beside what, and what was not run."""

from typing import Any

import pytest

from tests.training.study.rows import a_row, evidence
from training.study.evidence import Row
from training.study.goals import Measured
from training.study.plan import Goal, Spent
from training.study.sources import Sources
from training.study.tables import page, reading, seeds_cell

AUC = [0.9, 0.5, 0.8, 0.6] * 25


def lines(*rows: Row, **settings: object) -> list[str]:
    """Write a page and return its lines."""
    return page(evidence(*rows, **settings)).splitlines()  # type: ignore[arg-type]


def row_of(found: list[str], title: str) -> list[str]:
    """Return the cells of the first table row with a title."""
    line = next(line for line in found if line.startswith(f"| {title} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_shows_mean_interval_and_number_of_seeds() -> None:
    """Figures without a value per unit stand without an interval."""
    figures = {"1": {"auc": 0.71, "mrr": 0.4}, "2": {"auc": 0.69, "mrr": 0.5}}
    found = lines(a_row("student", units={"auc": AUC}, figures=figures, planned=2))
    title, seeds, auc, ndcg10, ndcg5, mrr = row_of(found, "the student")
    assert (title, seeds, ndcg10, ndcg5, mrr) == ("the student", "2", "", "", "0.4500")
    assert auc.startswith("0.7000 [0.6")
    assert "impression AUC by seed: the student 0.6900 to 0.7100." in found


@pytest.mark.parametrize(
    ("run", "planned", "cell"), [(0, 3, "not run"), (2, 3, "2 of 3"), (3, 3, "3"), (1, 1, "1")]
)
def test_missing_seeds_and_lines_are_told(run: int, planned: int, cell: str) -> None:
    """A line with fewer seeds than planned says so; one without any is not run."""
    figures = {str(seed): {"auc": 0.5} for seed in range(run)}
    row = a_row("student", figures=figures, planned=planned)
    assert seeds_cell(row, ["auc"]) == cell
    assert row_of(lines(row), "the student")[1] == cell


def test_a_baseline_has_no_seeds() -> None:
    """It stands only in the tables of its tasks, and says where it was not run."""
    bm25 = a_row("bm25", table="baseline", tasks=("search",), units={"search/mrr10": [0.5]})
    found = lines(bm25, a_row("tf-idf", table="baseline", tasks=("search",)))
    assert row_of(found, "the bm25")[1] == "-"
    assert row_of(found, "the tf-idf")[1] == "not run"
    assert len([line for line in found if line.startswith("| the bm25")]) == 1


def test_a_task_that_was_not_measured_is_not_run() -> None:
    """Whatever else the row has."""
    row = a_row("student", units={"auc": AUC})
    found = lines(row)
    assert row_of(found, "the student")[1] == "1"
    assert row_of(found[found.index("## Topics") :], "the student")[1] == "not run"


def test_a_row_is_compared_with_the_references_of_its_task() -> None:
    """By a ratio on clicks and search, by a difference on topics; never with itself."""
    units = {"auc": AUC, "topics/mind": [1.0, 0.0] * 50}
    half = {name: [value / 2 for value in values] for name, values in units.items()}
    references = {"recommendation": ("teacher",), "topics": ("teacher",)}
    rows = a_row("student", units=half), a_row("teacher", units=units)
    found = lines(*rows, references=references)
    assert row_of(found, "the student")[3] == "0.5000 [0.5000, 0.5000]"
    assert row_of(found, "the teacher")[3] == ""
    topics = found[found.index("## Topics") :]
    assert "minus the teacher" in next(line for line in topics if line.startswith("| row"))
    assert row_of(topics, "the student")[3].startswith("-0.2500 [-0.")


def test_a_table_says_on_how_much_it_was_measured() -> None:
    """Impressions, texts and queries are counted."""
    figures = {"1": {"auc": 0.5, "impressions": 1500, "search/queries": 100}}
    figures["1"] |= {"topics/mind/texts": 830, "topics/huffpost/texts": 1009}
    found = lines(a_row("student", figures=figures), a_row("teacher", figures=figures))
    expected = "1,500 impressions of MIND `dev` that have both clicks and skips"
    assert f"Measured on {expected}." in found
    assert "Measured on 830 MIND articles and 1,009 HuffPost headlines." in found
    assert "Measured on 100 queries." in found


def test_goals_are_listed_with_what_was_asked() -> None:
    """Title, figure, bound, measured value and verdict."""
    goal = Goal(title="two layers", row="student", figure="auc", at_least=0.65)
    cells = row_of(
        lines(a_row("student", units={"auc": AUC}), goals=(goal,)), "two layers: impression AUC"
    )
    assert cells[1] == "at least 0.65"
    assert cells[2].startswith("0.7000 [")
    assert cells[3] == "met"


def test_an_ablation_is_the_difference_to_its_base() -> None:
    """Negative where the change makes it worse; empty where it was not measured."""
    base = a_row("student", units={"auc": AUC}, planned=3)
    settings = {"table": "ablation", "against": "student"}
    worse = a_row("worse", units={"auc": [value - 0.1 for value in AUC]}, **settings)
    found = lines(base, worse, a_row("unknown", **settings))
    assert "### From: the student (1 of 3)" in found
    cells = row_of(found, "the worse")
    assert cells[2] == "-0.1000 [-0.1000, -0.1000]"
    assert cells[3:] == ["", "", "", "", "lowers impression AUC"]
    assert row_of(found, "the unknown")[1:] == ["not run", "", "", "", "", "", ""]
    assert not any(line.startswith("| the worse") for line in found[: found.index("## Ablations")])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.1, 0.1, "no measurable effect"),
        (0.0, 0.1, "no measurable effect"),
        (0.1, 0.2, "raises impression AUC"),
        (-0.2, -0.1, "lowers impression AUC"),
    ],
)
def test_an_interval_that_includes_zero_is_no_measurable_effect(
    low: float, high: float, expected: str
) -> None:
    """Whatever the mean is."""
    assert reading({"auc": Measured((low + high) / 2, low, high), "ndcg10": None}) == expected


def test_an_effect_in_both_directions_is_told() -> None:
    """One figure up, another down."""
    effects = {"auc": Measured(0.1, 0.1, 0.1), "topics/mind": Measured(-0.1, -0.1, -0.1)}
    assert reading({**effects, "ndcg10": None}) == "raises impression AUC; lowers MIND accuracy"
    assert reading({"auc": None}) == ""


def test_a_row_stands_in_the_tables_of_its_tasks_alone() -> None:
    """A task that it was not to do is not said to be not run."""
    found = lines(a_row("student", tasks=("recommendation", "search"), units={"auc": AUC}))
    tables = [found.index(f"## {name}") for name in ("Recommendation", "Topics", "Search")]
    places = [number for number, line in enumerate(found) if line.startswith("| the student |")]
    assert [sum(place > table for table in tables) for place in places] == [1, 3]


def test_the_page_says_who_learnt_from_less() -> None:
    """By row, since an epoch is chosen on what it is not learnt from."""
    held = "held out to choose the epoch by: 10 % in the paper; 25 % in the other."
    rows = [a_row("paper", held_out=0.1), a_row("other", held_out=0.25), a_row("best")]
    assert f"Training impressions {held}" in lines(*rows)
    baseline = a_row("bm25", table="baseline", held_out=None)
    assert not any("held out" in line for line in lines(a_row("best"), baseline))


def test_the_page_says_that_held_out_texts_take_part_without_their_topics() -> None:
    """They are not unseen texts."""
    found = lines(a_row("student"))
    note = found[found.index("## Topics") + 2 :][:2]
    assert note[0].startswith("No row was taught the topics of these texts.")
    assert "text distillation" in note[1]


def test_remarks_stand_below_the_goals_whatever_the_verdict() -> None:
    """A goal without one is not listed."""
    asked: dict[str, Any] = {"title": "two layers", "row": "student", "figure": "auc"}
    missed = Goal(**asked, at_least=0.99, remark="Four recipes were tried.")
    met = Goal(**asked, at_least=0.6, remark="At the first try.")
    row = a_row("student", units={"auc": AUC})
    found = lines(row, goals=(missed, met, met.model_copy(update={"remark": ""})))
    assert [line for line in found if line.startswith("- ")] == [
        "- two layers, impression AUC: Four recipes were tried.",
        "- two layers, impression AUC: At the first try.",
    ]
    assert found[found.index("- two layers, impression AUC: At the first try.") + 1 :][:2] == [
        "",
        "## Recommendation",
    ]


def test_cpu_time_says_what_it_does_not_count() -> None:
    """All that was run outside of the queue, unless the study adds it as a row of its own."""
    spent = Spent(cpu_hours=1.5, remark="choosing the recipe")
    without, added = (
        " ".join(lines(cpu_s={"student": 1800.0}, spent_before=one)) for one in (None, spent)
    )
    assert "outside of it, such as runs that a recipe was chosen with, is not counted." in without
    assert "is not counted, but for the row above the sum, which `study.toml` adds." in added
    assert "| choosing the recipe | 1.500 | | all, of a budget of 8 | 2.000 |" in added


def test_cpu_time_stands_beside_the_budget() -> None:
    """By row and in all."""
    found = lines(a_row("student"), cpu_s={"student": 7200.0, "no longer planned": 1800.0})
    cpu = found[found.index("## CPU time") :]
    assert row_of(cpu, "the student")[1] == "2.000"
    assert row_of(cpu, "no longer planned")[1] == "0.500"
    assert row_of(cpu, "all, of a budget of 8")[1] == "2.500"


@pytest.mark.parametrize(
    ("spent_s", "said"),
    [
        (7.38 * 3600, ["The study took 8.48 CPU hours, 0.48 more than the budget of 8."]),
        (6.9 * 3600, []),
    ],
)
def test_a_study_that_took_more_than_its_budget_says_so(spent_s: float, said: list[str]) -> None:
    """What was spent outside of the queue counts; all of the budget is not more than it."""
    spent = Spent(cpu_hours=1.1, remark="choosing the recipe")
    found = lines(cpu_s={"student": spent_s}, spent_before=spent)
    assert [line for line in found if line.startswith("The study took")] == said


def test_the_page_says_where_its_figures_come_from() -> None:
    """The teacher, commits, versions, and the data by short hashes; what is unknown is left out."""
    versions = {"commit": ["abc", "def"], "numpy": ["2.4"]}
    data = {"dev/news.tsv": "0123456789abcdef"}
    found = lines(sources=Sources(teacher="minilm", versions=versions, data=data))
    assert "Teacher: minilm." in found
    assert "Code: commit abc and def, numpy 2.4." in found
    assert "Data (sha256): dev/news.tsv 0123456789ab." in found
    assert lines(sources=Sources(data=data))[-3:] == [
        "## Provenance",
        "",
        "Data (sha256): dev/news.tsv 0123456789ab.",
    ]
    assert "Nothing has been run." in lines()
