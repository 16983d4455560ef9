"""Every setting of a run, as frozen dataclasses read from TOML."""

from __future__ import annotations

import dataclasses
import tomllib
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin, get_type_hints

from training.errors import ConfigError
from training.ranges import (
    Clip,
    Count,
    Decay,
    Field,
    Group,
    Part,
    Precision,
    Rate,
    Seed,
    Share,
    Size,
    Temperature,
    Tokens,
    Weight,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True)
class TextConfig:
    """Say what text of an article is encoded (contract.text.TextSpec)."""

    fields: tuple[Field, ...] = ("topic", "subtopic", "title")
    abstract_chars: Count = 200
    max_tokens: Tokens = 32
    history: Size = 50


@dataclass(frozen=True)
class TaskWeights:
    """Weigh the three tasks, learnt alone or together; 0 leaves a task out."""

    recommendation: Weight = 1.0
    topics: Weight = 1.0
    search: Weight = 0.0


@dataclass(frozen=True)
class ModelConfig:
    """Shape teacher and student; `teacher_layers = 0` keeps all layers of the checkpoint."""

    student_layers: Size = 2
    teacher_layers: Count = 0
    dim: Size = 256
    query_width: Size = 200
    dropout: Part = 0.1
    candidate_aware: bool = True  # lambda of the click model; false leaves it at 0
    content_term: bool = True  # b of the click model; false leaves it at 0


@dataclass(frozen=True)
class RandomTeacherConfig:
    """Shape the randomly initialised teacher of a run that names no pretrained one."""

    layers: Size = 4
    hidden: Size = 64
    heads: Size = 4
    vocabulary: Size = 4000


@dataclass(frozen=True)
class TextDistillationConfig:
    """Set the stage before click training; `passes = 0` leaves it out.

    It has a seed of its own, so that runs which differ only later share its result.
    """

    passes: Count = 0
    seed: Seed = 1
    max_tokens: Tokens = 32  # may be shorter than what is ranked: this stage sees the most texts
    texts_per_step: Group = 128
    learning_rate: Rate = 5e-4
    warmup_share: Share = 0.06
    similarity_weight: Weight = 10.0
    contrastive_weight: Weight = 0.0  # of matching titles with their abstracts
    contrastive_temperature: Temperature = 0.05
    pairs_per_step: Group = 64
    clip: Clip = 1.0


@dataclass(frozen=True)
class HeadConfig:
    """Set the stage that trains the heads on the encoder as it is; `epochs = 0` leaves it out.

    Heads that fit the encoder before it is tuned distort it less (Kumar et al., ICLR 2022).
    """

    epochs: Count = 0
    rows_per_step: Size = 8
    content_decay: Weight = 0.1
    user: Rate = 3e-4  # learning rates
    topic: Rate = 3e-3
    click: Rate = 2e-3
    content: Rate = 3e-2


@dataclass(frozen=True)
class LossWeights:
    """Weigh the losses of each task (gold, distill) and of the states; the paper adds them up."""

    gold: Weight = 1.0
    distill: Weight = 1.0
    embedding: Weight = 1.0
    hidden: Weight = 1.0
    pooled: Weight = 1.0


@dataclass(frozen=True)
class LearningRates:
    """Set one learning rate for each kind of parameter."""

    encoder: Rate = 2e-5
    pooling: Rate = 1e-4  # the shared pooling and dense layers
    user: Rate = 3e-4
    topic: Rate = 3e-3
    click: Rate = 2e-3  # scale, attention and temperature
    content: Rate = 1e-2


@dataclass(frozen=True)
class DistillationConfig:
    """Set joint teacher-student learning (paper, section 3)."""

    epochs: Count = 3
    joint: bool = True  # false: the teacher is a finished run's model and learns no more
    rows_per_step: Size = 32
    accumulate: Size = 1  # batches whose gradients make one step
    negatives_per_click: Count = 4  # 0: all skips of the impression
    topic_texts_per_step: Size = 64
    queries_per_step: Size = 16
    temperature: Temperature = 1.0
    search_temperature: Temperature = 0.05
    momentum: Share = 0.1
    tuned_blocks: Count = 0  # blocks counted from the top; 0 tunes all of them
    tune_embeddings: bool = True
    block_decay: Decay = 1.0  # each lower block learns at this share of the rate above it
    warmup_share: Share = 0.1
    clip: Clip = 1.0
    content_decay: Weight = 1.0
    kept_share: Share = 0.0  # of the encoder before click training, in what ships
    central_encoding: bool = True  # each distinct text of a batch once; false: every slot
    length_bucketing: bool = True  # false: padded to the longest text of the batch
    tokens_per_chunk: Size = 1024  # small chunks stay in cache and pad less
    weights: LossWeights = field(default_factory=LossWeights)
    learning_rates: LearningRates = field(default_factory=LearningRates)


@dataclass(frozen=True)
class RunConfig:
    """Set what does not belong to the method: seed, threads, precision, saving."""

    seed: Seed = 1
    threads: Size = 2
    precision: Precision = "fp32"  # or "bf16", "fp16": autocast, weights stay fp32
    holdout_share: Part = 0.1  # of the impressions, to choose the epoch; 0: the last one ships
    save_every_steps: Size = 200
    patience: Count = 0  # epochs without a better held-out figure before stopping; 0: never


@dataclass(frozen=True)
class Config:
    """Hold every setting of one training run."""

    text: TextConfig = field(default_factory=TextConfig)
    tasks: TaskWeights = field(default_factory=TaskWeights)
    model: ModelConfig = field(default_factory=ModelConfig)
    random_teacher: RandomTeacherConfig | None = None
    text_distillation: TextDistillationConfig = field(default_factory=TextDistillationConfig)
    heads: HeadConfig = field(default_factory=HeadConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    run: RunConfig = field(default_factory=RunConfig)


def load_config(path: Path) -> Config:
    """Read a TOML file; an unknown key, wrong type or impossible value raises ConfigError."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ValueError as error:  # neither TOML nor, perhaps, UTF-8
        raise ConfigError(f"{path}: {error}") from error
    return parse_config(table)


def parse_config(table: Mapping[str, Any]) -> Config:
    """Turn a parsed TOML table into a checked Config."""
    config = _build(Config, table, at="")
    assert isinstance(config, Config)  # noqa: S101  (narrows the generic builder's type)
    _check_together(config)
    return config


def to_toml(config: DataclassInstance, *, at: str = "") -> str:
    """Write a configuration as TOML, so that a run directory can be read and repeated."""
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    tables = {
        name: value
        for name, value in values.items()
        if dataclasses.is_dataclass(value) and not isinstance(value, type)
    }
    plain = [
        f"{name} = {_literal(value)}"
        for name, value in values.items()
        if name not in tables and value is not None
    ]
    head = [f"\n[{at}]"] if at and plain else []
    nested = [to_toml(value, at=f"{at}.{name}".lstrip(".")) for name, value in tables.items()]
    return "\n".join([*head, *plain, *nested]).lstrip("\n" if not at else "")


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return "[" + ", ".join(_literal(v) for v in value) + "]"
    return repr(value)


# Any: what comes out of TOML has any type, and what type must come out is only known at run time.
def _build(kind: type, table: Mapping[str, Any], *, at: str) -> Any:  # noqa: ANN401
    hints = get_type_hints(kind, include_extras=True)
    unknown = sorted(set(table) - set(hints))
    if unknown:
        raise ConfigError(f"unknown key: {_join(at, unknown[0])}; known here: {', '.join(hints)}")
    return kind(**{key: _convert(hints[key], table[key], at=_join(at, key)) for key in table})


def _convert(kind: Any, value: Any, *, at: str) -> Any:  # noqa: ANN401
    if get_origin(kind) is Annotated:
        kind, allowed = get_args(kind)
        found = _convert(kind, value, at=at)
        if not allowed.holds(found):
            raise ConfigError(f"{at} is out of range: it must be {allowed.words}, not {found}")
        return found
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(option for option in get_args(kind) if option is not types.NoneType)
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{at} must be a table")
        return _build(kind, value, at=at)  # type: ignore[arg-type]  # is_dataclass admits instances
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"{at} must be a list")
        return tuple(_convert(get_args(kind)[0], entry, at=at) for entry in value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ConfigError(f"{at} must be {kind.__name__}, not {type(value).__name__}")
    return value


def _join(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key


def _check_together(config: Config) -> None:
    """Refuse values that only others make impossible."""
    distillation, run, layers = config.distillation, config.run, config.model.student_layers
    learnt = any(dataclasses.astuple(config.tasks))
    taught = distillation.joint or any(dataclasses.astuple(distillation.weights))
    mixed = distillation.joint or not distillation.momentum
    held_out = run.holdout_share and config.tasks.recommendation
    checks = (
        (learnt, "tasks", "one of them must be learnt"),
        (taught, "distillation.weights", "one of them must be learnt from where joint is off"),
        (mixed, "distillation.momentum", "it must be 0 where joint is off"),
        (
            distillation.tuned_blocks <= layers,
            "distillation.tuned_blocks",
            f"it must be at most model.student_layers, which is {layers}",
        ),
        (
            held_out or not run.patience,
            "run.patience",
            "it must be 0 where nothing is held out for recommendation",
        ),
    )
    for holds, key, reason in checks:
        if not holds:
            raise ConfigError(f"{key} is out of range: {reason}")
