"""The queue runs what is not finished, records what fails, and goes on after any kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.training.study.studies import INPUTS, ONE_LINE, STUDY, a_study, study_file
from training.study import queue as queue_module
from training.study.ledger import Ledger
from training.study.queue import Queue, lock_file
from training.study.steps import steps_of

ROOT = Path(__file__).parents[3]
FAKE = Path(__file__).with_name("fake_newsbert.py")
Orders = Callable[..., None]


@pytest.fixture
def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Orders:
    """Tell the fake what to do in which run; without orders every run succeeds."""
    file = tmp_path / "orders.json"
    monkeypatch.setenv("NEWSBERT_FAKE", str(file))

    def give(**by_run: str) -> None:
        file.write_text(json.dumps({run.replace("_", "-"): o for run, o in by_run.items()}))

    give()
    return give


def a_queue(tmp_path: Path, **settings: Any) -> tuple[Queue, list[str]]:
    """Build a queue over the small study, or a given one, with the fake; collect what it says."""
    said: list[str] = []
    study = settings.pop("study", None) or a_study(tmp_path / "configs")
    program = settings.pop("program", (sys.executable, str(FAKE)))
    queue = Queue(study, INPUTS, tmp_path / "runs", program=program, say=said.append, **settings)
    return queue, said


def run(tmp_path: Path, **settings: Any) -> dict[str, str]:
    """Run a queue and return what failed."""
    return a_queue(tmp_path, **settings)[0].run()


def steps_taken(tmp_path: Path, name: str) -> list[str]:
    """Return the steps that a run took, each with the process that took it."""
    return (tmp_path / "runs" / name / "steps").read_text().splitlines()


def test_everything_is_run_in_order_and_once(tmp_path: Path, orders: Orders) -> None:
    """A second start finds nothing to do."""
    assert run(tmp_path) == {}
    events = [(e.event, e.step) for e in Ledger(tmp_path / "runs" / "ledger.jsonl").entries()]
    names = [step.name for step in steps_of(a_study(tmp_path / "configs"))]
    assert events == [(event, name) for name in names for event in ("begun", "finished")]
    assert run(tmp_path) == {}
    assert len(Ledger(tmp_path / "runs" / "ledger.jsonl").entries()) == len(events)


def test_a_failure_is_recorded_with_its_cause_and_the_queue_goes_on(
    tmp_path: Path, orders: Orders
) -> None:
    """Only what needs the failed run is left out, and says so."""
    orders(teacher_s1="fail")
    assert run(tmp_path) == {
        "teacher-s1": "step 7: click is not finite",
        "minus-joint-s1": "needs teacher-s1, which failed",
    }
    entries = Ledger(tmp_path / "runs" / "ledger.jsonl").entries()
    failed = {e.step: e.cause for e in entries if e.event == "failed"}
    assert failed["teacher-s1"] == "step 7: click is not finite"
    assert (tmp_path / "runs" / "minus-momentum-s1" / "figures.json").exists()


def test_what_failed_is_tried_again(tmp_path: Path, orders: Orders) -> None:
    """A cause that is gone leaves no trace."""
    orders(teacher_s1="fail")
    run(tmp_path)
    orders()
    assert run(tmp_path) == {}
    assert (tmp_path / "runs" / "minus-joint-s1" / "figures.json").exists()


def test_a_run_killed_by_the_system_goes_on_where_it_was(tmp_path: Path, orders: Orders) -> None:
    """Its signal is the cause; the steps it had taken are not taken again."""
    orders(student_s1="die")
    study = a_study(tmp_path / "configs", ONE_LINE)
    assert run(tmp_path, study=study) == {"student-s1": "killed by SIGKILL"}
    orders()
    assert run(tmp_path, study=study) == {}
    taken = steps_taken(tmp_path, "student-s1")
    assert [line[0] for line in taken] == ["1", "2", "3"]
    assert len({line.rpartition(" ")[2] for line in taken}) == 2


def test_a_run_that_leaves_no_figures_has_failed(tmp_path: Path, orders: Orders) -> None:
    """An exit status of 0 alone is no result."""
    orders(student_s1="empty")
    failed = run(tmp_path, study=a_study(tmp_path / "configs", ONE_LINE))
    assert failed == {"student-s1": "ended without figures for these settings"}


def test_a_run_that_says_nothing_fails_with_its_status(tmp_path: Path, orders: Orders) -> None:
    """There is always a cause."""
    program = (sys.executable, "-c", "raise SystemExit(3)")
    failed = run(tmp_path, study=a_study(tmp_path / "configs", ONE_LINE), program=program)
    assert failed == {"student-s1": "exit status 3"}


def test_changed_settings_are_trained_anew_and_nothing_is_lost(
    tmp_path: Path, orders: Orders
) -> None:
    """The old run is set aside, and so is what learned from it as a fixed teacher."""
    run(tmp_path)
    text = STUDY.replace("student_layers = 6", "student_layers = 3")
    queue, said = a_queue(tmp_path, study=a_study(tmp_path / "configs", text))
    assert queue.run() == {}
    runs = tmp_path / "runs"
    assert sorted(path.name for path in (runs / "superseded").iterdir()) == [
        "minus-joint-s1-1",
        "teacher-s1-1",
        "teacher-s2-1",
    ]
    assert "student_layers = 3" in (runs / "teacher-s1" / "config.toml").read_text()
    assert "student_layers = 6" in (runs / "superseded/teacher-s1-1/config.toml").read_text()
    assert len(steps_taken(tmp_path, "minus-joint-s1")) == 3
    assert any("its settings have changed: teacher-s1" in line for line in said)


def test_cpu_time_is_that_of_a_run_and_all_that_it_started(tmp_path: Path, orders: Orders) -> None:
    """Work in a process of its own counts; waiting does not."""
    orders(student_s1="burn")
    run(tmp_path, study=a_study(tmp_path / "configs", ONE_LINE))
    cpu_s = Ledger(tmp_path / "runs" / "ledger.jsonl").cpu_s()["student-s1"]
    assert 0.5 <= cpu_s < 5


def test_a_step_in_the_hands_of_another_queue_is_left_to_it(
    tmp_path: Path, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is what needs it; all else is run, and what was left is run when the step is free."""
    monkeypatch.setattr(queue_module, "LOCK_PATIENCE_S", 0.0)
    directory = tmp_path / "runs"
    steps = {step.name: step for step in steps_of(a_study(tmp_path / "configs"))}
    with queue_module.taken(lock_file(directory, steps["teacher-s1"])) as lock:
        assert lock is not None
        assert run(tmp_path) == {}
    left = {name for name in steps if not (directory / name / "figures.json").exists()}
    assert left == {"teacher-s1", "minus-joint-s1"}
    assert run(tmp_path) == {}
    assert (directory / "minus-joint-s1" / "figures.json").exists()


def test_two_queues_share_the_steps_between_them(
    tmp_path: Path, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No step is begun twice, and each queue has some."""
    monkeypatch.setattr(queue_module, "LOCK_PATIENCE_S", 0.0)
    text = ONE_LINE.replace("[1]", "[1, 2, 3, 4, 5, 6]")
    study = a_study(tmp_path / "configs", text)
    queues = [a_queue(tmp_path, study=study) for _ in range(2)]
    with ThreadPoolExecutor() as threads:
        assert list(threads.map(lambda queue: queue[0].run(), queues)) == [{}, {}]
    began = [e.step for e in Ledger(tmp_path / "runs/ledger.jsonl").entries() if e.event == "begun"]
    assert sorted(began) == [f"student-s{seed}" for seed in range(1, 7)]
    assert all(any(line.startswith("[") for line in said) for _, said in queues)


def test_a_plan_is_shown_without_changing_anything(tmp_path: Path, orders: Orders) -> None:
    """Each step with its state, in order, and what it waits for."""
    run(tmp_path, only=["student"])
    before = sorted(tmp_path.rglob("*"))
    queue, said = a_queue(tmp_path)
    queue.show()
    assert said[0].split() == ["1", "finished", "student-s1"]
    assert said[1].split() == ["2", "new", "teacher-s1"]
    assert said[3].split() == ["4", "new", "minus-joint-s1", "(after", "teacher-s1)"]
    assert said[-1].startswith("3 of 8 finished, 0.00 CPU h used")
    assert sorted(tmp_path.rglob("*")) == before


def test_progress_says_which_of_how_many_and_what_is_left(tmp_path: Path, orders: Orders) -> None:
    """Until something has finished there is no estimate."""
    queue, said = a_queue(tmp_path)
    queue.run()
    assert said[0] == "[1/8] student-s1: 0 of 8 finished, 0.00 CPU h used"
    assert said[3] == "[4/8] minus-joint-s1: 3 of 8 finished, 0.00 CPU h used, about 0.0 h left"
    assert said[-1].startswith("8 of 8 finished")


def test_a_long_run_says_where_it_is(tmp_path: Path, orders: Orders) -> None:
    """What the run wrote last is shown every so often, and its time so far is recorded."""
    orders(student_s1="burn")
    queue, said = a_queue(tmp_path, study=a_study(tmp_path / "configs", ONE_LINE), beat_s=0.1)
    queue.run()
    assert "    step 3" in said
    entries = Ledger(tmp_path / "runs" / "ledger.jsonl").entries()
    assert "alive" in [entry.event for entry in entries]


def test_the_estimate_is_what_runs_of_the_same_row_took(tmp_path: Path, orders: Orders) -> None:
    """A row without a finished run is expected to take what others of its kind did."""
    queue, said = a_queue(tmp_path, only=["student"])
    queue.run()
    ledger = tmp_path / "runs" / "ledger.jsonl"
    text = ledger.read_text()
    entries = [json.loads(line) for line in text.splitlines()]
    hours = {"student-s1": 1.0, "student-s2": 2.0, "student-s3": 3.0}
    rows = [{**entry, "wall_s": hours[entry["step"]] * 3600} for entry in entries]
    ledger.write_text("".join(json.dumps(row) + "\n" for row in rows))
    queue, said = a_queue(tmp_path, only=["student", "teacher"])
    queue.show()
    assert said[-1].endswith("about 4.0 h left")


# Kills of the queue itself, as a process.


def a_queue_process(tmp_path: Path) -> subprocess.Popen[bytes]:
    """Start the command in a folder whose `newsbert` is the fake, on two runs of one line."""
    shutil.copy(FAKE, tmp_path / "newsbert.py")
    (tmp_path / "data").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "training.study", "run", "--data", "data"]
    file = study_file(tmp_path / "configs", ONE_LINE.replace("[1]", "[1, 2]"))
    command += ["--study", str(file), "--directory", "runs"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        # Tests in a shell's background are deaf to it, and so would be what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )


def trainer_of(tmp_path: Path) -> int:
    """Wait for the first step of the first run and return the process that took it."""
    deadline = time.monotonic() + 60
    file = tmp_path / "runs" / "student-s1" / "steps"
    while time.monotonic() < deadline:
        if file.exists() and (text := file.read_text()).endswith("\n"):
            return int(text.split()[-1])
        time.sleep(0.02)
    raise AssertionError("the run did not start")


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and is not yet collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_queue_that_is_killed_takes_its_run_along_and_goes_on_when_started_again(
    stop: signal.Signals, tmp_path: Path, orders: Orders
) -> None:
    """No orphan goes on writing; the run is resumed, not begun again."""
    orders(student_s1="hang")
    process = a_queue_process(tmp_path)
    trainer = trainer_of(tmp_path)
    process.send_signal(stop)
    assert process.wait(timeout=60) != 0
    deadline = time.monotonic() + 10
    while is_alive(trainer) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(trainer)
    orders()
    assert a_queue_process(tmp_path).wait(timeout=120) == 0
    taken = steps_taken(tmp_path, "student-s1")
    assert [line[0] for line in taken] == ["1", "2", "3"]
    assert taken[0].endswith(str(trainer))


def test_a_failed_run_makes_the_command_fail(tmp_path: Path, orders: Orders) -> None:
    """Whoever automates the study sees that a row is missing."""
    orders(student_s1="fail")
    assert a_queue_process(tmp_path).wait(timeout=120) == 1
    assert (tmp_path / "runs" / "student-s2" / "figures.json").exists()
