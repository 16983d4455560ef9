"""Pipeline: MIND folders and a teacher in, a checkpoint and its figures out."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from contract.mind import MindFolder, read_folder
from contract.text import TextSpec
from training.averaging import averaged, encoder_before_clicks
from training.batches import ClickRow, TokenTable, click_rows, hold_out
from training.checkpoint import StudentCheckpoint, load_pair, save_checkpoint
from training.config import Config
from training.curves import draw_curves
from training.distill import STAGE, ClickData, distill, topic_examples
from training.encoding import evaluate_model, evaluate_topics
from training.errors import ConfigError, DataError
from training.model.student import TeacherStudent, count_parameters, pair_with_teacher
from training.progress import ProgressDisplay
from training.resume import State
from training.run import Run, file_hashes
from training.teacher import Teacher, load_teacher, random_teacher
from training.text_distillation import distill_texts
from training.texts import distillation_texts


@dataclass(frozen=True)
class Inputs:
    """Name everything a run reads."""

    train: Path
    dev: Path
    teacher: str | None = None
    topic_files: tuple[Path, ...] = ()
    search: Path | None = None


@dataclass(frozen=True)
class Material:
    """Hold what was read: folders, topics, clicks to learn from, impressions held out."""

    train: MindFolder
    dev: MindFolder
    topics: list[str]
    rows: list[ClickRow]
    holdout: MindFolder


def train_student(
    config: Config, inputs: Inputs, directory: Path, *, resume: bool, progress: ProgressDisplay
) -> dict[str, Any]:
    """Run both stages in a run directory and return the figures on `dev`."""
    torch.set_num_threads(config.run.threads)
    torch.manual_seed(config.run.seed)
    spec = TextSpec.model_validate(vars(config.text))
    material = read_material(inputs, config)
    teacher = find_teacher(inputs, config, material, spec)
    pair = pair_with_teacher(
        teacher.architecture, teacher.backbone, student_layers=config.model.student_layers
    )
    run = Run(directory, config, teacher=teacher.source, progress=progress)
    state = run.begin(facts_of(inputs, config, pair), resume=resume)
    state.restore_model(pair)
    checkpoint = StudentCheckpoint(
        pair.student, spec, teacher.tokenizer_json, material.topics, _provenance(run, config)
    )
    if config.text_distillation.passes and not state.position.is_past("text_distillation"):
        texts = _texts(inputs, config, material)
        distill_texts(pair, texts, checkpoint.tokenizer(), config=config, run=run, state=state)
        state = _enter_distillation(run, pair)
    learn_clicks(pair, checkpoint, material, config=config, run=run, state=state)
    return report(run, material)


def read_material(inputs: Inputs, config: Config) -> Material:
    """Read the folders and split the clicks: the epoch is chosen on those held out, not on dev."""
    train, dev = read_folder(inputs.train), read_folder(inputs.dev)
    numbers = {article.id: number for number, article in enumerate(train.articles)}
    held = [hold_out(i.id, config.run.holdout_share) for i in train.impressions]
    kept = [i for i, out in zip(train.impressions, held, strict=True) if not out]
    aside = [i for i, out in zip(train.impressions, held, strict=True) if out]
    rows = click_rows(kept, numbers, history=config.text.history)
    if not rows or not any(any(i.clicks) and not all(i.clicks) for i in aside):
        raise DataError(f"{inputs.train.name}: too few impressions with both a click and a skip")
    topics = sorted({article.topic for article in train.articles if article.topic})
    return Material(train, dev, topics, rows, MindFolder(train.articles, aside))


def find_teacher(inputs: Inputs, config: Config, material: Material, spec: TextSpec) -> Teacher:
    """Load the named teacher, or build the random one that the configuration describes."""
    topics = len(material.topics)
    if inputs.teacher is not None:
        return load_teacher(inputs.teacher, config.model, topics=topics)
    if config.random_teacher is None:
        raise ConfigError("no --teacher is given and the configuration has no [random_teacher]")
    texts = (spec.text(article) for article in material.train.articles)
    return random_teacher(
        texts, config.model, config.random_teacher, topics=topics, seed=config.run.seed
    )


def learn_clicks(
    pair: TeacherStudent,
    checkpoint: StudentCheckpoint,
    material: Material,
    *,
    config: Config,
    run: Run,
    state: State,
) -> None:
    """Train on clicks and keep a checkpoint of the best epoch by held-out impression AUC."""
    tokenizer, spec = checkpoint.tokenizer(), checkpoint.spec
    data = click_data(checkpoint, material, config)
    before = encoder_before_clicks(pair.student, run.directory / "before_clicks.safetensors")
    for epoch in distill(pair, data, config=config, run=run, state=state):
        student = averaged(pair.student, before, config.distillation.kept_share)
        measured = evaluate_model(student, tokenizer, material.holdout, spec)
        figures = {"holdout_auc": measured.auc, "holdout_ndcg10": measured.ndcg10}
        if run.log_epoch(epoch, figures):
            shipped = dataclasses.replace(checkpoint, model=student)
            save_checkpoint(run.checkpoint, shipped, pair.teacher)
        draw_curves(run.metrics(), run.directory / "curves.png")


def click_data(checkpoint: StudentCheckpoint, material: Material, config: Config) -> ClickData:
    """Tokenise all articles twice: as they are ranked, and as the topic head may see them."""
    tokenizer, spec = checkpoint.tokenizer(), checkpoint.spec
    articles = material.train.articles
    learnable = [a for a in articles if not hold_out(a.id, config.run.holdout_share)]
    texts, numbers = topic_examples(learnable, material.topics, spec)
    return ClickData(
        articles=TokenTable([spec.text(article) for article in articles], tokenizer),
        rows=material.rows,
        topic_texts=TokenTable(texts, tokenizer),
        topic_numbers=np.asarray(numbers, dtype=np.int64),
    )


def report(run: Run, material: Material) -> dict[str, Any]:
    """Measure the best checkpoint on `dev`, write the figures into it and return them."""
    pair, checkpoint = load_pair(run.checkpoint)
    tokenizer, spec = checkpoint.tokenizer(), checkpoint.spec
    metrics: dict[str, Any] = {
        name: evaluate_model(model, tokenizer, material.dev, spec).as_dict()
        for name, model in (("student", pair.student), ("teacher", pair.teacher))
    }
    aside = [a for a in material.train.articles if hold_out(a.id, run.config.run.holdout_share)]
    texts, numbers = topic_examples(aside, checkpoint.topics, spec)
    metrics["topics"] = evaluate_topics(pair.student, tokenizer, texts, numbers)
    metrics["best_epoch"] = run.position.best_epoch
    metrics["holdout_auc"] = run.position.best_auc
    save_checkpoint(run.checkpoint, dataclasses.replace(checkpoint, metrics=metrics), pair.teacher)
    run.describe({"metrics": metrics})
    draw_curves(run.metrics(), run.directory / "curves.png")
    return metrics


def facts_of(inputs: Inputs, config: Config, pair: TeacherStudent) -> dict[str, Any]:
    """Return what must be equal for a run to be resumed: data, seed and sizes."""
    files = {
        f"{name}/{file}": folder / file
        for name, folder in (("train", inputs.train), ("dev", inputs.dev))
        for file in ("news.tsv", "behaviors.tsv")
    }
    files |= {f"topics/{path.name}": path for path in inputs.topic_files}
    if inputs.search is not None:
        files["search/news.jsonl.gz"] = inputs.search / "news.jsonl.gz"
    return {
        "data_sha256": file_hashes(files),
        "seed": config.run.seed,
        "parameters": {
            "teacher": count_parameters(pair.teacher),
            "student": count_parameters(pair.student),
        },
    }


def _texts(inputs: Inputs, config: Config, material: Material) -> list[str]:
    return distillation_texts(
        material.train.articles,
        abstract_chars=config.text.abstract_chars,
        topic_files=inputs.topic_files,
        search_folder=inputs.search,
    )


def _enter_distillation(run: Run, pair: TeacherStudent) -> State:
    run.position = dataclasses.replace(run.position, stage=STAGE, steps_done=0)
    run.save(model=pair, optimisation=None)
    return State(run.position)


def _provenance(run: Run, config: Config) -> dict[str, Any]:
    known = run.facts()
    return {
        "teacher": run.teacher,
        "config": dataclasses.asdict(config),
        "environment": known["environment"],
        "data_sha256": known["data_sha256"],
    }
