"""Pipeline: MIND folders and a teacher in, a checkpoint and its figures out."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from contract.figures import FIGURES, file_hashes, nested, write_figures
from contract.measuring import EvaluationData, Measured, measure, split_topics
from contract.text import TextSpec
from training import parallel
from training.averaging import averaged, backbone_before_clicks
from training.checkpoint import StudentCheckpoint, load_pair, load_student, save_checkpoint
from training.checks import check_settings
from training.config import Config
from training.curves import draw_curves
from training.device import CPU, device_of
from training.distill import STAGE, TrainingData, distill, needs_teacher
from training.encoding import predictor_of
from training.errors import ConfigError
from training.following import Follower, start_together
from training.heads import train_heads
from training.material import Inputs, Material, read_material, training_data
from training.model.student import Student, TeacherStudent, count_parameters, pair_with_teacher
from training.pretraining import pretrain
from training.progress import ProgressDisplay
from training.resume import State
from training.run import Run
from training.run_card import data_facts, input_facts
from training.teacher import Teacher, load_teacher, random_teacher
from training.teacher_run import finished_teacher
from training.texts import distillation_texts


@dataclass(frozen=True)
class Session:
    """Hold what every stage of a run works with; `checkpoint` has the student that learns."""

    config: Config
    inputs: Inputs
    run: Run
    material: Material
    checkpoint: StudentCheckpoint


def train_student(
    config: Config,
    inputs: Inputs,
    directory: Path,
    *,
    resume: bool,
    progress: ProgressDisplay,
    device: torch.device = CPU,
) -> dict[str, Any]:
    """Run every stage in a run directory, on a device, and return the figures on `dev`.

    Of the processes of a run by torchrun, the first does so; the others return nothing.
    """
    torch.set_num_threads(config.run.threads)
    torch.manual_seed(config.run.seed)
    spec = TextSpec.model_validate(vars(config.text))
    material = read_material(inputs, config)
    teacher = find_teacher(inputs, config, material, spec)
    check_settings(config, material, teacher.architecture)
    pair = pair_with_teacher(
        teacher.architecture, teacher.backbone, student_layers=config.model.student_layers
    )
    checkpoint = StudentCheckpoint(
        pair.student, spec, teacher.tokenizer_json, material.topics, provenance={}
    )
    # Not only when it is asked to teach, which may be hours later.
    finished_teacher(checkpoint, inputs, config)
    pair.to(device)
    run = Run(
        directory,
        config,
        teacher=teacher.source,
        progress=progress,
        name=inputs.config_name,
        device=device,
    )
    with parallel.processes(), run:
        session = Session(config, inputs, run, material, checkpoint)
        if parallel.rank():
            return follow(pair, session)
        state = run.begin(facts_of(inputs, config, pair), resume=resume)
        read = data_read(inputs, material, config)
        run.describe({"data": read, "inputs": input_facts(flags_of(inputs))})
        checkpoint = dataclasses.replace(checkpoint, provenance=_provenance(run, config))
        session = dataclasses.replace(session, checkpoint=checkpoint)
        pair, state = learn_texts(pair, teacher, session, state)
        data = training_data(material, spec, checkpoint.tokenizer(), config)
        state = learn_heads(pair, data, session, state)
        learn_tasks(pair, data, session, state)
        return report(session)


def follow(pair: TeacherStudent, session: Session) -> dict[str, Any]:
    """Take every step of joint learning beside the process that keeps the run."""
    pair = with_fixed_teacher(pair, session)
    spec, tokenizer = session.checkpoint.spec, session.checkpoint.tokenizer()
    data = training_data(session.material, spec, tokenizer, session.config)
    state = start_together(pair, State())
    for _ in distill(pair, data, config=session.config, run=Follower(), state=state):
        pass
    return {}


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


def learn_texts(
    pair: TeacherStudent, teacher: Teacher, session: Session, state: State
) -> tuple[TeacherStudent, State]:
    """Distil unlabelled texts; return the pair that learns from then on and its state."""
    config, inputs, run = session.config, session.inputs, session.run
    if state.position.is_past("text_distillation"):
        pair = with_fixed_teacher(pair, session)
        state.restore_model(pair)
        return pair, state
    state.restore_model(pair)
    if config.text_distillation.passes:
        material = session.material
        texts = distillation_texts(
            material.train.articles,
            session.checkpoint.spec,
            files=(*inputs.topic_files, *inputs.text_files),
            searched=material.search.articles if material.search else (),
        )
        pretrain(pair, texts, teacher, inputs.cache, config=config, run=run, state=state)
    pair = with_fixed_teacher(pair, session)
    return pair, enter_stage(run, pair, "heads")


def with_fixed_teacher(pair: TeacherStudent, session: Session) -> TeacherStudent:
    """Return the pair to learn with: a teacher that learns no more is a finished run's model."""
    teacher = finished_teacher(session.checkpoint, session.inputs, session.config)
    if teacher is None:
        return pair
    return TeacherStudent(pair.student, teacher.to(device_of(pair)))


def learn_heads(pair: TeacherStudent, data: TrainingData, session: Session, state: State) -> State:
    """Fit the heads to the encoder as it is; return the state in which joint learning begins."""
    if state.position.is_past("heads"):
        return state
    if session.config.heads.epochs:
        train_heads(pair, data, config=session.config, run=session.run)
    return enter_stage(session.run, pair, STAGE)


def learn_tasks(pair: TeacherStudent, data: TrainingData, session: Session, state: State) -> None:
    """Train on the tasks and keep a checkpoint of the best epoch by the held-out impressions."""
    config, run = session.config, session.run
    if not config.distillation.epochs:
        keep(pair.student, pair, session)
    before = backbone_before_clicks(pair.student, run.directory / "before_clicks.safetensors")
    state = start_together(pair, state)
    for epoch in distill(pair, data, config=config, run=run, state=state):
        student = averaged(pair.student, before, config.distillation.kept_share)
        if run.log_epoch(epoch, held_out_figures(student, session)):
            keep(student, pair, session)
        draw_curves(run.metrics(), run.directory / "curves.png")


def keep(student: Student, pair: TeacherStudent, session: Session) -> None:
    """Save a student as the run's checkpoint, with the teacher that learned beside it.

    The figures of an older checkpoint go: a kill must not leave them beside one without any.
    """
    (session.run.directory / FIGURES).unlink(missing_ok=True)
    checkpoint = dataclasses.replace(session.checkpoint, model=student)
    teacher = pair.teacher if session.config.distillation.joint else None
    save_checkpoint(session.run.checkpoint, checkpoint, teacher)


def held_out_figures(student: Student, session: Session) -> dict[str, float]:
    """Measure a student on what the epoch is chosen by; nothing where nothing is held out."""
    holdout = session.material.holdout
    if not holdout.impressions or not session.config.tasks.recommendation:
        return {}
    measured = measure(predictor_of(student, session.checkpoint), EvaluationData(holdout))
    figures = measured["recommendation"].figures
    return {f"holdout_{name}": float(figures[name] or 0.0) for name in ("auc", "ndcg10")}


def report(session: Session) -> dict[str, Any]:
    """Measure the best checkpoint on every task, write the figures and return them."""
    run, config = session.run, session.config
    checkpoint, teacher = load_student(run.checkpoint), None
    models = {"student": checkpoint.model}
    if config.distillation.joint:
        pair, checkpoint = load_pair(run.checkpoint)
        teacher = pair.teacher
        models = {"student": pair.student, "teacher": teacher}
    data = evaluation_data(session.material, config)
    device = device_of(session.checkpoint.model)
    measured: dict[str, Measured] = {
        name: measure(predictor_of(model.to(device), checkpoint), data)
        for name, model in models.items()
    }
    metrics = {name: nested(figures) for name, figures in measured.items()}
    if teacher is None and needs_teacher(config) and session.inputs.teacher_run is not None:
        metrics["teacher"] = load_student(session.inputs.teacher_run).metrics.get("student", {})
    save_checkpoint(run.checkpoint, dataclasses.replace(checkpoint, metrics=metrics), teacher)
    run.describe({"metrics": metrics})
    draw_curves(run.metrics(), run.directory / "curves.png")
    # Last, because it is what says that the run is complete.
    write_figures(run.directory, measured, line=run.directory.name, seed=config.run.seed)
    return metrics


def evaluation_data(material: Material, config: Config) -> EvaluationData:
    """Return what the tasks that were learnt are measured on."""
    tasks = config.tasks
    return EvaluationData(
        material.dev if tasks.recommendation else None,
        split_topics(material.labelled) if tasks.topics else {},
        material.search if tasks.search else None,
    )


def facts_of(inputs: Inputs, config: Config, pair: TeacherStudent) -> dict[str, Any]:
    """Return what must be equal for a run to be resumed: data, seed and sizes."""
    return {
        "data_sha256": file_hashes(inputs.files()),
        "seed": config.run.seed,
        "parameters": {
            "teacher": count_parameters(pair.teacher),
            "student": count_parameters(pair.student),
        },
    }


def data_read(inputs: Inputs, material: Material, config: Config) -> dict[str, Any]:
    """Return what the run card says of everything that was read with a report."""
    learnt = len(material.clicks) if config.tasks.recommendation else 0
    read = {
        "train": {**data_facts(inputs.train, material.train.report), "clicks_learnt": learnt},
        "dev": data_facts(inputs.dev, material.dev.report),
    }
    for path, report in material.topic_reports.items():
        read[f"topics/{path.name}"] = data_facts(path, report)
    for path, texts in material.text_reports.items():
        read[f"texts/{path.name}"] = data_facts(path, texts)
    if inputs.search is not None and material.search is not None:
        read["search"] = data_facts(inputs.search, material.search.report)
    return read


def flags_of(inputs: Inputs) -> dict[str, Any]:
    """Return the flags of `newsbert train` that name the inputs."""
    return {
        "train": inputs.train,
        "dev": inputs.dev,
        "teacher": inputs.teacher,
        "teacher-run": inputs.teacher_run,
        "topics": inputs.topic_files,
        "texts": inputs.text_files,
        "search": inputs.search,
    }


def enter_stage(run: Run, pair: TeacherStudent, stage: str) -> State:
    """Save the state in which a stage begins, and return it."""
    run.position = dataclasses.replace(run.position, stage=stage, steps_done=0)
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
