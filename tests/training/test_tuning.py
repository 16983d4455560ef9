"""Tuning: which parameters learn, at which rate, and that none is forgotten."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.tiny import a_config, a_distillation
from training.config import Config, HeadConfig
from training.model import TeacherStudent, build_backbone
from training.model.student import Student, pair_with_teacher
from training.optimisation import Optimisation
from training.tuning import (
    choose_click_terms,
    choose_tuned,
    head_optimisation,
    joint_optimisation,
)

RATES = {"encoder": 1.0, "pooling": 2.0, "user": 3.0, "topic": 4.0, "click": 5.0, "content": 6.0}


@pytest.fixture
def pair(make_pair: Callable[..., TeacherStudent]) -> TeacherStudent:
    """Return four teacher layers and two student layers."""
    return make_pair()


def rates_of(model: TeacherStudent | Student, optimisation: Optimisation) -> dict[str, float]:
    """Return the peak rate of each parameter that the optimiser knows, by name."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    optimisation.step(0)  # without gradients: sets the rates and moves nothing
    return {
        names[parameter]: group["lr"]
        for group in optimisation.adam.param_groups
        for parameter in group["params"]
    }


def joint_rates(pair: TeacherStudent, config: Config) -> dict[str, float]:
    """Return the peak rates of joint learning."""
    choose_tuned(pair, config)
    return rates_of(pair, joint_optimisation(pair, config, steps=1))


def rates(**settings: Any) -> Config:
    """Return settings with six learning rates that can be told apart."""
    return a_distillation(learning_rates=RATES, **settings)


def rate(found: dict[str, float], part: str) -> float | None:
    """Return the one rate of all parameters whose name has a part; None where it has none."""
    chosen = {value for name, value in found.items() if part in name}
    assert len(chosen) <= 1, chosen
    return chosen.pop() if chosen else None


def test_every_parameter_of_both_models_is_trained_exactly_once(pair: TeacherStudent) -> None:
    """The authors' own code forgot the shared modules in its optimiser."""
    optimisation = joint_optimisation(pair, a_config(), steps=1)
    trained = [id(parameter) for parameter in optimisation.parameters]
    assert len(trained) == len(set(trained))
    assert set(trained) == {id(parameter) for parameter in pair.parameters()}


def test_each_kind_of_parameter_has_its_own_rate(pair: TeacherStudent) -> None:
    """Both backbones at one, each shared module at its own."""
    found = joint_rates(pair, rates())
    assert rate(found, ".backbone.") == 1.0
    assert rate(found, "news_encoder.pooling.") == rate(found, "news_encoder.dense.") == 2.0
    assert rate(found, "user_encoder.") == 3.0
    assert rate(found, "topic_head.") == 4.0
    for name in ("scale", "attention", "temperature"):
        assert rate(found, f"click_model.{name}") == 5.0
    assert rate(found, "click_model.content") == 6.0


def test_only_the_content_term_decays(pair: TeacherStudent) -> None:
    """So that what an article is about does not outweigh what the reader has read."""
    groups = joint_optimisation(pair, rates(content_decay=0.7), steps=1).adam.param_groups
    decays = {group["weight_decay"]: group["params"] for group in groups}
    assert set(decays) == {0.0, 0.7}
    assert decays[0.7] == [pair.student.click_model.content]


def test_lower_blocks_learn_at_a_decayed_rate(pair: TeacherStudent) -> None:
    """A half for each block further down, the embeddings below them all."""
    found = joint_rates(pair, rates(block_decay=0.5))
    layers = {"student": {0: 0.5, 1: 1.0}, "teacher": {0: 0.5, 1: 0.5, 2: 1.0, 3: 1.0}}
    for model, expected in layers.items():
        for number, value in expected.items():
            assert rate(found, f"{model}.news_encoder.backbone.encoder.layer.{number}.") == value
        assert rate(found, f"{model}.news_encoder.backbone.embeddings.") == 0.25
    assert rate(found, "user_encoder.") == 3.0


def test_only_the_top_blocks_are_tuned_if_so_configured(pair: TeacherStudent) -> None:
    """One block of two: student layer 2 and teacher layers 3 and 4."""
    found = joint_rates(pair, rates(tuned_blocks=1))
    layers = {
        f"{name.split('.')[0]} {name.split('.layer.')[1].split('.')[0]}"
        for name in found
        if ".layer." in name
    }
    assert layers == {"student 1", "teacher 2", "teacher 3"}
    assert rate(found, "embeddings.") == 1.0
    assert rate(found, "user_encoder.") == 3.0


def test_embeddings_stay_as_they_are_if_so_configured(pair: TeacherStudent) -> None:
    """Neither model's; all layers learn."""
    found = joint_rates(pair, rates(tune_embeddings=False))
    assert rate(found, "embeddings.") is None
    assert rate(found, ".layer.") == 1.0


def test_a_choice_forgets_the_one_before(pair: TeacherStudent) -> None:
    """Text distillation freezes the dense layer, the head stage the encoder: both learn again."""
    pair.student.news_encoder.requires_grad_(False)
    choose_tuned(pair, rates(tuned_blocks=1, tune_embeddings=False))
    choose_tuned(pair, rates())
    assert all(parameter.requires_grad for parameter in pair.parameters())


def test_a_fixed_teacher_is_frozen_whole_and_the_students_heads_learn(
    pair: TeacherStudent,
) -> None:
    """Also where both are one pair's, because no loss asks for that teacher."""
    found = joint_rates(pair, rates(joint=False))
    assert rate(found, "teacher.") is None
    student = {f"student.{name}" for name, _ in pair.student.named_parameters()}
    assert set(found) == student


def test_a_fixed_teacher_with_heads_of_its_own_keeps_them(pair: TeacherStudent) -> None:
    """A finished run's model; its click model keeps the terms that this run has switched off."""
    shape = pair.teacher.architecture
    other = pair_with_teacher(shape, build_backbone(shape), student_layers=4).student
    config = a_config(
        model={"candidate_aware": False, "content_term": False}, distillation={"joint": False}
    )
    found = joint_rates(TeacherStudent(pair.student, other), config)
    assert rate(found, "teacher.") is None
    assert other.click_model.attention == 1.0


@pytest.mark.parametrize(
    ("switch", "names"),
    [("candidate_aware", ("attention", "temperature")), ("content_term", ("content",))],
)
def test_a_term_of_the_click_model_that_is_off_is_zero_and_stays_so(
    pair: TeacherStudent, switch: str, names: tuple[str, ...]
) -> None:
    """Lambda or b; the other term learns."""
    click = pair.student.click_model
    torch.nn.init.ones_(click.content)
    found = joint_rates(pair, a_config(model={switch: False}))
    assert torch.count_nonzero(getattr(click, names[0])) == 0
    trained = {name.rsplit(".")[-1] for name in found if "click_model" in name}
    assert trained == {"scale", "attention", "temperature", "content"} - set(names)


def test_terms_that_are_on_keep_their_values(pair: TeacherStudent) -> None:
    """Lambda and tau as they were, and trainable."""
    torch.nn.init.ones_(pair.student.click_model.content)
    choose_click_terms(pair.student, a_config())
    click = pair.student.click_model
    assert (click.attention.item(), click.temperature.item()) == (1.0, 10.0)
    assert click.content.detach().eq(1.0).all()
    assert all(parameter.requires_grad for parameter in click.parameters())


def test_the_head_stage_trains_the_heads_alone(pair: TeacherStudent) -> None:
    """At rates of its own, without warm-up."""
    settings = HeadConfig(user=1.0, topic=2.0, click=3.0, content=4.0, content_decay=0.5)
    found = rates_of(pair.student, head_optimisation(pair.student, settings, steps=1))
    assert rate(found, "user_encoder.") == 1.0
    assert rate(found, "topic_head.") == 2.0
    assert rate(found, "click_model.scale") == 3.0
    assert rate(found, "click_model.content") == 4.0
    assert rate(found, "news_encoder.") is None
