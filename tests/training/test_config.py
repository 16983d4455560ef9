"""Configuration: TOML in, frozen settings out, mistakes named."""

import tomllib
from pathlib import Path

import pytest

from training.config import Config, load_config, parse_config, to_toml
from training.errors import ConfigError

CONFIGS = sorted((Path(__file__).parents[2] / "training" / "configs").glob("*.toml"))


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
        ({"distillation": {"momentum": 1.5}}, "distillation.momentum is out of range"),
        ({"distillation": {"temperature": 0.0}}, "distillation.temperature is out of range"),
        ({"run": {"precision": "fp16"}}, "run.precision is out of range"),
        ({"model": {"student_layers": 0}}, "model.student_layers is out of range"),
    ],
)
def test_a_mistake_is_named(table: dict[str, object], message: str) -> None:
    """Unknown keys, wrong types and impossible values say where they are."""
    with pytest.raises(ConfigError, match=message):
        parse_config(table)


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
