"""Pretraining: text distillation, done once for all runs that would do the same."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from contract.tokens import TextTokenizer
from training.config import Config, to_toml
from training.files import write_tensors
from training.model.attention import AdditiveAttention
from training.model.student import Student, TeacherStudent
from training.resume import State
from training.run import Run
from training.teacher import Teacher
from training.text_distillation import distill_texts, fingerprint_of
from training.texts import DistillationTexts


def pretrain(
    pair: TeacherStudent,
    texts: DistillationTexts,
    teacher: Teacher,
    cache: Path,
    *,
    config: Config,
    run: Run,
    state: State,
) -> None:
    """Distil texts into the student, or put back what an equal run left in the cache.

    Equal are runs with the same teacher, texts, sizes, text distillation and precision; what is
    kept does not depend on which of them came first.
    """
    path = cache / "pretrained" / f"{_identity(texts, teacher, config)}.safetensors"
    if path.exists():
        pair.student.news_encoder.load_state_dict(load_file(path))
        run.note(f"text distillation: taken from {path.parent.name}/{path.name}")
        return
    if not state.position.steps_done:
        start_anew(pair.student.news_encoder.pooling, seed=config.text_distillation.seed)
    tokenizer = TextTokenizer(teacher.tokenizer_json, config.text_distillation.max_tokens)
    vectors = cache / "teacher_vectors" / _identity_of_vectors(texts, teacher, config)
    distill_texts(pair, texts, tokenizer, vectors, config=config, run=run, state=state)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, encoder_parameters(pair.student), {})


def start_anew(pooling: AdditiveAttention, *, seed: int) -> None:
    """Draw the pooling's projection from a seed of its own; the run's own chance goes on as it was.

    Everything else that text distillation starts from is the teacher's.
    """
    projection = pooling.projection
    with torch.random.fork_rng(devices=[]):
        # The CPU's generator alone, wherever the pooling is: it starts the same on every device.
        torch.default_generator.manual_seed(seed)
        drawn = nn.Linear(projection.in_features, projection.out_features)
    projection.load_state_dict(drawn.state_dict())


def encoder_parameters(student: Student) -> dict[str, Tensor]:
    """Return the news encoder's parameters by name."""
    return {name: p.detach().clone() for name, p in student.news_encoder.named_parameters()}


def _identity(texts: DistillationTexts, teacher: Teacher, config: Config) -> str:
    model = config.model
    sizes = (model.student_layers, model.dim, model.query_width)
    return fingerprint_of(
        teacher.fingerprint,
        config.run.precision,
        to_toml(config.text_distillation),
        str(sizes),
        *texts.texts,
        str(texts.pairs.tolist()),
    )


def _identity_of_vectors(texts: DistillationTexts, teacher: Teacher, config: Config) -> str:
    length, precision = str(config.text_distillation.max_tokens), config.run.precision
    return fingerprint_of(teacher.fingerprint, length, precision, *texts.texts)
