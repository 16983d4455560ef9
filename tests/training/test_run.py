"""Run directory: config.toml, run.json, metrics.jsonl, card.md and how a run ends."""

import errno
import json
import os
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from training.config import Config, parse_config
from training.device import CPU
from training.environment import environment
from training.errors import DiskFull, NonFiniteWeights, ResumeError, RunLocked
from training.optimisation import Optimisation, parameter_group
from training.progress import ProgressDisplay
from training.resume import Position, load_state
from training.run import Run, is_stale

LOSSES = {"click": torch.tensor(0.5), "topic": torch.tensor(0.25)}


@pytest.fixture
def run(tmp_path: Path, config: Config, silent: ProgressDisplay) -> Iterator[Run]:
    """Return an opened run in its first stage."""
    run = Run(tmp_path / "run", config, teacher="tiny", progress=silent)
    run.begin({"seed": 1}, resume=False)
    run.start_stage("text_distillation", steps=3, done=0)
    yield run
    run.close()


@pytest.fixture
def model() -> nn.Module:
    """Return something with parameters."""
    return nn.Linear(3, 2)


@pytest.fixture
def optimisation(model: nn.Module) -> Optimisation:
    """Return what steps them."""
    groups = [parameter_group("all", [model], 0.1)]
    return Optimisation(groups, steps=10, warmup_share=0.1, clip=1.0)


def patient(config: Config, patience: int) -> Config:
    """Return settings that stop a run early."""
    return replace(config, run=replace(config.run, patience=patience))


def test_the_configuration_and_the_facts_are_written(run: Run, config: Config) -> None:
    """Enough to repeat the run, and no path of this machine."""
    written = tomllib.loads((run.directory / "config.toml").read_text())
    facts = run.facts()
    assert parse_config(written) == config
    assert (facts["teacher"], facts["name"], facts["state"]) == ("tiny", "run", "running")
    assert facts["steps"] == {"text_distillation": 3}
    assert set(facts) >= {"seed", "environment", "wall_time_s", "started_at"}
    assert str(run.directory.parent) not in json.dumps(facts)


def test_every_step_and_epoch_is_a_line(run: Run) -> None:
    """Losses by name, speeds, the learning rate, and what was held out."""
    run.log(0, LOSSES, news=7, examples=3, learning_rate=1e-4)
    run.log_epoch(1, {"holdout_auc": 0.75})
    step, epoch = run.metrics()
    assert (step["stage"], step["step"]) == ("text_distillation", 1)
    assert (step["click"], step["topic"], step["learning_rate"]) == (0.5, 0.25, 1e-4)
    assert step["news_per_s"] > step["examples_per_s"] > 0
    assert (epoch["epoch"], epoch["holdout_auc"]) == (1, 0.75)


def test_what_is_not_known_is_not_recorded(run: Run) -> None:
    """No examples, no learning rate: no such figure."""
    run.log(0, LOSSES, news=7)
    assert set(run.metrics()[0]) == {"stage", "step", "click", "topic", "news_per_s"}


def test_who_watches_sees_the_loss_that_was_minimised(tmp_path: Path, config: Config) -> None:
    """The weighted total if it is given, else the sum."""

    class Shown:
        losses: list[float] = []  # noqa: RUF012  (one test's)

        def start(self, stage: str, *, steps: int, done: int) -> None: ...
        def step(self, done: int, *, loss: float, **speeds: float) -> None:
            self.losses.append(loss)

        def note(self, text: str) -> None: ...
        def close(self) -> None: ...

    with Run(tmp_path, config, teacher="tiny", progress=Shown()) as run:
        run.begin({}, resume=False)
        run.log(0, LOSSES, news=1)
        run.log(1, LOSSES, news=1, total=torch.tensor(9.0))
    assert Shown.losses == [0.75, 9.0]


def test_the_best_epoch_is_the_one_with_the_highest_held_out_auc(run: Run) -> None:
    """A later, worse epoch does not replace it."""
    assert run.log_epoch(1, {"holdout_auc": 0.7})
    assert not run.log_epoch(2, {"holdout_auc": 0.6})
    assert (run.position.best_epoch, run.position.best_auc) == (1, 0.7)
    assert run.facts()["best"] == {"epoch": 1, "figure": "holdout_auc", "value": 0.7}


def test_the_last_epoch_is_the_best_where_nothing_is_held_out(run: Run) -> None:
    """Then there is nothing to choose by, and no patience to lose."""
    assert run.log_epoch(1, {})
    assert run.log_epoch(2, {})
    assert run.position.best_epoch == 2
    assert not run.should_stop()


def test_a_figure_that_is_not_a_number_is_never_the_best(run: Run) -> None:
    """NaN is no improvement."""
    assert not run.log_epoch(1, {"holdout_auc": float("nan")})
    assert run.position.best_epoch == 0


@pytest.mark.parametrize(
    ("done", "best", "patience", "stale"),
    [(3, 1, 2, True), (2, 1, 2, False), (9, 1, 0, False), (0, 0, 1, False), (1, 0, 1, True)],
)
def test_patience_is_lost_after_so_many_epochs_without_a_better_one(
    done: int, best: int, patience: int, stale: bool
) -> None:
    """Zero never loses it."""
    assert is_stale(done, best, patience=patience) is stale


def test_early_stopping_survives_a_resume(
    tmp_path: Path,
    config: Config,
    silent: ProgressDisplay,
    model: nn.Module,
    optimisation: Optimisation,
) -> None:
    """What a process knew of the best epoch, the next one knows; the card names the reason."""
    for epoch, auc in ((1, 0.7), (2, 0.6), (3, 0.6)):
        with Run(tmp_path, patient(config, 2), teacher="tiny", progress=silent) as run:
            run.begin({}, resume=True)
            run.start_stage("distillation", steps=100, done=10 * epoch)
            assert not run.should_stop()
            run.log_epoch(epoch, {"holdout_auc": auc})
            assert run.should_stop() is (epoch == 3)
            run.finish_epoch(epoch, model=model, optimisation=optimisation)
    assert run.facts()["state"] == "stopped early"
    assert "no better held-out figure in 2 epochs after epoch 1" in card_of(run)


def test_a_run_whose_steps_are_done_did_not_stop_early(
    tmp_path: Path, config: Config, silent: ProgressDisplay
) -> None:
    """Patience lost in the last epoch costs nothing."""
    with Run(tmp_path, patient(config, 1), teacher="tiny", progress=silent) as run:
        run.begin({}, resume=False)
        run.start_stage("distillation", steps=20, done=20)
        run.log_epoch(1, {"holdout_auc": 0.7})
        run.log_epoch(2, {"holdout_auc": 0.6})
    assert run.facts()["state"] == "finished"


def end(run: Run, error: BaseException) -> None:
    """Begin a run and end it by an error."""
    with run:
        run.begin({}, resume=False)
        raise error


def card_of(run: Run) -> str:
    """Return the run card."""
    return (run.directory / "card.md").read_text()


def test_the_card_is_there_from_the_start_and_after_every_epoch(
    run: Run, model: nn.Module, optimisation: Optimisation
) -> None:
    """Whoever looks while it runs sees how far it is."""
    assert "It is running" in card_of(run)
    assert "0.7000" not in card_of(run)
    run.log_epoch(1, {"holdout_auc": 0.7})
    run.finish_epoch(1, model=model, optimisation=optimisation)
    assert "| 1 (best) | 0.7000 |" in card_of(run)


@pytest.mark.parametrize(
    ("error", "state", "cause"),
    [
        (ValueError("bad line\nmore"), "failed", "ValueError: bad line"),
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
        (OSError(5, "Input/output error", "/" + "home/me/runs/x"), "failed", "OSError: [Errno 5]"),
    ],
)
def test_the_cause_of_the_end_is_recorded(
    tmp_path: Path,
    config: Config,
    silent: ProgressDisplay,
    error: BaseException,
    state: str,
    cause: str,
) -> None:
    """In run.json and on the card, in one line and without this machine's paths."""
    run = Run(tmp_path, config, teacher="tiny", progress=silent)
    with pytest.raises(type(error)):
        end(run, error)
    facts = run.facts()
    assert facts["state"] == state
    assert facts["cause"].startswith(cause)
    assert facts["cause"] in card_of(run)
    assert "/" + "home/me" not in card_of(run)


def test_a_full_disk_has_its_name_wherever_it_was_met(
    tmp_path: Path, config: Config, silent: ProgressDisplay
) -> None:
    """A file that somebody else writes into the directory may meet it too."""
    run = Run(tmp_path, config, teacher="tiny", progress=silent)
    with pytest.raises(DiskFull, match="No space left on device on the disk at /"):
        end(run, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert run.facts()["cause"].startswith("DiskFull: ")


def test_a_resumed_run_forgets_its_failure(
    tmp_path: Path, config: Config, silent: ProgressDisplay
) -> None:
    """It runs again, and then it has finished."""
    with pytest.raises(ValueError, match="x"):
        end(Run(tmp_path, config, teacher="t", progress=silent), ValueError("x"))
    with Run(tmp_path, config, teacher="t", progress=silent) as run:
        run.begin({}, resume=True)
        assert (run.facts()["state"], run.facts()["cause"]) == ("running", None)
    assert run.facts()["state"] == "finished"


def test_a_refused_start_changes_nothing(run: Run, config: Config, silent: ProgressDisplay) -> None:
    """Neither the record of the run that is there nor its lock, nor is anything called failed."""
    before = {path.name: path.read_bytes() for path in run.directory.iterdir()}
    other = Run(run.directory, config, teacher="tiny", progress=silent)
    with pytest.raises(RunLocked, match="in use by process"), other:
        other.begin({"seed": 1}, resume=True)
    run.close()
    with pytest.raises(ResumeError, match="already holds a run"), other:
        other.begin({"seed": 1}, resume=False)
    assert {path.name: path.read_bytes() for path in run.directory.iterdir()} == before


def test_another_teacher_is_refused(run: Run, config: Config, silent: ProgressDisplay) -> None:
    """Half a run with one teacher and half with another is no run."""
    run.close()
    other = Run(run.directory, config, teacher="other", progress=silent)
    with pytest.raises(ResumeError, match="teacher differs"):
        other.begin({"seed": 1}, resume=True)


def test_a_setting_that_is_new_since_the_run_began_is_no_change(
    run: Run, config: Config, silent: ProgressDisplay
) -> None:
    """Settings are compared by value: at its default it changes nothing. What cannot be read is."""
    run.close()
    written = run.directory / "config.toml"
    whole = written.read_text()
    assert "dropout = " in whole
    written.write_text("\n".join(line for line in whole.splitlines() if "dropout" not in line))
    with Run(run.directory, config, teacher="tiny", progress=silent) as again:
        again.begin({"seed": 1}, resume=True)
    assert written.read_text() == whole
    written.write_text("[model]\ndepth = 3\n")
    with pytest.raises(ResumeError, match=r"no run to resume \(unknown key: model\.depth"):
        again.begin({"seed": 1}, resume=True)


def test_a_run_that_nobody_closed_lets_go_of_its_directory(
    tmp_path: Path, config: Config, silent: ProgressDisplay
) -> None:
    """At the latest when it is collected."""
    Run(tmp_path, config, teacher="tiny", progress=silent).begin({}, resume=False)
    with Run(tmp_path, config, teacher="tiny", progress=silent) as run:
        run.begin({}, resume=True)


def test_resume_where_nothing_is_starts_afresh(
    tmp_path: Path, config: Config, silent: ProgressDisplay
) -> None:
    """So one command serves for the first and for every later start."""
    with Run(tmp_path / "new", config, teacher="tiny", progress=silent) as run:
        state = run.begin({}, resume=True)
    assert state.position == Position()
    assert not state.tensors


def test_a_start_killed_before_its_last_file_is_started_again(
    run: Run, config: Config, silent: ProgressDisplay
) -> None:
    """config.toml is written last: without it there is no run yet, whatever else lies there."""
    run.close()
    (run.directory / "config.toml").unlink()
    with Run(run.directory, config, teacher="other", progress=silent) as again:
        assert again.begin({"seed": 2}, resume=True).position == Position()
    assert (again.facts()["seed"], again.facts()["teacher"]) == (2, "other")


def test_wall_time_adds_up_over_processes(
    tmp_path: Path, config: Config, silent: ProgressDisplay
) -> None:
    """Each process adds its own time once, however often it writes."""
    with Run(tmp_path, config, teacher="tiny", progress=silent) as run:
        run.begin({}, resume=False)
        run._started_s -= 100.0
        for _ in range(3):
            run.describe({})
    assert run.facts()["wall_time_s"] == pytest.approx(100.0, abs=5.0)
    with Run(tmp_path, config, teacher="tiny", progress=silent) as run:
        run.begin({}, resume=True)
        run._started_s -= 50.0
    assert run.facts()["wall_time_s"] == pytest.approx(150.0, abs=5.0)


def test_measuring_and_saving_are_not_the_next_steps_time(
    run: Run, model: nn.Module, optimisation: Optimisation
) -> None:
    """Otherwise the first step of every epoch would look slow."""
    run.log(0, LOSSES, news=100)
    run._stepped_s -= 1000.0
    run.finish_epoch(1, model=model, optimisation=optimisation)
    run.log(1, LOSSES, news=100)
    assert run.metrics()[-1]["news_per_s"] > 1.0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_saved(
    run: Run, model: nn.Module, optimisation: Optimisation, value: float
) -> None:
    """The state saved before stays, and the weights are named."""
    run.save(model=model, optimisation=optimisation)
    before = (run.directory / "state.safetensors").read_bytes()
    with torch.no_grad():
        model.get_parameter("bias")[0] = value
    with pytest.raises(NonFiniteWeights, match="bias not finite, so nothing was saved"):
        run.save(model=model, optimisation=optimisation)
    assert (run.directory / "state.safetensors").read_bytes() == before


def test_a_state_brings_back_the_scale_of_gradients(run: Run, model: nn.Module) -> None:
    """In fp16 it has adapted itself; a resumed run goes on with it."""
    groups = [parameter_group("all", [model], 0.1)]
    ours, theirs = (
        Optimisation(groups, steps=10, warmup_share=0.1, clip=1.0, scaled=True) for _ in range(2)
    )
    ours.scaler.load_state_dict({**ours.scaler.state_dict(), "scale": 8.0, "_growth_tracker": 3})
    run.save(model=model, optimisation=ours)
    state = load_state(run.directory / "state.safetensors")
    state.restore_model(model)
    state.restore_optimiser(model, theirs)
    assert theirs.scaler.state_dict() == ours.scaler.state_dict()


def test_a_state_of_another_shape_is_refused(run: Run, model: nn.Module) -> None:
    """The parameter is named."""
    run.save(model=model, optimisation=None)
    state = load_state(run.directory / "state.safetensors")
    for other in (nn.Linear(3, 4), nn.Bilinear(1, 1, 1)):
        with pytest.raises(ResumeError, match="the saved state holds no weight of this shape"):
            state.restore_model(other)


def test_packages_are_known_by_version() -> None:
    """What a run depends on besides its data."""
    # A build may add a suffix to the version that it was installed by.
    assert torch.__version__.startswith(environment(CPU)["packages"]["torch"].partition("+")[0])
