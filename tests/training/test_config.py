"""Configuration: TOML in, frozen settings out, mistakes named."""

import tomllib
from pathlib import Path

import pytest

from training.config import Config, load_config, parse_config, to_toml
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
        ("model", {"dropout": 1.0}),
        ("tasks", NO_TASKS),
        ("tasks", {"search": -1.0}),
        ("distillation", {"momentum": 1.5}),
        ("distillation", {"momentum": 0.1, "joint": False}),
        ("distillation", {"weights": {"gold": -1.0}}),
        ("distillation", {"weights": NO_WEIGHTS, "joint": False, "momentum": 0.0}),
        ("distillation", {"temperature": 0.0}),
        ("distillation", {"search_temperature": 0.0}),
        ("distillation", {"block_decay": 0.0}),
        ("distillation", {"block_decay": 1.1}),
        ("distillation", {"kept_share": 1.1}),
        ("distillation", {"rows_per_step": 0}),
        ("distillation", {"negatives_per_click": -1}),
        ("distillation", {"accumulate": 0}),
        ("distillation", {"topic_texts_per_step": 0}),
        ("distillation", {"queries_per_step": 0}),
        ("distillation", {"tuned_blocks": 3}),
        ("distillation", {"tuned_blocks": -1}),
        ("text_distillation", {"texts_per_step": 1}),
        ("text_distillation", {"pairs_per_step": 1}),
        ("text_distillation", {"contrastive_temperature": 0.0}),
        ("run", {"precision": "fp8"}),
        ("run", {"holdout_share": 1.0}),
        ("run", {"save_every_steps": 0}),
        ("run", {"patience": -1}),
        ("run", {"patience": 2, "holdout_share": 0.0}),
    ],
)
def test_an_impossible_value_is_named(table: str, values: dict[str, object]) -> None:
    """By its table, and by its key where one alone is to blame."""
    key = table if table == "tasks" else f"{table}.{next(iter(values))}"
    with pytest.raises(ConfigError, match=f"{key} is out of range"):
        parse_config({table: values})


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


def test_a_file_that_is_not_toml_or_absent_is_named(tmp_path: Path) -> None:
    """The message starts with the path."""
    (tmp_path / "broken.toml").write_text("model = [")
    for name in ("broken.toml", "absent.toml"):
        with pytest.raises(ConfigError, match=name):
            load_config(tmp_path / name)
