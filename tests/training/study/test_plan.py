"""The table of experiments says what each line is run with, and is refused where it is wrong."""

from pathlib import Path

import pytest

from tests.training.study.studies import BASE, STUDY, a_study
from training.baselines import BASELINES
from training.errors import StudyError
from training.study.plan import TASKS, read_study

COMMITTED = Path(__file__).parents[3] / "training" / "configs" / "study.toml"


def test_a_line_is_its_base_with_changes_and_a_seed(tmp_path: Path) -> None:
    """What is not changed stays as the base file has it, in the same table too."""
    study = a_study(tmp_path)
    config = study.configuration(study.lines["teacher"], seed=2)
    assert (config.model.student_layers, config.model.dropout, config.run.seed) == (6, 0.2, 2)


def test_a_line_based_on_a_line_takes_its_changes_too(tmp_path: Path) -> None:
    """An ablation differs from its line in what it says and nothing else."""
    base = "[model]\nstudent_layers = 4\n"
    changed = 'base = "base.toml"\nchanges = { model = { student_layers = 3 } }'
    study = a_study(tmp_path, STUDY.replace('base = "base.toml"', changed), base)
    config = study.configuration(study.lines["minus-momentum"], seed=1)
    assert (config.model.student_layers, config.distillation.momentum) == (3, 0.0)


def test_a_line_learns_from_the_fixed_teacher_of_its_base(tmp_path: Path) -> None:
    """Unless it names another one."""
    taught = STUDY.replace('title = "the student"', 'title = "x"\nteacher_run = "teacher"')
    alone = taught.replace(
        'title = "the teacher"\nbase = "student"', 'title = "x"\nbase = "base.toml"'
    )
    study = a_study(tmp_path, alone)
    teachers = {name: study.teacher_of(line) for name, line in study.lines.items()}
    assert teachers["minus-momentum"] == study.lines["teacher"]
    assert teachers["teacher"] is None


def test_a_line_is_run_once_unless_it_has_seeds(tmp_path: Path) -> None:
    """The default is one run with seed 1."""
    study = a_study(tmp_path)
    assert study.lines["minus-joint"].seeds == (1,)
    assert study.lines["student"].seeds == (1, 2, 3)


GOAL = '[[goal]]\ntitle = "AUC"\nrow = "student"\nfigure = "auc"\n'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("momentum = 0.0", "momentun = 0.0", "line minus-momentum: unknown key: distill"),
        ("momentum = 0.0", "momentum = 2.0", "line minus-momentum: distillation.momentum is out"),
        ('title = "BM25"', 'tittle = "BM25"', "baseline.0.title: Field required"),
        ('what = "bm25"', 'what = "bm25"\nseeds = [1]', "baseline.0.seeds: Extra inputs"),
        ('name = "bm25"', 'name = "BM 25"', "baseline.0.name: String should match"),
        ('name = "bm25"', 'name = "teacher"', "two rows are named teacher"),
        ('tasks = ["search"]', 'tasks = ["serch"]', "baseline.0.tasks.0: Input should be"),
        ('base = "base.toml"', 'base = "none.toml"', "none.toml: No such file"),
        ('base = "base.toml"', 'base = "bse"', "student: base bse is neither a line nor"),
        ('base = "base.toml"', 'base = "teacher"', "student is based on itself"),
        ('"student"\nchanges', '"base.toml"\nchanges', "ablation is based on the line it is"),
        (
            'teacher_run = "teacher"',
            'teacher_run = "tcher"',
            "minus-joint: teacher_run tcher is no",
        ),
        (
            'teacher_run = "teacher"',
            'teacher_run = "minus-joint"',
            "minus-joint: its teacher minus-joint has",
        ),
        (
            'title = "the student"',
            'title = "x"\nteacher_run = "teacher"',
            "student: its teacher teacher has a fixed teacher itself",
        ),
        ('= ["teacher"]', '= ["tcher"]', "a goal or reference names tcher"),
        ("[[baseline]]", GOAL + "[[baseline]]", "either `at_least` or `within`"),
        ("[[baseline]]", GOAL + "within = 0.5\n[[baseline]]", "the row that it is a distance"),
        (
            "[[baseline]]",
            GOAL.replace("student", "stdent") + "at_least = 0.5\n[[baseline]]",
            "a goal or reference names stdent",
        ),
        ("[[baseline]]", GOAL + 'at_least = 0.5\nof = "tcher"\n[[baseline]]', "names tcher"),
        (
            "[references]",
            '[spent_before]\ncpu_hours = -1\nremark = "x"\n[references]',
            "spent_before.cpu_hours: Input should be greater",
        ),
        ("seeds = [1, 2, 3]", "seeds = []", "main.0.seeds: Tuple should have at least 1"),
        ("[[baseline]]", "[[baseline]", "study.toml: "),
    ],
)
def test_a_mistake_is_named(old: str, new: str, message: str, tmp_path: Path) -> None:
    """Unknown keys, names and values are found before anything is trained."""
    assert old in STUDY
    with pytest.raises(StudyError) as refused:
        a_study(tmp_path, STUDY.replace(old, new), BASE)
    assert message in str(refused.value)


def test_the_committed_study_is_what_the_budget_allows() -> None:
    """Every line can be run; four rows have three seeds, at most ten ablations have one."""
    study = read_study(COMMITTED)
    three = {line.name for line in study.main if line.seeds == (1, 2, 3)}
    assert three == {"paper-2-layer", "best-2-layer", "best-1-layer", "teacher"}
    assert len(study.ablation) <= 10
    assert {line.seeds for line in study.ablation} == {(1,)}
    assert study.budget_cpu_hours == 8


def test_the_committed_baselines_can_do_their_tasks() -> None:
    """Each is one that `newsbert evaluate` has, or a bundle."""
    for one in read_study(COMMITTED).baseline:
        able = BASELINES.get(one.what, () if one.name != "shipped" else TASKS)
        assert set(one.tasks) <= set(able), one.name


def test_no_two_lines_of_the_committed_study_are_the_same() -> None:
    """A line whose change changes nothing would be a row about noise."""
    study = read_study(COMMITTED)
    seen: dict[str, str] = {}
    for line in study.lines.values():
        teacher = study.teacher_of(line)
        key = f"{study.configuration(line, 1)} taught by {teacher and teacher.name}"
        assert seen.setdefault(key, line.name) == line.name
