"""Pretraining: text distillation is done once for all runs that would do the same."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.tiny import a_config, moved, snapshot, tiny_texts, tiny_tokenizer_json
from training.config import Config, TextDistillationConfig
from training.model import TeacherStudent
from training.pretraining import pretrain, start_anew
from training.progress import ProgressDisplay
from training.resume import State
from training.run import Run
from training.teacher import Teacher
from training.texts import DistillationTexts

TEXTS = DistillationTexts(list(tiny_texts()[:20]), np.array([[0, 1], [2, 3], [4, 5]]))
SETTINGS: dict[str, Any] = {"passes": 1, "texts_per_step": 8, "contrastive_weight": 0.1}


@pytest.fixture
def start(make_pair: Callable[..., TeacherStudent]) -> Callable[..., TeacherStudent]:
    """Return a function that makes the same pair as if in another process.

    Another seed is another run's: it changes all but the teacher's own weights.
    """

    def make(*, seed: int = 0) -> TeacherStudent:
        torch.manual_seed(0)
        pair = make_pair(teacher_layers=2, student_layers=1)
        torch.manual_seed(seed)
        for module in (pair.student.news_encoder.pooling.projection, pair.student.topic_head):
            module.apply(lambda m: m.reset_parameters() if isinstance(m, nn.Linear) else None)
        return pair

    return make


@pytest.fixture
def pretrained(
    start: Callable[..., TeacherStudent], tmp_path: Path, silent: ProgressDisplay
) -> Callable[..., TeacherStudent]:
    """Return a function that does the stage in a run of its own, and one cache for all runs."""

    def run_stage(
        config: Config,
        *,
        texts: DistillationTexts = TEXTS,
        change: Callable[[TeacherStudent], object] = lambda _: None,
        tokenizer_json: bytes = tiny_tokenizer_json(),
        progress: ProgressDisplay = silent,
        seed: int = 0,
    ) -> TeacherStudent:
        pair = start(seed=seed)
        change(pair)
        shape = pair.teacher.architecture
        teacher = Teacher(pair.teacher.news_encoder.backbone, shape, tokenizer_json, "tiny")
        directory = tmp_path / f"run {len(list(tmp_path.iterdir()))}"
        run = Run(directory, config, teacher="tiny", progress=progress)
        directory.mkdir()
        pretrain(pair, texts, teacher, tmp_path, config=config, run=run, state=State())
        return pair

    return run_stage


def settings(changes: Mapping[str, Any] | None = None, **tables: Any) -> Config:
    """Return settings with a text distillation of three steps."""
    model = {"student_layers": 1}
    return a_config(
        **{"text_distillation": {**SETTINGS, **(changes or {})}, "model": model, **tables}
    )


def encoders(cache: Path) -> list[str]:
    """Return what the cache has."""
    return sorted(path.name for path in (cache / "pretrained").iterdir())


def runs_with_steps(folder: Path) -> int:
    """Count the runs that took a step."""
    return len(list(folder.glob("run */metrics.jsonl")))


def refuse(pair: TeacherStudent) -> None:
    """Let the teacher fail if anybody asks it."""

    def fail(*_: Any) -> None:
        raise AssertionError("the teacher is encoded again")

    pair.teacher.news_encoder.register_forward_pre_hook(fail)


def test_an_equal_run_takes_what_the_first_one_left(
    pretrained: Callable[..., TeacherStudent], start: Callable[..., TeacherStudent], tmp_path: Path
) -> None:
    """The teacher is not asked, no step is taken, and both end with the same weights."""
    first = pretrained(settings())
    assert moved(first, snapshot(start()))
    again = pretrained(settings(), change=refuse)
    assert moved(again, snapshot(first)) == set()
    assert runs_with_steps(tmp_path) == 1
    assert len(encoders(tmp_path)) == 1
    assert encoders(tmp_path)[0].endswith(".safetensors")


@pytest.mark.parametrize(
    "tables",
    [
        {"run": {"seed": 7}},
        {"distillation": {"momentum": 0.5}},
        {"heads": {"epochs": 3}},
        {"tasks": {"search": 0.0}},
        {"model": {"student_layers": 1, "candidate_aware": False}},
        {"text": {"max_tokens": 6}},
    ],
)
def test_what_comes_later_does_not_matter(
    pretrained: Callable[..., TeacherStudent], tmp_path: Path, tables: dict[str, Any]
) -> None:
    """Such runs differ after this stage only."""
    first = pretrained(settings())
    again = pretrained(settings(**tables), change=refuse)
    assert moved(again, snapshot(first)) == set()
    assert runs_with_steps(tmp_path) == 1


def test_what_is_kept_does_not_depend_on_which_seed_came_first(
    pretrained: Callable[..., TeacherStudent], tmp_path: Path
) -> None:
    """Runs that differ in their seed alone leave the same file, to the last bit."""
    kept = []
    for seed in (1, 2):
        pretrained(settings(run={"seed": seed}), seed=seed)
        (path,) = (tmp_path / "pretrained").iterdir()
        kept.append((path.name, path.read_bytes()))
        path.unlink()
    assert kept[0] == kept[1]
    assert runs_with_steps(tmp_path) == 2


def test_another_seed_of_the_stage_starts_elsewhere_and_the_runs_own_chance_goes_on(
    start: Callable[..., TeacherStudent],
) -> None:
    """The pooling's projection follows the seed; the generator is where it was."""
    pooling, found = start().student.news_encoder.pooling, []
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    for seed in (1, 1, 2):
        start_anew(pooling, seed=seed)
        found.append(pooling.projection.weight.detach().clone())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(torch.rand(3), expected)


CHANGES: dict[str, Any] = {"passes": 2, "seed": 2, "texts_per_step": 9, "pairs_per_step": 2}


FIELDS = [f.name for f in dataclasses.fields(TextDistillationConfig)]


@pytest.mark.parametrize("name", [name for name in FIELDS if name != "max_tokens"])
def test_every_setting_of_the_stage_matters(
    pretrained: Callable[..., TeacherStudent], tmp_path: Path, name: str
) -> None:
    """Another value is another encoder; the teacher's vectors are still the same."""
    pretrained(settings())
    value = CHANGES.get(name, SETTINGS.get(name, getattr(TextDistillationConfig, name)) / 2)
    changed = settings({name: value})
    assert changed != settings()
    pretrained(changed, change=refuse)
    assert len(encoders(tmp_path)) == 2


@pytest.mark.parametrize(
    "tables",
    [
        {"changes": {"max_tokens": 6}},
        {"run": {"precision": "bf16"}},
    ],
)
def test_what_the_teacher_sees_and_how_matters(
    pretrained: Callable[..., TeacherStudent], tmp_path: Path, tables: dict[str, Any]
) -> None:
    """Its vectors are computed anew."""
    pretrained(settings())
    with pytest.raises(AssertionError, match="encoded again"):
        pretrained(settings(**tables), change=refuse)
    pretrained(settings(**tables))
    assert len(encoders(tmp_path)) == 2


def louder(pair: TeacherStudent) -> None:
    """Change one weight of the teacher."""
    with torch.no_grad():
        table = pair.teacher.news_encoder.backbone.embeddings.word_embeddings.weight
        table[7, 3] += 1.0


OTHER_TEXTS = dataclasses.replace(TEXTS, texts=[*TEXTS.texts[:-1], "storm and rain"])
OTHER_PAIRS = dataclasses.replace(TEXTS, pairs=TEXTS.pairs[:2])


@pytest.mark.parametrize(
    ("change", "vectors"),
    [
        ({"texts": OTHER_TEXTS}, 2),
        ({"texts": OTHER_PAIRS}, 1),
        ({"change": louder}, 2),
        ({"tokenizer_json": tiny_tokenizer_json() + b"\n"}, 2),
    ],
    ids=["texts", "pairs", "teacher", "tokenizer"],
)
def test_texts_pairs_weights_and_tokenizer_matter(
    pretrained: Callable[..., TeacherStudent], tmp_path: Path, change: Any, vectors: int
) -> None:
    """By what they are, not by what they are called: both teachers bear the same name."""
    pretrained(settings())
    pretrained(settings(), **change)
    assert len(encoders(tmp_path)) == 2
    assert len(list((tmp_path / "teacher_vectors").iterdir())) == vectors


def test_a_run_that_was_stopped_leaves_no_encoder_behind(
    pretrained: Callable[..., TeacherStudent],
    stopping: Callable[[str, int], ProgressDisplay],
    tmp_path: Path,
) -> None:
    """The next one begins again and leaves one whole file, nothing half written."""
    with pytest.raises(KeyboardInterrupt):
        pretrained(settings(), progress=stopping("text_distillation", 2))
    assert not (tmp_path / "pretrained").exists()
    pretrained(settings(), change=refuse)
    assert len(encoders(tmp_path)) == 1
