"""Every setting of a run, as frozen dataclasses read from TOML."""

from __future__ import annotations

import dataclasses
import tomllib
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from training.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True)
class TextConfig:
    """Say what text of an article is encoded (contract.text.TextSpec)."""

    fields: tuple[str, ...] = ("topic", "subtopic", "title")
    abstract_chars: int = 200
    max_tokens: int = 32
    history: int = 50


@dataclass(frozen=True)
class TaskWeights:
    """Weigh the three tasks, learnt alone or together; 0 leaves a task out."""

    recommendation: float = 1.0
    topics: float = 1.0
    search: float = 0.0


@dataclass(frozen=True)
class ModelConfig:
    """Shape teacher and student; `teacher_layers = 0` keeps all layers of the checkpoint."""

    student_layers: int = 2
    teacher_layers: int = 0
    dim: int = 256
    query_width: int = 200
    dropout: float = 0.1
    candidate_aware: bool = True  # lambda of the click model; false leaves it at 0
    content_term: bool = True  # b of the click model; false leaves it at 0


@dataclass(frozen=True)
class RandomTeacherConfig:
    """Shape the randomly initialised teacher of a run that names no pretrained one."""

    layers: int = 4
    hidden: int = 64
    heads: int = 4
    vocabulary: int = 4000


@dataclass(frozen=True)
class TextDistillationConfig:
    """Set the stage before click training; `passes = 0` leaves it out.

    It has a seed of its own, so that runs which differ only later share its result.
    """

    passes: int = 0
    seed: int = 1
    max_tokens: int = 32  # may be shorter than what is ranked: this stage sees the most texts
    texts_per_step: int = 128
    learning_rate: float = 5e-4
    warmup_share: float = 0.06
    similarity_weight: float = 10.0
    contrastive_weight: float = 0.0  # of matching titles with their abstracts
    contrastive_temperature: float = 0.05
    pairs_per_step: int = 64
    clip: float = 1.0


@dataclass(frozen=True)
class HeadConfig:
    """Set the stage that trains the heads on the encoder as it is; `epochs = 0` leaves it out.

    Heads that fit the encoder before it is tuned distort it less (Kumar et al., ICLR 2022).
    """

    epochs: int = 0
    rows_per_step: int = 8
    content_decay: float = 0.1
    user: float = 3e-4  # learning rates
    topic: float = 3e-3
    click: float = 2e-3
    content: float = 3e-2


@dataclass(frozen=True)
class LossWeights:
    """Weigh the losses of each task (gold, distill) and of the states; the paper adds them up."""

    gold: float = 1.0
    distill: float = 1.0
    embedding: float = 1.0
    hidden: float = 1.0
    pooled: float = 1.0


@dataclass(frozen=True)
class LearningRates:
    """Set one learning rate for each kind of parameter."""

    encoder: float = 2e-5
    pooling: float = 1e-4  # the shared pooling and dense layers
    user: float = 3e-4
    topic: float = 3e-3
    click: float = 2e-3  # scale, attention and temperature
    content: float = 1e-2


@dataclass(frozen=True)
class DistillationConfig:
    """Set joint teacher-student learning (paper, section 3)."""

    epochs: int = 3
    joint: bool = True  # false: the teacher is a finished run's model and learns no more
    rows_per_step: int = 32
    accumulate: int = 1  # batches whose gradients make one step
    negatives_per_click: int = 4  # 0: all skips of the impression
    topic_texts_per_step: int = 64
    queries_per_step: int = 16
    temperature: float = 1.0
    search_temperature: float = 0.05
    momentum: float = 0.1
    tuned_blocks: int = 0  # blocks counted from the top; 0 tunes all of them
    tune_embeddings: bool = True
    block_decay: float = 1.0  # each lower block learns at this share of the rate above it
    warmup_share: float = 0.1
    clip: float = 1.0
    content_decay: float = 1.0
    kept_share: float = 0.0  # of the encoder before click training, in what ships
    central_encoding: bool = True  # each distinct text of a batch once; false: every slot
    length_bucketing: bool = True  # false: padded to the longest text of the batch
    tokens_per_chunk: int = 1024  # small chunks stay in cache and pad less
    weights: LossWeights = field(default_factory=LossWeights)
    learning_rates: LearningRates = field(default_factory=LearningRates)


@dataclass(frozen=True)
class RunConfig:
    """Set what does not belong to the method: seed, threads, precision, saving."""

    seed: int = 1
    threads: int = 2
    precision: str = "fp32"  # or "bf16", "fp16": autocast, weights stay fp32
    holdout_share: float = 0.1  # of the impressions, to choose the epoch; 0: the last one ships
    save_every_steps: int = 200
    patience: int = 0  # epochs without a better held-out figure before stopping; 0: never


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
    """Read a TOML file; an unknown key or a wrong type raises ConfigError naming it."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    return parse_config(table)


def parse_config(table: Mapping[str, Any]) -> Config:
    """Turn a parsed TOML table into a checked Config."""
    config = _build(Config, table, at="")
    assert isinstance(config, Config)  # noqa: S101  (narrows the generic builder's type)
    _check_ranges(config)
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
    hints = get_type_hints(kind)
    unknown = sorted(set(table) - set(hints))
    if unknown:
        raise ConfigError(f"unknown key: {_join(at, unknown[0])}; known here: {', '.join(hints)}")
    return kind(**{key: _convert(hints[key], table[key], at=_join(at, key)) for key in table})


def _convert(kind: Any, value: Any, *, at: str) -> Any:  # noqa: ANN401
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


def _check_ranges(config: Config) -> None:
    distillation = config.distillation
    checks = {
        "model.student_layers": config.model.student_layers >= 1,
        "model.dropout": 0 <= config.model.dropout < 1,
        "tasks": any(weights := dataclasses.astuple(config.tasks)) and min(weights) >= 0,
        "distillation.momentum": 0 <= distillation.momentum <= (1 if distillation.joint else 0),
        "distillation.weights": min(parts := dataclasses.astuple(distillation.weights)) >= 0
        and (distillation.joint or any(parts)),
        "distillation.temperature": distillation.temperature > 0,
        "distillation.search_temperature": distillation.search_temperature > 0,
        "distillation.block_decay": 0 < distillation.block_decay <= 1,
        "distillation.kept_share": 0 <= distillation.kept_share <= 1,
        "distillation.negatives_per_click": distillation.negatives_per_click >= 0,
        "distillation.rows_per_step": distillation.rows_per_step >= 1,
        "distillation.accumulate": distillation.accumulate >= 1,
        "distillation.topic_texts_per_step": distillation.topic_texts_per_step >= 1,
        "distillation.queries_per_step": distillation.queries_per_step >= 1,
        "distillation.tuned_blocks": 0 <= distillation.tuned_blocks <= config.model.student_layers,
        "text_distillation.max_tokens": config.text_distillation.max_tokens >= 4,
        "text_distillation.texts_per_step": config.text_distillation.texts_per_step >= 2,
        "text_distillation.pairs_per_step": config.text_distillation.pairs_per_step >= 2,
        "text_distillation.contrastive_temperature": (
            config.text_distillation.contrastive_temperature > 0
        ),
        "run.precision": config.run.precision in ("fp32", "bf16", "fp16"),
        "run.holdout_share": 0 <= config.run.holdout_share < 1,
        "run.save_every_steps": config.run.save_every_steps >= 1,
        # Nothing gets better or worse where nothing is held out.
        "run.patience": config.run.patience >= 0
        and (config.run.patience == 0 or config.run.holdout_share > 0),
    }
    for key, holds in checks.items():
        if not holds:
            raise ConfigError(f"{key} is out of range")
