"""Configuration: TOML in, frozen settings out, mistakes named."""

import dataclasses
import math
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from training.config import Config, RandomTeacherConfig, load_config, parse_config, to_toml
from training.errors import ConfigError

FOLDER = Path(__file__).parents[2] / "training" / "configs"
# study.toml is a table of experiments over these.
CONFIGS = sorted(path for path in FOLDER.glob("*.toml") if path.stem != "study")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configurations_that_ship_are_valid(path: Path) -> None:
    """All of them can be read, and written again without loss."""
    config = load_config(path)
    assert parse_config(tomllib.loads(to_toml(config))) == config


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"modle": {}}, "unknown key: modle"),
        ({"model": {"depth": 2}}, "unknown key: model.depth"),
        ({"distillation": {"weights": {"clik": 1.0}}}, "unknown key: distillation.weights.clik"),
        ({"model": {"dim": "256"}}, "model.dim must be int, not str"),
        ({"run": {"seed": True}}, "run.seed must be int, not bool"),
        ({"text": {"fields": "title"}}, "text.fields must be a list"),
        ({"text": {"fields": ["titel"]}}, "text.fields is out of range: .*, title or abstract, "),
        ({"model": 3}, "model must be a table"),
    ],
)
def test_a_mistake_is_named(table: dict[str, object], message: str) -> None:
    """Unknown keys and wrong types say where they are."""
    with pytest.raises(ConfigError, match=message):
        parse_config(table)


NO_WEIGHTS = dict.fromkeys(("gold", "distill", "embedding", "hidden", "pooled"), 0.0)
NO_TASKS = dict.fromkeys(("recommendation", "topics", "search"), 0.0)


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("model", {"student_layers": 0}),
        ("model", {"dim": 0}),
        ("model", {"dropout": 1.0}),
        ("text", {"max_tokens": 3}),
        ("heads", {"rows_per_step": 0}),
        ("tasks", NO_TASKS),
        ("distillation", {"momentum": 1.5}),
        ("distillation", {"momentum": 0.1, "joint": False}),
        ("distillation", {"weights": NO_WEIGHTS, "joint": False, "momentum": 0.0}),
        ("distillation", {"temperature": 0.0}),
        ("distillation", {"search_temperature": 0.0}),
        ("distillation", {"block_decay": 0.0}),
        ("distillation", {"block_decay": 1.1}),
        ("distillation", {"warmup_share": 7.0}),
        ("distillation", {"clip": 0.0}),
        ("distillation", {"tokens_per_chunk": 0}),
        ("distillation", {"kept_share": 1.1}),
        ("distillation", {"rows_per_step": 0}),
        ("distillation", {"accumulate": 0}),
        ("distillation", {"topic_texts_per_step": 0}),
        ("distillation", {"queries_per_step": 0}),
        ("distillation", {"tuned_blocks": 3}),
        ("text_distillation", {"texts_per_step": 1}),
        ("text_distillation", {"pairs_per_step": 1}),
        ("text_distillation", {"contrastive_temperature": 0.0}),
        ("run", {"seed": 2**63}),
        ("run", {"threads": 0}),
        ("run", {"precision": "fp8"}),
        ("run", {"holdout_share": 1.0}),
        ("run", {"save_every_steps": 0}),
    ],
)
def test_an_impossible_value_is_named(table: str, values: dict[str, object]) -> None:
    """By its table, and by its key where one alone is to blame."""
    key = table if table == "tasks" else f"{table}.{next(iter(values))}"
    with pytest.raises(ConfigError, match=f"{key} is out of range"):
        parse_config({table: values})


def numbers_of(kind: type, at: str = "") -> Iterator[str]:
    """Yield the dotted key of every number of a table, and of the tables in it."""
    for name, hint in get_type_hints(kind).items():
        found = next((h for h in (hint, *get_args(hint)) if dataclasses.is_dataclass(h)), None)
        if isinstance(found, type):
            yield from numbers_of(found, f"{at}{name}.")
        elif hint in (int, float):
            yield f"{at}{name}"


NUMBERS = [*numbers_of(Config)]


def test_every_number_is_found() -> None:
    """In every table, those in tables and those that may be absent included."""
    keys = {"text.history", "random_teacher.heads", "distillation.learning_rates.user"}
    assert keys < {*NUMBERS}


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("value", [-1, math.nan])
def test_no_setting_is_negative_or_nan(key: str, value: float) -> None:
    """Every number has a range; what is outside it is named with what it must be."""
    table: Any = value
    for name in reversed(key.split(".")):
        table = {name: table}
    with pytest.raises(ConfigError, match=rf"^{key} (must be int|is out of range: it must be)"):
        parse_config(table)


def test_defaults_are_in_range() -> None:
    """Whether they are written down or left out."""
    written = tomllib.loads(to_toml(Config(random_teacher=RandomTeacherConfig())))
    assert parse_config(written) == Config(random_teacher=RandomTeacherConfig())


def test_gradients_need_not_be_clipped() -> None:
    """At infinity nothing is."""
    assert parse_config({"distillation": {"clip": math.inf}}).distillation.clip == math.inf


@pytest.mark.parametrize(
    "table", [{"run": {"holdout_share": 0.0}}, {"tasks": {"recommendation": 0.0}}]
)
def test_patience_needs_impressions_held_out(table: dict[str, dict[str, object]]) -> None:
    """Otherwise it would wait for a figure that never comes."""
    patient = {**table, "run": {**table.get("run", {}), "patience": 2}}
    assert parse_config(table)
    with pytest.raises(ConfigError, match=r"run\.patience is out of range: .* held out"):
        parse_config(patient)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_that_is_known(precision: str) -> None:
    """Full, and half in two forms."""
    assert parse_config({"run": {"precision": precision}}).run.precision == precision


def test_a_joint_teacher_can_be_trained_without_a_student_learning_from_it() -> None:
    """All weights 0: its own losses are still there."""
    assert parse_config({"distillation": {"weights": NO_WEIGHTS}}).distillation.joint


def test_all_settings_survive_being_written() -> None:
    """None of them is lost or rounded, not even where none is the default."""
    table = {
        "random_teacher": {"layers": 3},
        "text": {"fields": ["title"]},
        "tasks": {"search": 0.25},
        "distillation": {"joint": False, "momentum": 0.0, "learning_rates": {"encoder": 3e-5}},
        "run": {"precision": "bf16"},
    }
    config = parse_config(table)
    assert parse_config(tomllib.loads(to_toml(config))) == config != Config()


def test_an_integer_serves_as_a_float() -> None:
    """Whoever writes `temperature = 2` means 2.0."""
    assert parse_config({"distillation": {"temperature": 2}}).distillation.temperature == 2.0


def test_nothing_given_is_the_default() -> None:
    """Every setting has a value."""
    assert parse_config({}) == Config()


def test_a_file_that_is_not_toml_not_utf8_or_absent_is_named(tmp_path: Path) -> None:
    """The message starts with the path."""
    (tmp_path / "broken.toml").write_text("model = [")
    (tmp_path / "latin1.toml").write_bytes("# Größe".encode("latin-1"))
    for name in ("broken.toml", "latin1.toml", "absent.toml"):
        with pytest.raises(ConfigError, match=name):
            load_config(tmp_path / name)
