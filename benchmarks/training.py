"""How many examples a second joint learning takes in, beside two forms that encode more padding."""

import dataclasses
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from benchmarks.comparison import DIGITS, BenchmarkError, Spread, interleaved, ratios, reported
from benchmarks.results import FOLDER, ROOT, write_result
from contract.text import TextSpec
from contract.tokens import TextTokenizer
from training.batches import Batch, ClickBatch
from training.config import Config, load_config
from training.device import CPU
from training.distill import TrainingData, epoch_steps, step_losses, steps_per_epoch, take_step
from training.errors import TrainingError
from training.material import Inputs, read_material, training_data
from training.model import TeacherStudent, pair_with_teacher
from training.optimisation import Optimisation
from training.teacher import load_teacher
from training.token_table import Rows, TokenTable
from training.tuning import choose_tuned, joint_optimisation

CONFIG = ROOT / "training" / "configs" / "paper.toml"
TOLERANCE = 1e-4
PACKAGES = ("torch", "transformers", "tokenizers", "numpy")
# Each real slot encoded, and padded to the longest text of the batch.
EVERY_SLOT = {"central_encoding": False, "length_bucketing": False}
# ours, each real slot as EVERY_SLOT says, and the paper's: empty slots too, all of one length.
FORMS = ("ours", "slots", "padded")
STAGES = ("batch", "student", "teacher", "losses", "backward", "mixing", "optimiser")


class PaddedTable:
    """The tokens of a table, all texts padded to the same length."""

    def __init__(self, table: TokenTable, width: int) -> None:
        self._table = table
        self._width = width
        self.lengths = np.full(len(table), width)

    def tokens(self, rows: Rows, device: torch.device = CPU) -> tuple[Tensor, Tensor]:
        """Return ids and mask (B, width), on a device."""
        # What stands where the mask is 0 makes no difference.
        ids, mask = (
            torch.nn.functional.pad(part, (0, self._width - part.shape[1]))
            for part in self._table.tokens(rows, device)
        )
        return ids, mask


@dataclasses.dataclass
class Form:
    """One way to take the same step: its settings, its table, and what it makes of a batch."""

    config: Config
    data: TrainingData
    prepare: Callable[[Batch], Batch]

    def steps(self) -> Iterator[tuple[Batch, ...]]:
        """Yield the batches of each step of an epoch."""
        for batches in epoch_steps(self.data, self.config, 1):
            yield tuple(map(self.prepare, batches))


@click.command()
@click.option("--data", "folder", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--teacher", envvar="NEWSBERT_TEACHER", required=True, help="Hub id or folder.")
@click.option("--config", "file", type=click.Path(path_type=Path), default=CONFIG)
@click.option("--rows", default=32, show_default=True, help="Clicks in a step.")
@click.option("--tokens-per-chunk", type=int, help="Instead of the config's.")
@click.option("--rounds", default=5, show_default=True, help="Steps of each form.")
@click.option("--without", multiple=True, type=click.Choice(FORMS[1:]), help="Leave a form out.")
@click.option("--out", type=click.Path(path_type=Path), default=FOLDER)
def main(
    *,
    folder: Path,
    teacher: str,
    file: Path,
    rows: int,
    tokens_per_chunk: int | None,
    rounds: int,
    without: tuple[str, ...],
    out: Path,
) -> None:
    """Take the same steps in three forms, in turns, losses checked first.

    Example: python -m benchmarks.training --data DATA --teacher FOLDER_OR_HUB_ID
    """
    config = steady(load_config(file), rows=rows, chunk=tokens_per_chunk)
    torch.set_num_threads(config.run.threads)
    with reported("training", TrainingError, ValueError):
        pair, data = material(folder, teacher, config)
        forms = {name: form for name, form in forms_of(config, data) if name not in without}
        differences = checked(pair, forms)
    runs = measured(pair, forms, rounds)
    figures = summary(runs)
    for name, spread in figures.items():
        click.echo(f"{name:28} {spread['median']:,.4g}")
    target = write_result(
        "training",
        figures={**figures, "loss_differences": differences},
        runs=runs,
        settings={
            "config": file.name,
            "distillation": dataclasses.asdict(config.distillation),
            "precision": config.run.precision,
            "threads": config.run.threads,
            "rounds": rounds,
            "clicks": len(data.rows.clicks),
            "mean_history": round(float(np.mean([len(r.history) for r in data.rows.clicks])), 2),
        },
        pinning=f"cores {sorted(os.sched_getaffinity(0))}",
        packages=PACKAGES,
        folder=out,
    )
    click.echo(f"written to {target.name}")


def steady(config: Config, *, rows: int, chunk: int | None) -> Config:
    """Return the settings without dropout, so that all forms compute the same losses."""
    settings = config.distillation
    chunk = chunk or settings.tokens_per_chunk
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, dropout=0.0),
        distillation=dataclasses.replace(settings, rows_per_step=rows, tokens_per_chunk=chunk),
    )


def material(folder: Path, teacher: str, config: Config) -> tuple[TeacherStudent, TrainingData]:
    """Read what a training run would and build its pair."""
    mind, topics = folder / "mind", folder / "topics" / "huffpost.jsonl"
    search = folder / "search"
    read = read_material(
        Inputs(
            train=mind / "train",
            dev=mind / "dev",
            cache=folder,
            topic_files=(topics,) if topics.exists() else (),
            search=search if config.tasks.search else None,
        ),
        config,
    )
    loaded = load_teacher(teacher, config.model, topics=len(read.topics))
    torch.manual_seed(config.run.seed)
    pair = pair_with_teacher(
        loaded.architecture, loaded.backbone, student_layers=config.model.student_layers
    )
    choose_tuned(pair, config)
    spec = TextSpec.model_validate(vars(config.text))
    tokenizer = TextTokenizer(loaded.tokenizer_json, config.text.max_tokens)
    return pair.train(), training_data(read, spec, tokenizer, config)


def forms_of(config: Config, data: TrainingData) -> Iterator[tuple[str, Form]]:
    """Yield the three forms by name."""
    settings = dataclasses.replace(config.distillation, **EVERY_SLOT)
    slots = dataclasses.replace(config, distillation=settings)
    yield "ours", Form(config, data, lambda batch: batch)
    yield "slots", Form(slots, data, lambda batch: batch)
    table: Any = PaddedTable(data.texts, config.text.max_tokens)
    yield (
        "padded",
        Form(
            slots,
            dataclasses.replace(data, texts=table),
            lambda batch: with_empty_slots(batch, config.text.history),
        ),
    )


def with_empty_slots(batch: Batch, slots: int) -> Batch:
    """Give each click as many history slots as the longest history may have.

    In an empty slot stands the batch's first text again: it costs what padding would, nothing reads
    it, and no loss counts a text twice.
    """
    clicks = batch.clicks
    if clicks is None:
        return batch
    read, width = clicks.history_mask, clicks.history.shape[1]
    history = torch.zeros(len(read), slots, dtype=torch.int64)
    mask = torch.zeros(len(read), slots, dtype=torch.bool)
    history[:, :width], mask[:, :width] = clicks.history, read
    empty = int((~mask).sum())
    history[~mask] = len(batch.texts) + torch.arange(empty)
    texts = np.concatenate([batch.texts, np.full(empty, batch.texts[0])])
    padded = ClickBatch(history, mask, clicks.candidates, clicks.candidate_mask)
    return dataclasses.replace(batch, texts=texts, clicks=padded)


def checked(pair: TeacherStudent, forms: Mapping[str, Form]) -> dict[str, float]:
    """Return how far each form's losses are from ours in fp32; raise for more than rounding."""
    losses = {}
    for name, form in forms.items():
        config = dataclasses.replace(
            form.config, run=dataclasses.replace(form.config.run, precision="fp32")
        )
        with torch.no_grad():
            losses[name] = step_losses(pair, next(form.steps())[0], form.data, config=config)
    differences = {
        name: max(float((part - losses["ours"][key]).abs()) for key, part in found.items())
        for name, found in losses.items()
        if name != "ours"
    }
    for name, difference in differences.items():
        if not difference <= TOLERANCE:
            raise BenchmarkError(f"{name}: its losses differ from ours by {difference:.2g}")
    return differences


def measured(
    pair: TeacherStudent, forms: Mapping[str, Form], rounds: int
) -> list[dict[str, dict[str, float]]]:
    """Take the same steps in each form, in turns, after one of each to warm up."""
    config = forms["ours"].config
    steps = steps_per_epoch(forms["ours"].data, config)
    clock = Clock(pair)
    optimisation = Watched(joint_optimisation(pair, config, steps=steps), clock)
    legs = {name: Leg(pair, form, optimisation, clock) for name, form in forms.items()}
    interleaved(1, legs)
    return interleaved(rounds, legs)


class Clock:
    """Add up the seconds of each stage of a step: whatever ends gives its time a name."""

    def __init__(self, pair: TeacherStudent) -> None:
        self.seconds: Counter[str] = Counter()
        self._last = time.perf_counter()
        # Between two encodings lies the padding of the next chunk.
        for name, model in (("student", pair.student), ("teacher", pair.teacher)):
            encoder = model.news_encoder
            encoder.register_forward_pre_hook(lambda *_: self.ended("batch"))
            encoder.register_forward_hook(lambda *_, name=name: self.ended(name))

    def start(self) -> None:
        """Begin a step."""
        self.seconds.clear()
        self._last = time.perf_counter()

    def ended(self, stage: str) -> None:
        """Add the time since the last stage ended to this one."""
        now = time.perf_counter()
        self.seconds[stage] += now - self._last
        self._last = now


class Watched:
    """An optimisation that tells a clock which stages end."""

    def __init__(self, inner: Optimisation, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        inner.adam.register_step_pre_hook(lambda *_: clock.ended("mixing"))

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """Return every parameter that is trained."""
        return self._inner.parameters

    def backward(self, loss: Tensor) -> None:
        """Go back through the losses."""
        self._clock.ended("losses")
        self._inner.backward(loss)
        self._clock.ended("backward")

    def unscale(self) -> None:
        """Do what fp16 needs."""
        self._inner.unscale()

    def step(self, number: int) -> None:
        """Take the optimiser's step."""
        self._inner.step(number)
        self._clock.ended("optimiser")


class Leg:
    """Take the next step in one form each time it is called."""

    def __init__(
        self, pair: TeacherStudent, form: Form, optimisation: Watched, clock: Clock
    ) -> None:
        self._pair = pair
        self._form = form
        self._optimisation: Any = optimisation
        self._clock = clock
        self._steps = form.steps()
        self._taken = 0

    def __call__(self) -> dict[str, float]:
        """Return examples a second, what was encoded, and the seconds of each stage."""
        before_s = time.process_time()
        self._clock.start()
        batches = next(self._steps)
        form = self._form
        take_step(
            self._pair, batches, form.data, self._optimisation, config=form.config, step=self._taken
        )
        self._taken += 1
        seconds = {stage: self._clock.seconds[stage] for stage in STAGES}
        total = sum(seconds.values())
        examples = sum(batch.examples for batch in batches)
        return {
            "examples_per_s": round(examples / total, DIGITS),
            "texts": sum(len(batch.texts) for batch in batches),
            "s": round(total, DIGITS),
            "cpu_s": round(time.process_time() - before_s, DIGITS),
            **{f"{stage}_s": round(value, DIGITS) for stage, value in seconds.items()},
        }


def summary(runs: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Summarise speeds, ours over the others' beside it in time, and the stages of a step.

    The ratio of processor seconds is a check that a busy machine hardly moves.
    """
    speeds = [{name: found["examples_per_s"] for name, found in run.items()} for run in runs]
    figures = {
        f"{name}_examples_per_s": Spread.of([speed[name] for speed in speeds]) for name in speeds[0]
    }
    for name in speeds[0]:
        if name != "ours":
            figures[f"ours_to_{name}"] = Spread.of(ratios(speeds, "ours", name))
            spent = [run[name]["cpu_s"] / run["ours"]["cpu_s"] for run in runs]
            figures[f"ours_to_{name}_cpu"] = Spread.of(spent)
    for name in speeds[0]:
        for stage in STAGES:
            seconds = [run[name][f"{stage}_s"] for run in runs]
            figures[f"{name}_{stage}_s"] = Spread.of(seconds)
    return {name: spread.as_dict() for name, spread in figures.items()}


if __name__ == "__main__":
    main()
