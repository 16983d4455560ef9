"""Which encoders are compared: each with its weights, and what its answers must be near to."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

import click

from benchmarks import encoder_folders as folders
from benchmarks import students
from benchmarks.agreement import Encoder
from benchmarks.comparison import BenchmarkError
from benchmarks.results import ROOT
from benchmarks.teacher import TorchTeacher
from contract.bundle import CLICK_MODEL, NEWS_ENCODER, TOKENIZER, Bundle
from contract.bundle_errors import BundleError
from export.errors import ExportError
from export.reference import TorchReference
from export.sentence_folder import export_sentence_folder
from training.checkpoint import StudentCheckpoint, load_student
from training.errors import TrainingError
from training.model import Architecture
from training.teacher import Teacher

T = TypeVar("T")
# A runner is another package that runs our int8 graph: it tells the graph's share of the gain.
Family: TypeAlias = Literal["ours", "runner", "student", "teacher"]
SAMPLES = ROOT / "samples" / "mind" / "dev"
YARDSTICK, OURS = "sentence-transformers-teacher", "ours-2"
# A leg must last long enough to be timed.
REPEAT_OURS = 5


@dataclass(frozen=True)
class Leg:
    """An encoder to time: what its worker opens, and whose weights it has.

    Answers that are `exact` are refused unless they are what torch answers with these weights.
    """

    name: str
    kind: str
    family: Family
    folder: Path
    weights: str = ""
    exact: bool = True

    @property
    def is_ours(self) -> bool:
        """Say whether this project's runner runs this project's graph."""
        return self.family == "ours"

    @property
    def repeat(self) -> int:
        """Return how often a round encodes its texts."""
        return REPEAT_OURS if self.is_ours else 1

    def spec(self, threads: int) -> str:
        """Return what the worker is told."""
        return json.dumps({"kind": self.kind, "folder": str(self.folder), "threads": threads})


@dataclass(frozen=True)
class Material:
    """What the legs are made of; their folders are written below `folder`."""

    bundle: Bundle
    place: Path
    teacher: str
    checkpoint: Path | None
    given: Mapping[int, Path]
    folder: Path


@dataclass
class LineUp:
    """All that takes part: the legs, torch for their weights, and why others do not run."""

    legs: list[Leg] = field(default_factory=list)
    references: dict[str, Encoder] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)
    architecture: Architecture | None = None

    def attempt(self, name: str, make: Callable[[], T]) -> T | None:
        """Make something; where that fails, tell it under its name and go on without it."""
        try:
            return make()
        except (BenchmarkError, TrainingError, ExportError, BundleError, OSError) as error:
            click.echo(f"{name} does not run: {error}", err=True)
            # Other messages may name a place of this machine.
            is_ours = isinstance(error, BenchmarkError)
            self.not_run[name] = str(error) if is_ours else type(error).__name__
            return None

    def add(self, leg: Leg, write: Callable[[Path], object] | None = None) -> None:
        """Add a leg once its folder is written."""
        if write is None or self.attempt(leg.name, lambda: (write(leg.folder),)) is not None:
            self.legs.append(leg)


def line_up(material: Material) -> LineUp:
    """Write the folders of all legs; ours of two layers needs no more than the bundle."""
    lined = LineUp()
    teacher = lined.attempt("teacher", lambda: students.pretrained(material.teacher))
    if teacher is not None:
        _add_teacher(lined, material, teacher)
    student = _student(material, teacher)
    if student is not None:
        lined.references["student"] = TorchReference(student)
        lined.architecture = student.model.architecture
        _add_students(lined, material, student)
    weights = "student" if material.checkpoint else ""
    lined.add(Leg(OURS, "bundle", "ours", material.place, weights))
    shipped, text = material.bundle, material.bundle.text
    lined.add(
        Leg("fastembed-our-graph", "fastembed", "runner", material.folder / "our-graph", weights),
        lambda at: folders.write_fastembed_folder(
            at, shipped.file(NEWS_ENCODER), shipped.file(TOKENIZER), text.max_tokens
        ),
    )
    for layers in (1, 3):
        _add_ours(lined, material, layers, student, teacher)
    return lined


def _add_teacher(lined: LineUp, material: Material, teacher: Teacher) -> None:
    spec, folder, source = material.bundle.text, material.folder, material.teacher
    mean = students.mean_pooling_checkpoint(teacher, spec)
    lined.references["teacher"] = TorchTeacher(source, max_tokens=spec.max_tokens, threads=1)

    def of(name: str, kind: str, place: str) -> Leg:
        return Leg(name, kind, "teacher", folder / place, "teacher")

    lined.add(
        of(YARDSTICK, "sentence-transformers", "teacher"),
        lambda at: folders.write_teacher_folder(at, source, spec.max_tokens),
    )
    lined.add(
        of("ort-fp32-teacher", "bundle", "ort-fp32-teacher"),
        lambda at: folders.write_float_bundle(at, mean, material.bundle),
    )
    lined.add(of("fastembed-teacher", "fastembed", "fastembed-teacher"), _fastembed(mean))
    lined.add(of("infinity-teacher", "infinity", "teacher"))


def _add_students(lined: LineUp, material: Material, student: StudentCheckpoint) -> None:
    graph = folders.float_graph(student)

    def of(name: str, kind: str, place: str) -> Leg:
        return Leg(name, kind, "student", material.folder / place, "student")

    lined.add(
        of("sentence-transformers-student", "sentence-transformers", "student"),
        lambda at: export_sentence_folder(student, at),
    )
    lined.add(of("infinity-student", "infinity", "student"))
    lined.add(of("fastembed-student", "fastembed", "fastembed-student"), _fastembed(student, graph))
    dynamic = replace(of("fastembed-student-int8", "fastembed", "fastembed-int8"), exact=False)
    lined.add(dynamic, _fastembed(student, folders.dynamic_int8(graph)))


def _fastembed(checkpoint: StudentCheckpoint, graph: bytes = b"") -> Callable[[Path], object]:
    made, tokenizer = graph or folders.float_graph(checkpoint), checkpoint.tokenizer_json
    return lambda at: folders.write_fastembed_folder(
        at, made, tokenizer, checkpoint.spec.max_tokens
    )


def _student(material: Material, teacher: Teacher | None) -> StudentCheckpoint | None:
    """Return the shipped bundle's checkpoint, or without it the teacher's first two layers."""
    if material.checkpoint is None:
        if teacher is None:
            return None
        return students.cut_from_teacher(teacher, material.bundle.text, layers=2)
    student = load_student(material.checkpoint)
    if not is_of(material.bundle, student):
        raise BenchmarkError("--checkpoint is not the one that the bundle was exported from")
    return student


def is_of(bundle: Bundle, student: StudentCheckpoint) -> bool:
    """Say whether a bundle has the heads, tokenizer and texts of a checkpoint, to the byte."""
    exported = (student.model.click_model.to_contract().to_json(), student.tokenizer_json)
    shipped = (bundle.file(CLICK_MODEL), bundle.file(TOKENIZER))
    return exported == shipped and student.spec == bundle.text


def _add_ours(
    lined: LineUp,
    material: Material,
    layers: int,
    student: StudentCheckpoint | None,
    teacher: Teacher | None,
) -> None:
    """Add a student of another depth: a bundle that is given, or one that is cut for timing."""
    name = f"ours-{layers}"
    leg = Leg(name, "bundle", "ours", material.folder / name, name)
    if layers in material.given:
        lined.add(replace(leg, folder=material.given[layers], weights=""))
        return
    if student is None or (teacher is None and layers > student.model.architecture.layers):
        lined.not_run[name] = "needs a teacher to be cut from"
        return
    cut = students.with_layers(student, layers, teacher)
    lined.references[name] = TorchReference(cut)
    lined.add(leg, lambda at: folders.write_cut_bundle(at, cut, SAMPLES))
